"""What a method that can be trained further on one picture gives, and the faces that keep it from
forgetting all others."""

import importlib.resources
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from talkface_jax.config import ExperimentConfig

REPLAY = "replay_faces.safetensors"
"""File of replay faces (`data.replay`): a packaged one, which goes into every bundle of such a
method, so that a bundle and a picture are all that fine-tuning needs."""


class FineTuning(Protocol):
    """How one stage of a method is trained further (`Declaration.finetuning` names it).

    It is an ordinary run of that stage over other data: `config.OptimConfig.only` limits what is
    trained. Batches are one part the picture, flipped, moved and recoloured, and three parts replay
    faces; evaluation sees the picture as it is.
    """

    @property
    def stage(self) -> str:
        """Which one."""
        ...

    def experiment(self, task: Any, *, seed: int, steps: int) -> "ExperimentConfig":
        """The run.

        Args:
          task: the stage's config in the bundle; what is trained must fit its weights.
          seed: of its draws.
          steps: at most so many; `train.patience` may end it before.
        """
        ...


def replay_faces() -> bytes:
    """The packaged file."""
    return (importlib.resources.files("talkface_jax.assets") / REPLAY).read_bytes()
