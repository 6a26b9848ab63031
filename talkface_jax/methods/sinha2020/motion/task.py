"""The motion stage: speech to person-independent landmarks (Sinha et al., IJCNN 2020; VOCA)."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import numpy as np

from talkface_jax.landmarks import retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses import landmark
from talkface_jax.losses.terms import LossTerm, between
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.sinha2020.motion import preview
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.view import MotionView
from talkface_jax.methods.stages.portrait.errors import motion_errors
from talkface_jax.methods.stages.portrait.moments import FeatureMoments
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarks
from talkface_jax.task import Batch, Objective, Outputs, Previews, PyTree, Sample, Variables

VARIANCE = 0.99
"""Share of the motion's variance that the decoder's basis should hold."""
_SCHEME = get_scheme("ibug68")
_LIPS = _SCHEME.groups["lips"]
logger = logging.getLogger(__name__)


class MotionTask(StageTask):
    """Speech-content windows to landmark displacements."""

    config_class = MotionConfig
    name = "sinha2020/motion"
    generators = ("motion",)
    entries = ("content",)
    output = "offsets"
    """offsets (b, t, 68, 2) in the canonical frame."""

    def networks(self, config: MotionConfig) -> Mapping[str, nn.Module]:
        """VOCA's network."""
        return {"motion": SpeechLandmarks(config.net)}

    @cached_property
    def view(self) -> MotionView:
        """Windows of consecutive frames."""
        return view_of(MotionView, self.config, weights=self.config.feature_weights)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Squared error of position and velocity."""
        weight = np.ones(len(_SCHEME), np.float32)
        weight[_LIPS] = self.config.lip_weight

        position = between(landmark.landmark_mse, "offsets", weight=weight)
        velocity = between(landmark.landmark_velocity_mse, "offsets", weight=weight)
        terms = (
            LossTerm("position", position, self.config.position_weight),
            LossTerm("velocity", velocity, self.config.velocity_weight),
        )
        return (Objective(("motion",), terms),)

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """Mean and deviation of the features, and the principal components of the motion as the
        decoder, each scaled to the deviation of its coefficient."""
        features, motion = FeatureMoments(), []
        for sample in samples():
            features.add(sample["content"])
            motion.append(sample["offsets"])
        offsets = np.concatenate(motion)
        if self.config.flip:
            offsets = np.concatenate([offsets, retarget.mirror(offsets)])
        mean, components, share = _principal(
            offsets.reshape(len(offsets), -1), self.config.net.basis
        )
        logger.info("the decoder's basis holds %.2f %% of the motion's variance", 100 * share)
        if share < VARIANCE:
            logger.warning(
                "that is less than %.0f %%; raise --config.task.net.basis", 100 * VARIANCE
            )
        return {
            "motion": {
                "params": {"decoder": {"kernel": components, "bias": mean}},
                "constants": features.constants(),
            }
        }

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Mean distance of the lip and of all points, and error of the mouth's opening, in the unit
        of the canonical frame."""
        del frozen
        return motion_errors(outputs["offsets"], batch["offsets"], batch["mask"])

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Predicted over true faces, and the same as a video."""
        return preview.motion(outputs, batch)


def _principal(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (d,) of rows (m, d), their first principal components times the deviation along each
    (count, d), and the share of the variance that these hold."""
    wide = np.asarray(rows, np.float64)
    mean = wide.mean(0)
    variances, directions = np.linalg.eigh(np.cov(wide - mean, rowvar=False, bias=True))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1].T
    components = directions[:count] * np.sqrt(variances[:count, None])
    share = variances[:count].sum() / max(variances.sum(), np.finfo(np.float64).tiny)
    return mean.astype(np.float32), components.astype(np.float32), float(share)
