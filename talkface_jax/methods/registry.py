"""Which stages and methods exist, and what belongs to them: explicit dicts.

Values are "module:attribute", imported when asked for, so that inference never imports training
code, and a command's flags load no network.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from talkface_jax.errors import ConfigError

if TYPE_CHECKING:
    from talkface_jax.interop.cases import Suite
    from talkface_jax.interop.torch_rules import TorchNetwork
    from talkface_jax.task import Method, Task

TASKS: dict[tuple[str, str], str] = {
    ("iplap", "motion"): "talkface_jax.methods.iplap.tasks:MotionTask",
    ("iplap", "render"): "talkface_jax.methods.iplap.tasks:RenderTask",
    ("sinha2020", "motion"): "talkface_jax.methods.sinha2020.tasks.motion:MotionTask",
    ("sinha2020", "blink"): "talkface_jax.methods.sinha2020.tasks.blink:BlinkTask",
    ("sinha2020", "render"): "talkface_jax.methods.sinha2020.tasks.render:RenderTask",
    ("speech", "ctc29"): "talkface_jax.methods.speech.tasks:Ctc29Task",
}
METHODS: dict[str, str] = {
    "iplap": "talkface_jax.methods.iplap.chain:METHOD",
    "sinha2020": "talkface_jax.methods.sinha2020.chain:METHOD",
}
WEIGHTS: dict[str, str] = {
    "iplap": "talkface_jax.methods.iplap.torch_map:NETWORKS",
}
PARITY: dict[str, str] = {
    "iplap": "talkface_jax.methods.iplap.parity:CHECKS",
}


def _resolve(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def stages() -> tuple[str, ...]:
    """Names of all stages that some method chains, each once."""
    return tuple(dict.fromkeys(stage for method, stage in TASKS if method in METHODS))


def task_class(method: str, stage: str) -> Any:
    """The class of one stage; it has `config_class` and is built by `cls(config)`.

    Raises:
      ConfigError: no such method or stage.
    """
    if (method, stage) not in TASKS:
        known = ", ".join(f"{m}/{s}" for m, s in TASKS)
        raise ConfigError(f"there is no stage {method}/{stage}; known stages: {known}")
    return _resolve(TASKS[method, stage])


def build_task(method: str, stage: str, config: Any) -> "Task":
    """The stage with its own config (`ExperimentConfig.task`)."""
    return task_class(method, stage)(config)


def get_method(name: str) -> "Method":
    """The method's inference chain.

    Raises:
      ConfigError: no such method.
    """
    if name not in METHODS:
        raise ConfigError(f"there is no method {name!r}; known methods: {', '.join(METHODS)}")
    return _resolve(METHODS[name])


def torch_networks(method: str) -> Mapping[str, "TorchNetwork"]:
    """The public PyTorch networks whose weights the method takes, by their `--stage` in `convert`.

    Raises:
      ConfigError: no such method, or none with public weights.
    """
    if method not in WEIGHTS:
        known = ", ".join(WEIGHTS)
        raise ConfigError(f"there are no PyTorch weights of method {method!r}; known: {known}")
    return _resolve(WEIGHTS[method])


def parity_suite(method: str) -> "Suite":
    """What the method's networks and the official code must agree on, by file of a parity case.

    Raises:
      ConfigError: no such method, or none with parity cases.
    """
    if method not in PARITY:
        known = ", ".join(PARITY)
        raise ConfigError(f"there is no parity suite of method {method!r}; known: {known}")
    return _resolve(PARITY[method])
