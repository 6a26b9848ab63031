"""What a config says about one optimiser, and the checks of it (`config.OptimConfig`)."""

import dataclasses
from typing import Literal

from talkface_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """One optimiser (optax).

    Attributes:
      name: algorithm; "sgd" is plain and exists for the equality tests of sharding.
      lr: peak learning rate.
      schedule: after the warm-up "constant", "cosine" to zero over `train.steps`, "wsd" (constant,
        then linear to zero over the last `decay_steps` updates) or "inverse_sqrt" (by the root of
        `warmup_steps` over the updates done). Of these, "cosine" and "wsd" depend on the end.
      warmup_steps: linear warm-up from zero, in updates.
      decay_steps: updates of the decay of "wsd".
      betas: Adam's decay rates.
      weight_decay: decoupled; 0 for plain Adam. Biases, norms and learned positions are left alone.
      clip_norm: limit of the global gradient norm of what is trained; 0 for none.
      only: patterns (as of files: * ? [abc]) of "/"-joined paths of the parameters to be trained;
        one that matches a path takes all below it ("decoder", "*/norm_*"). Empty for all.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-4
    schedule: Literal["constant", "cosine", "wsd", "inverse_sqrt"] = "constant"
    warmup_steps: int = 0
    decay_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    only: tuple[str, ...] = ()


_NEEDED = {"inverse_sqrt": "warmup_steps", "wsd": "decay_steps"}
"""The field without which a schedule means nothing."""


def validate_optim(optim: OptimConfig, *, where: str) -> None:
    """Checks what types cannot.

    Args:
      optim: one optimiser.
      where: its place in the config, "optim" or "players.NAME".

    Raises:
      ConfigError: a value out of range, by field name.
    """
    if not optim.lr > 0:
        raise ConfigError(
            f"config: the learning rate of {where} must be above 0, not {optim.lr}; "
            f"give another --config.{where}.lr"
        )
    for field in ("warmup_steps", "decay_steps"):
        value, name = getattr(optim, field), f"{where}.{field}"
        if value < 0:
            raise ConfigError(
                f"config: {name} must not be below 0, but is {value}; give another --config.{name}"
            )
        if value < 1 and _NEEDED.get(optim.schedule) == field:
            raise ConfigError(
                f"config: {name} must be at least 1 where {where}.schedule is {optim.schedule!r}, "
                f"not {value}; give another --config.{name}"
            )
