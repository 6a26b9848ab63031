"""Which stages and methods exist: two explicit dicts.

Values are "module:attribute", imported when asked for, so that inference never imports training
code.
"""

import importlib
from typing import Any

from talkface_jax.errors import ConfigError
from talkface_jax.task import Method, Task

TASKS: dict[tuple[str, str], str] = {
    ("iplap", "motion"): "talkface_jax.methods.iplap.tasks:MotionTask",
    ("iplap", "render"): "talkface_jax.methods.iplap.tasks:RenderTask",
}
METHODS: dict[str, str] = {
    "iplap": "talkface_jax.methods.iplap.chain:METHOD",
}


def _resolve(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def task_class(method: str, stage: str) -> Any:
    """The class of one stage; it has `config_class` and is built by `cls(config)`.

    Raises:
      ConfigError: no such method or stage.
    """
    if (method, stage) not in TASKS:
        known = ", ".join(f"{m}/{s}" for m, s in TASKS)
        raise ConfigError(f"there is no stage {method}/{stage}; known stages: {known}")
    return _resolve(TASKS[method, stage])


def build_task(method: str, stage: str, config: Any) -> Task:
    """The stage with its own config (`ExperimentConfig.task`)."""
    return task_class(method, stage)(config)


def get_method(name: str) -> Method:
    """The method's inference chain.

    Raises:
      ConfigError: no such method.
    """
    if name not in METHODS:
        raise ConfigError(f"there is no method {name!r}; known methods: {', '.join(METHODS)}")
    return _resolve(METHODS[name])
