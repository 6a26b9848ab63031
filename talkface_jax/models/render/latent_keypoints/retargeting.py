"""Small networks that correct keypoints: stitching, and retargeting of eyes and lips.

Source: Guo et al., LivePortrait (arXiv 2407.03168), section 3.3, and the released code.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from talkface_jax.models.blocks import like_params, widen
from talkface_jax.ranges import AT_LEAST_0, AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class RetargetingConfig:
    """Sizes of one of the networks; the defaults are LivePortrait's for stitching.

    Attributes:
      hidden: widths of the layers below the last.
      keypoints: how many.
      shifts: numbers besides the keypoints' corrections: 2, a shift of all in x and y, or none.
    """

    hidden: tuple[int, ...] = ranged((128, 128, 64), AT_LEAST_1)
    keypoints: int = ranged(21, AT_LEAST_1)
    shifts: int = ranged(2, AT_LEAST_0)


STITCHING = RetargetingConfig()
LIPS = RetargetingConfig(shifts=0)
EYES = RetargetingConfig(hidden=(256, 256, 128, 128, 64), shifts=0)


class Retargeting(nn.Module):
    """Linear layers with ReLU between them."""

    config: RetargetingConfig = STITCHING

    @nn.compact
    def __call__(self, keypoints: jax.Array, goal: jax.Array) -> jax.Array:
        """The correction.

        Args:
          keypoints: (b, k, 3) of the source.
          goal: (b, …): for stitching the driving keypoints (b, k, 3); else how far the source's two
            eyes are open and the one wanted (b, 3), or its lips and the one wanted (b, 2).

        Returns:
          (b, 3·k + shifts), float32.
        """
        batch = keypoints.shape[0]
        given = (keypoints.reshape(batch, -1), goal.reshape(batch, -1))
        x = like_params(self, jnp.concatenate(given, -1))
        for index, width in enumerate(self.config.hidden):
            x = nn.relu(nn.Dense(width, name=f"hidden_{index}")(x))
        outputs = 3 * self.config.keypoints + self.config.shifts
        return widen(nn.Dense(outputs, name="last")(x))


def stitch(driving: jax.Array, correction: jax.Array) -> jax.Array:
    """Driving keypoints (b, k, 3), corrected by what the stitching network gave (b, 3·k + 2)."""
    batch, count, _ = driving.shape
    moved = driving + correction[:, : 3 * count].reshape(batch, count, 3)
    return moved.at[..., :2].add(correction[:, None, 3 * count : 3 * count + 2])
