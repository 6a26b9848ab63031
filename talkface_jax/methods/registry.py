"""Which methods exist: one line each, a package whose `DECLARATION` says all that belongs to it.

Reading declarations loads no network, and what they name is imported when asked for, so inference
never imports training code.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from talkface_jax.capabilities import Declaration
from talkface_jax.errors import ConfigError

if TYPE_CHECKING:
    from talkface_jax.interop.suites import Suite
    from talkface_jax.interop.torch_network import TorchNetwork
    from talkface_jax.interop.torch_release import TorchRelease
    from talkface_jax.methods.finetuning import FineTuning
    from talkface_jax.task import Method, Task

PACKAGES: dict[str, str] = {
    "emoconv": "talkface_jax.methods.emoconv",
    "emotion": "talkface_jax.methods.emotion",
    "iplap": "talkface_jax.methods.iplap",
    "sinha2020": "talkface_jax.methods.sinha2020",
    "sinha2022": "talkface_jax.methods.sinha2022",
    "speech": "talkface_jax.methods.speech",
}


def declarations() -> dict[str, Declaration]:
    """Every declaration by name, of methods and of stages that no method chains.

    Raises:
      ValueError: a package that declares another name.
    """
    found = {name: importlib.import_module(path).DECLARATION for name, path in PACKAGES.items()}
    for name, item in found.items():
        if item.name != name:
            raise ValueError(
                f"{PACKAGES[name]} declares {item.name!r}, but is registered as {name!r}"
            )
    return found


def methods() -> dict[str, Declaration]:
    """Those that chain their stages."""
    return {name: item for name, item in declarations().items() if item.chain}


def tasks() -> dict[tuple[str, str], str]:
    """The place of every stage's task class, by method and stage."""
    return {
        (name, stage): place
        for name, item in declarations().items()
        for stage, place in item.stages.items()
    }


def stages() -> tuple[str, ...]:
    """Names of all stages that some method chains, each once."""
    return tuple(dict.fromkeys(stage for item in methods().values() for stage in item.chained))


def declaration(name: str) -> Declaration:
    """What a method says of itself.

    Raises:
      ConfigError: no such method.
    """
    known = methods()
    if name not in known:
        raise ConfigError(f"there is no method {name!r}; known methods: {', '.join(known)}")
    return known[name]


def task_class(method: str, stage: str) -> Any:
    """The class of one stage; it has `config_class` and is built by `cls(config)`.

    Raises:
      ConfigError: no such method or stage.
    """
    known = tasks()
    if (method, stage) not in known:
        names = ", ".join(f"{m}/{s}" for m, s in known)
        raise ConfigError(f"there is no stage {method}/{stage}; known stages: {names}")
    return _resolve(known[method, stage])


def build_task(method: str, stage: str, config: Any) -> "Task":
    """The stage with its own config (`ExperimentConfig.task`), trained for a method."""
    return task_class(method, stage)(config, name=f"{method}/{stage}")


def get_method(name: str) -> "Method":
    """The method's inference chain.

    Raises:
      ConfigError: no such method.
    """
    return _resolve(declaration(name).chain)


def torch_networks(method: str) -> Mapping[str, "TorchNetwork | TorchRelease"]:
    """The public PyTorch networks whose weights the method takes, alone or together as they are
    released, by their `--stage` in `convert`.

    Raises:
      ConfigError: no such method, or none with public weights.
    """
    known = with_networks()
    if method not in known:
        names = ", ".join(known)
        raise ConfigError(f"there are no PyTorch weights of method {method!r}; known: {names}")
    return _resolve(known[method])


def parity_suites(method: str | None = None) -> dict[tuple[str, str], "Suite"]:
    """What networks and official code must agree on, by method and name of that code.

    Args:
      method: whose; by default all methods'.

    Raises:
      ConfigError: no such method, or none with parity cases.
    """
    known = with_parity()
    if method is not None and method not in known:
        names = ", ".join(known)
        raise ConfigError(f"there is no parity suite of method {method!r}; known: {names}")
    return {
        (name, code): _resolve(place)
        for name in (known if method is None else (method,))
        for code, place in known[name].items()
    }


def fine_tuning(method: str) -> "FineTuning":
    """How a method is trained further on one picture.

    Raises:
      ConfigError: no such method, or one that is not.
    """
    place = declaration(method).finetuning
    if not place:
        able = [name for name, item in methods().items() if item.finetuning]
        others = f"{' and '.join(able)} can" if able else "no method can"
        raise ConfigError(
            f"{method} cannot be fine-tuned on one picture; {others}, so give a bundle of another "
            "method"
        )
    return _resolve(place)


def with_networks() -> dict[str, str]:
    """The methods that take PyTorch weights, and the place of their rules."""
    return {name: item.networks for name, item in declarations().items() if item.networks}


def with_parity() -> dict[str, Mapping[str, str]]:
    """The methods with parity cases, and the places of what is compared."""
    return {name: item.parity for name, item in declarations().items() if item.parity}


def _resolve(place: str) -> Any:
    """What a declaration names.

    Raises:
      ValueError: it is no "module:attribute" that exists.
    """
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        # What the module itself lacks is its own affair.
        if isinstance(error, ModuleNotFoundError) and error.name != module:
            raise
        raise ValueError(
            f"{place!r} of a declaration is no module:attribute that exists"
        ) from error
