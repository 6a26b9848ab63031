"""Talking-face generation from speech, through facial landmarks, in JAX/Flax.

What the commands do is callable from Python as `talkface_jax.api`, which is loaded when it is first
used: `import talkface_jax` alone loads no numerical library. The names `talkface_jax.train`,
`.export`, `.synthesize` and `.evaluate` are sub-packages, so the functions of these names are in
`api` and nowhere else:

    import talkface_jax

    experiment = talkface_jax.api.load_experiment("configs/iplap/motion.py:tiny")
    talkface_jax.api.train(experiment, workdir="out/motion")
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    # By name, for every layer imports __version__ from here: an import of the highest layer, even
    # one for type checkers alone, would be one of theirs.
    if name == "api":
        return importlib.import_module("talkface_jax.api")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
