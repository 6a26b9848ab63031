"""What a config says about one optimiser, and the checks of it (`config.OptimConfig`)."""

import dataclasses
from typing import Literal

from talkface_jax.errors import ConfigError
from talkface_jax.ranges import ABOVE_0, AT_LEAST_0, DROPOUT, ranged


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
    lr: float = ranged(1e-4, ABOVE_0)
    schedule: Literal["constant", "cosine", "wsd", "inverse_sqrt"] = "constant"
    warmup_steps: int = ranged(0, AT_LEAST_0)
    decay_steps: int = ranged(0, AT_LEAST_0)
    betas: tuple[float, float] = ranged((0.9, 0.999), DROPOUT)
    weight_decay: float = ranged(0.0, AT_LEAST_0)
    clip_norm: float = ranged(0.0, AT_LEAST_0)
    only: tuple[str, ...] = ()


_NEEDED = {"inverse_sqrt": "warmup_steps", "wsd": "decay_steps"}
"""The field without which a schedule means nothing."""


def validate_optim(optim: OptimConfig, *, where: str) -> None:
    """Checks what neither types nor ranges can.

    Args:
      optim: one optimiser.
      where: its place in the config, "optim" or "players.NAME".

    Raises:
      ConfigError: a schedule without the field that it needs.
    """
    needed = _NEEDED.get(optim.schedule)
    if needed and getattr(optim, needed) < 1:
        name = f"config.{where}.{needed}"
        raise ConfigError(
            f"{name} must be at least 1 where {where}.schedule is {optim.schedule!r}, "
            f"not {getattr(optim, needed)}; give another --{name}"
        )
