"""IP-LAP's landmark generator as a trainable stage (Zhong et al., CVPR 2023, section 3.2)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from talkface_jax.errors import ConfigError
from talkface_jax.losses import landmark
from talkface_jax.losses.terms import LossTerm, between
from talkface_jax.methods.base import StageTask, view_of
from talkface_jax.methods.iplap.motion import preview
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.methods.iplap.references import JAW, WINDOW
from talkface_jax.metrics.base import Average
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformer
from talkface_jax.task import Batch, Objective, Outputs, Previews, PyTree


class MotionTask(StageTask):
    """Mel, pose and references to jaw and lip points."""

    config_class = MotionConfig
    name = "iplap/motion"
    generators = ("motion",)
    entries = ("mel", "pose", "ref_pose", "ref_content")
    output = "content"
    """content (b, 5, 57, 2) in crop coordinates."""

    def check(self, config: MotionConfig) -> None:
        """Affine pose features come with the residual head, heads share the width evenly, and the
        window is the method's.

        Raises:
          ConfigError: it is not so.
        """
        net = config.net
        if net.window != WINDOW:
            raise ConfigError(
                f"config.task.net.window must be {WINDOW}, not {net.window}; give "
                f"--config.task.net.window={WINDOW}"
            )
        if net.width % net.heads:
            raise ConfigError(
                f"config.task.net.width {net.width} is not a multiple of net.heads = {net.heads}; "
                "give another --config.task.net.heads or --config.task.net.width"
            )
        if net.positions == "sinusoid" and net.width % 2:
            raise ConfigError(
                f"config.task.net.width must be even where net.positions is 'sinusoid', not "
                f"{net.width}; give another --config.task.net.width"
            )
        if config.net.pose_features == "affine" and config.net.head != "residual":
            raise ConfigError(
                "config.task.net: pose_features affine needs head residual; set head to residual "
                "or pose_features to points"
            )

    def networks(self, config: MotionConfig) -> Mapping[str, nn.Module]:
        """The landmark generator."""
        return {"motion": LandmarkTransformer(config.net)}

    @cached_property
    def view(self) -> MotionView:
        """Windows of five frames."""
        return view_of(MotionView, self.config)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Position L1 plus velocity, as released (weight of the latter in the config)."""
        velocity = between(landmark.landmark_velocity, "content")
        terms = (
            LossTerm("position", between(landmark.landmark_l1, "content")),
            LossTerm("velocity", velocity, self.config.velocity_weight),
        )
        return (Objective(("motion",), terms),)

    def metrics(
        self, outputs: Outputs, batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """Mean distance of the middle frame's lip and jaw points, in widths of the crop."""
        del frozen
        middle = self.view.window // 2
        error = outputs["content"][:, middle] - batch["content"][:, middle]
        distance = jnp.linalg.norm(error, axis=-1)
        mask = batch["mask"]
        return {
            "lip_distance": Average.of(distance[:, JAW:], mask),
            "jaw_distance": Average.of(distance[:, :JAW], mask),
            "position_l1": Average.of(jnp.abs(error), mask),
        }

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Predicted over true faces, and the same as a video."""
        return preview.motion(outputs, batch)
