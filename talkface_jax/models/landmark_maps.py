"""Landmarks as pictures that a network can look at, drawn on the device from points.

Nothing is rasterised on the host: a map is a function of the distance to each part's lines, exact
at every size, so that a small shift of a point shows as a small change of the map.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.landmarks.schemes import get_scheme

_SCHEME = get_scheme("ibug68")


@dataclasses.dataclass(frozen=True)
class _Part:
    """Edges (e, 2), positions in the scheme, of one channel; closed ones are polygons too."""

    edges: np.ndarray
    groups: tuple[str, ...]
    closed: bool


def _part(*groups: str, closed: bool = False) -> _Part:
    members = [set(_SCHEME.groups[group].tolist()) for group in groups]
    edges = [
        edge for edge in _SCHEME.edges.tolist() if any(set(edge) <= points for points in members)
    ]
    return _Part(np.asarray(edges), groups, closed)


_PARTS = (
    _part("jaw"),
    _part("brow_right", "brow_left"),
    _part("nose"),
    _part("eye_right", "eye_left", closed=True),
    _part("lips_outer", closed=True),
    _part("lips_inner", closed=True),
)
CHANNELS = len(_PARTS) + sum(part.closed for part in _PARTS)
"""Lines of jaw, brows, nose, eyes, outer and inner lips; areas of eyes, outer and inner lips."""


def landmark_maps(points: jax.Array, *, size: int, width: float = 1.5) -> jax.Array:
    """Lines of the parts of a face, and the areas that its closed ones enclose.

    Args:
      points: (b, 68, 2) of scheme ibug68, [0, 1] over the crop.
      size: height and width of the maps in pixels.
      width: deviation of a line's Gaussian profile, in pixels of the maps.

    Returns:
      (b, size, size, 9) in [0, 1], float32; channels as of `CHANNELS`. Areas have borders that are
      one pixel soft.
    """
    places = points.astype(jnp.float32) * size
    lines, areas = [], []
    for part in _PARTS:
        squares = _squared_distance(places, part.edges, size)
        lines.append(jnp.exp(-0.5 * squares / width**2))
        if part.closed:
            signed = jnp.where(_inside(places, part.edges, size), 1.0, -1.0) * jnp.sqrt(squares)
            areas.append(jnp.clip(0.5 + signed, 0.0, 1.0))
    return jnp.stack([*lines, *areas], -1)


def mouth_and_eyes(points: jax.Array, *, size: int, reach: float = 0.05) -> jax.Array:
    """Where a talking face changes most: 1 at the lip and eye points, falling off around them.

    Args:
      points: (b, 68, 2) of scheme ibug68, [0, 1] over the crop.
      size: height and width in pixels.
      reach: deviation of the Gaussian around each point, in widths of the crop.

    Returns:
      (b, size, size, 1) in [0, 1], float32.
    """
    groups = [_SCHEME.groups[name] for name in ("lips", "eye_right", "eye_left")]
    chosen = points.astype(jnp.float32)[:, np.concatenate(groups)]
    centres = jnp.asarray((np.arange(size) + 0.5) / size, jnp.float32)
    across = jnp.square(centres - chosen[..., 0, None])
    down = jnp.square(centres - chosen[..., 1, None])
    nearest = jnp.min(down[..., :, None] + across[..., None, :], axis=1)
    return jnp.exp(-0.5 * nearest / reach**2)[..., None]


def heatmaps(points: jax.Array, *, size: int, sigma: float) -> jax.Array:
    """A Gaussian about every point.

    Args:
      points: (b, n, 2), [0, 1] over the crop.
      size: height and width of the maps in pixels.
      sigma: deviation in pixels of the maps.

    Returns:
      (b, size, size, n) in [0, 1], float32; 1 at a point that lies on a pixel's centre.
    """
    centres = jnp.asarray(np.arange(size) + 0.5, jnp.float32)
    offsets = points.astype(jnp.float32)[..., None] * size - centres  # (b, n, 2, size)
    across, down = jnp.moveaxis(jnp.exp(-0.5 * jnp.square(offsets / sigma)), 2, 0)
    return down.swapaxes(1, 2)[:, :, None] * across.swapaxes(1, 2)[:, None]


def _pixels(size: int) -> tuple[jax.Array, jax.Array]:
    """x and y of the pixel centres, shaped to broadcast over (b, e, size, size)."""
    centres = jnp.asarray(np.arange(size) + 0.5, jnp.float32)
    return centres[None, None, None, :], centres[None, None, :, None]


def _ends(places: jax.Array, edges: np.ndarray) -> tuple[jax.Array, ...]:
    """x and y of both ends of every edge, (b, e, 1, 1) each."""
    start, stop = places[:, edges[:, 0]], places[:, edges[:, 1]]
    coordinates = (start[..., 0], start[..., 1], stop[..., 0], stop[..., 1])
    return tuple(value[..., None, None] for value in coordinates)


def _squared_distance(places: jax.Array, edges: np.ndarray, size: int) -> jax.Array:
    """(b, size, size): to the nearest edge, in pixels."""
    x, y = _pixels(size)
    x0, y0, x1, y1 = _ends(places, edges)
    dx, dy = x1 - x0, y1 - y0
    length = jnp.maximum(dx * dx + dy * dy, 1e-6)
    along = jnp.clip(((x - x0) * dx + (y - y0) * dy) / length, 0.0, 1.0)
    return jnp.min(jnp.square(x - x0 - along * dx) + jnp.square(y - y0 - along * dy), axis=1)


def _inside(places: jax.Array, edges: np.ndarray, size: int) -> jax.Array:
    """(b, size, size): whether a ray to the right crosses the edges an odd number of times."""
    x, y = _pixels(size)
    x0, y0, x1, y1 = _ends(places, edges)
    spans = (y0 <= y) != (y1 <= y)
    height = jnp.where(y1 == y0, 1.0, y1 - y0)
    crossing = x0 + (y - y0) * (x1 - x0) / height
    return jnp.sum(spans & (x < crossing), axis=1) % 2 == 1
