"""Random smooth warps of pictures and of points on them: an affine map and a thin-plate spline.

What equivariance is trained with (Siarohin et al., NeurIPS 2019), as in the released first-order
motion model and the unofficial face-vid2vid.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.models.warp import warp_by_grid

AFFINE, SPLINE, POINTS = 0.05, 0.005, 5
"""Deviations of the affine map and of the spline's weights; control points along a side."""
_NEAR = 1e-6


@flax.struct.dataclass
class ThinPlate:
    """A warp of each item: affine (b, 2, 3) and the control points' weights (b, n)."""

    affine: jax.Array
    weights: jax.Array

    @classmethod
    def draw(cls, rng: jax.Array, batch: int) -> "ThinPlate":
        """Random ones near the identity."""
        first, second = jax.random.split(rng)
        affine = jnp.eye(2, 3) + AFFINE * jax.random.normal(first, (batch, 2, 3))
        return cls(affine, SPLINE * jax.random.normal(second, (batch, POINTS**2)))

    def points(self, places: jax.Array) -> jax.Array:
        """Where places (b, n, 2), x before y in [-1, 1], of the warped picture are in the true one.

        With the released code's distance, the sum of the distances along x and y.
        """
        moved = (
            jnp.einsum("bij,bnj->bni", self.affine[..., :2], places) + self.affine[:, None, :, 2]
        )
        side = np.linspace(-1, 1, POINTS, dtype=np.float32)
        controls = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        distance = jnp.sum(jnp.abs(places[:, :, None] - controls), -1)
        bent = jnp.square(distance) * jnp.log(distance + _NEAR)
        return moved + jnp.einsum("bnc,bc->bn", bent, self.weights)[..., None]

    def picture(self, image: jax.Array) -> jax.Array:
        """The warped picture of (b, h, w, c), whose edges are at -1 and 1; the border is repeated
        where it shows more."""
        b, h, w, _ = image.shape
        y, x = (((2 * np.arange(n) + 1) / n - 1).astype(np.float32) for n in (h, w))
        grid = np.stack(np.meshgrid(x, y), -1).reshape(1, -1, 2)
        places = self.points(jnp.broadcast_to(grid, (b, h * w, 2))).reshape(b, h, w, 2)
        edge = 1 - 1 / np.array([w, h], np.float32)
        return warp_by_grid(image, jnp.clip(places, -edge, edge))
