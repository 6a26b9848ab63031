"""What the commands do, as functions: no flags, nothing printed.

    from talkface_jax import api

    experiment = api.load_experiment("configs/iplap/motion.py:tiny", ["data.directory=out/data"])
    api.train(experiment, workdir="out/motion")
    stages = {"motion": "out/motion", "render": "out/render"}
    api.export(stages, out="out/bundle")
    api.synthesize("out/bundle", face="speaker.mp4", audio="sentence.wav", out="out/talking.mp4")

Every function returns a value, takes paths as text or `pathlib.Path`, and, where it takes long, a
callback `progress(what, done, total)`. What a user can get wrong is a `errors.TalkfaceError` of one
sentence, which names arguments as the command line does (`--out` is `out`). Warnings go to
`logging`.

Settings of the whole process are left to whoever owns it, as the commands do: the compilation cache
(`runtime.enable_compilation_cache`), flat memory in long synthesis (`runtime.keep_heap_flat`) and
joining several processes into one training run (`train.distributed.initialize_from_env`).

Importing this package loads nothing heavy; each function loads what it needs when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talkface_jax.api.converting import (
        Conversion,
        ConvertedNetwork,
        TorchFile,
        convert,
        to_torch,
    )
    from talkface_jax.api.evaluating import (
        LandmarkEvaluation,
        evaluate_landmarks,
    )
    from talkface_jax.api.evaluating_videos import System, evaluate_videos
    from talkface_jax.api.experiments import load_experiment, load_workdir_experiment
    from talkface_jax.api.exporting import export
    from talkface_jax.api.finetuning import FineTuned, finetune
    from talkface_jax.api.synthesizing import synthesize
    from talkface_jax.api.training import train
    from talkface_jax.api.verifying import Images, verify

__all__ = [
    "Conversion",
    "ConvertedNetwork",
    "FineTuned",
    "Images",
    "LandmarkEvaluation",
    "System",
    "TorchFile",
    "convert",
    "evaluate_landmarks",
    "evaluate_videos",
    "export",
    "finetune",
    "load_experiment",
    "load_workdir_experiment",
    "synthesize",
    "to_torch",
    "train",
    "verify",
]
_HOMES = {
    "Conversion": "converting",
    "ConvertedNetwork": "converting",
    "FineTuned": "finetuning",
    "Images": "verifying",
    "LandmarkEvaluation": "evaluating",
    "System": "evaluating_videos",
    "TorchFile": "converting",
    "convert": "converting",
    "evaluate_landmarks": "evaluating",
    "evaluate_videos": "evaluating_videos",
    "export": "exporting",
    "finetune": "finetuning",
    "load_experiment": "experiments",
    "load_workdir_experiment": "experiments",
    "synthesize": "synthesizing",
    "to_torch": "converting",
    "train": "training",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        from talkface_jax import extras

        explained = extras.explain(error)
        raise error if explained is None else explained from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
