"""When training ends early: `train.patience` evaluations without a better `train.best_metric`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from talkface_jax.config import TrainConfig

PATIENCE = "patience"
"""Key of a checkpoint's info: what `Patience.state` gives."""


@dataclasses.dataclass
class Patience:
    """Counts evaluations since the best one.

    Attributes:
      limit: how many without improvement end the run; 0 for none.
      larger: whether a larger value is better.
      best: the best value so far.
      waited: evaluations since then.
    """

    limit: int
    larger: bool = False
    best: float | None = None
    waited: int = 0

    @classmethod
    def of(cls, config: TrainConfig, info: Mapping[str, Any]) -> "Patience":
        """That of a run which begins, or goes on from a checkpoint with that info."""
        return cls(config.patience, config.best_mode == "max", **info.get(PATIENCE, {}))

    def see(self, value: float) -> None:
        """Takes the metric of an evaluation; one that is NaN is never better."""
        if math.isnan(value):
            self.waited += 1
            return
        better = self.best is None or (value > self.best if self.larger else value < self.best)
        self.best, self.waited = (value, 0) if better else (self.best, self.waited + 1)

    @property
    def spent(self) -> bool:
        """Whether the run is to end."""
        return 0 < self.limit <= self.waited

    def state(self) -> dict[str, Any]:
        """What a run that goes on needs; plain JSON."""
        return {"best": self.best, "waited": self.waited}
