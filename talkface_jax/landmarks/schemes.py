"""Landmark schemes: named subsets of the 478-point face mesh, with groups, edges and mirror pairs.

Indices are those of mediapipe's face landmarker: 468 points of the canonical mesh and 10 of the
irises. "Left" and "right" are the pictured person's own. The list of `iplap131` and its edges are
IP-LAP's (Zhong et al., CVPR 2023, released code); `ibug68` is the usual 68-point markup read off
the mesh; `ibug78` adds the irises, in 3-D.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from talkface_jax.errors import ConfigError
from talkface_jax.records import MESH_POINTS

_OVAL_RIGHT = (162, 127, 234, 93)
_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
_OVAL_LEFT = (323, 454, 356, 389)
_BROW_RIGHT = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_BROW_LEFT = (336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
_NOSE_RIDGE = (168, 6, 197, 195, 5)
_NOSE_BASE = (48, 115, 220, 45, 4, 275, 440, 344, 278)
_EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
_EYE_LEFT = (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382)
_LIPS_OUTER = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
_LIPS_INNER = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
_IRIS_RIGHT = (468, 469, 470, 471, 472)
_IRIS_LEFT = (473, 474, 475, 476, 477)

_IBUG_JAW = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
_IBUG_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_IBUG_NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_IBUG_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_IBUG_LIPS_OUTER = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_IBUG_LIPS_INNER = (78, 81, 13, 311, 308, 402, 14, 178)

# The mesh numbers the points of the right half and of the midline below 248, the left half from
# 248, both in the same order; so the mirror pairs need no table beyond the midline.
_MIDLINE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
_FIRST_LEFT = 248
# An iris is numbered centre, then round its ring; mirroring swaps the ring's two sides.
_IRIS_MIRROR = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)


@dataclasses.dataclass(frozen=True, eq=False)
class Scheme:
    """A named subset of the mesh.

    Attributes:
      name: as in `SCHEMES`.
      indices: mesh index of each of its n points.
      dims: coordinates that it keeps, 2 or 3.
      groups: part -> positions within the scheme. "content" are the points that speech moves (jaw
        and lips), "pose" all others; `content_jaw` and `content_lips` of the IP-LAP schemes are
        positions within the 57 "content" points.
      edges: pairs of positions joined by a line.
      flip: position of each point's mirror image.
    """

    name: str
    indices: Int[np.ndarray, " n"]
    dims: int
    groups: Mapping[str, Int[np.ndarray, " k"]]
    edges: Int[np.ndarray, "e 2"]
    flip: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.indices)

    def __reduce__(self) -> tuple:
        return get_scheme, (self.name,)

    def position(self, mesh_index: int) -> int:
        """Position of a mesh point within the scheme.

        Raises:
          ConfigError: the scheme does not hold that point.
        """
        found = np.flatnonzero(self.indices == mesh_index)
        if not len(found):
            raise ConfigError(
                f"scheme {self.name} has no mesh point {mesh_index}; use a scheme that has it"
            )
        return int(found[0])

    def mirror(self, points: Float[np.ndarray, "*b n d"]) -> Float[np.ndarray, "*b n d"]:
        """The mirrored face, in coordinates normalised to a box: x -> 1 - x, sides swapped."""
        mirrored = points[..., self.flip, :].copy()
        mirrored[..., 0] = 1 - mirrored[..., 0]
        return mirrored


def select(landmarks: Float[np.ndarray, "*b 478 3"], scheme: Scheme) -> Float[np.ndarray, "*b n d"]:
    """The scheme's points of the full mesh."""
    return landmarks[..., scheme.indices, : scheme.dims]


def get_scheme(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
      ConfigError: there is none.
    """
    if name not in SCHEMES:
        raise ConfigError(f"there is no landmark scheme {name!r}; use one of {', '.join(SCHEMES)}")
    return SCHEMES[name]


def _mesh_flip() -> np.ndarray:
    flip = np.arange(MESH_POINTS)
    right = [index for index in range(_FIRST_LEFT) if index not in _MIDLINE]
    left = np.arange(_FIRST_LEFT, 468)
    flip[right], flip[left] = left, right
    flip[468:] = _IRIS_MIRROR
    return flip


def _chain(points: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(points))


def _ring(points: Sequence[int]) -> list[tuple[int, int]]:
    return [*_chain(points), (points[-1], points[0])]


def _frozen(values: Sequence) -> np.ndarray:
    array = np.asarray(values, np.int64)
    array.flags.writeable = False
    return array


def _make(
    name: str,
    indices: Sequence[int],
    dims: int,
    parts: Mapping[str, Sequence[int]],
    edges: Sequence[tuple[int, int]],
    extra: Mapping[str, Sequence[int]] | None = None,
) -> Scheme:
    """A scheme from mesh indices; `extra` are groups that are given as positions."""
    at = {mesh: position for position, mesh in enumerate(indices)}
    flip = _mesh_flip()
    groups = {
        part: _frozen([at[mesh] for mesh in mesh_points]) for part, mesh_points in parts.items()
    }
    groups |= {part: _frozen(positions) for part, positions in (extra or {}).items()}
    return Scheme(
        name,
        _frozen(indices),
        dims,
        groups,
        _frozen([(at[a], at[b]) for a, b in edges]).reshape(-1, 2),
        _frozen([at[int(flip[mesh])] for mesh in indices]),
    )


_IPLAP = (
    *(*_OVAL_RIGHT, *_JAW, *_OVAL_LEFT, *_BROW_RIGHT, *_BROW_LEFT, *_NOSE_RIDGE, *_NOSE_BASE),
    *(*_EYE_RIGHT, *_EYE_LEFT, *_LIPS_OUTER, *_LIPS_INNER),
)
_IPLAP_PARTS = {
    "oval": (*_OVAL_RIGHT, *_JAW, *_OVAL_LEFT),
    "jaw": _JAW,
    "brow_right": _BROW_RIGHT,
    "brow_left": _BROW_LEFT,
    "nose": (*_NOSE_RIDGE, *_NOSE_BASE),
    "eye_right": _EYE_RIGHT,
    "eye_left": _EYE_LEFT,
    "lips_outer": _LIPS_OUTER,
    "lips_inner": _LIPS_INNER,
    "lips": (*_LIPS_OUTER, *_LIPS_INNER),
}
# The released code's brows are two open lines each, the jaw an open line without the forehead, and
# the ridge of the nose runs into its base at point 4.
_IPLAP_EDGES = (
    *_chain(_IPLAP_PARTS["oval"]),
    *_chain(_BROW_RIGHT[:5]),
    *_chain(_BROW_RIGHT[5:]),
    *_chain(_BROW_LEFT[:5]),
    *_chain(_BROW_LEFT[5:]),
    *_chain((*_NOSE_RIDGE, 4)),
    *_chain(_NOSE_BASE),
    *_ring(_EYE_RIGHT),
    *_ring(_EYE_LEFT),
    *_ring(_LIPS_OUTER),
    *_ring(_LIPS_INNER),
)
_IPLAP_EXTRA = {
    "pose": (*range(4), *range(21, 91)),
    "content": (*range(4, 21), *range(91, 131)),
    "content_jaw": range(17),
    "content_lips": range(17, 57),
}
_IBUG = (
    *(*_IBUG_JAW, *_IBUG_BROWS, *_IBUG_NOSE, *_IBUG_EYES),
    *(*_IBUG_LIPS_OUTER, *_IBUG_LIPS_INNER),
)
_IBUG_PARTS = {
    "oval": _IBUG_JAW,
    "jaw": _IBUG_JAW,
    "brow_right": _IBUG_BROWS[:5],
    "brow_left": _IBUG_BROWS[5:],
    "nose": _IBUG_NOSE,
    "eye_right": _IBUG_EYES[:6],
    "eye_left": _IBUG_EYES[6:],
    "lips_outer": _IBUG_LIPS_OUTER,
    "lips_inner": _IBUG_LIPS_INNER,
    "lips": (*_IBUG_LIPS_OUTER, *_IBUG_LIPS_INNER),
}
# As in the IP-LAP schemes: the four ear-side points of the oval belong to the pose.
_IBUG_CONTENT = (*range(3, 14), *range(48, 68))
_IBUG_EXTRA = {
    "pose": [position for position in range(68) if position not in _IBUG_CONTENT],
    "content": _IBUG_CONTENT,
}
_IBUG_EDGES = (
    *_chain(_IBUG_JAW),
    *_chain(_IBUG_BROWS[:5]),
    *_chain(_IBUG_BROWS[5:]),
    *_chain(_IBUG_NOSE[:4]),
    *_chain(_IBUG_NOSE[4:]),
    *_ring(_IBUG_EYES[:6]),
    *_ring(_IBUG_EYES[6:]),
    *_ring(_IBUG_LIPS_OUTER),
    *_ring(_IBUG_LIPS_INNER),
)
_IRIS_PARTS = {"iris_right": _IRIS_RIGHT, "iris_left": _IRIS_LEFT}
_IRIS_EDGES = (*_ring(_IRIS_RIGHT[1:]), *_ring(_IRIS_LEFT[1:]))

SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        _make(
            "mesh478",
            range(MESH_POINTS),
            3,
            _IPLAP_PARTS | _IRIS_PARTS,
            (*_IPLAP_EDGES, *_IRIS_EDGES),
        ),
        _make("iplap131", _IPLAP, 2, _IPLAP_PARTS, _IPLAP_EDGES, _IPLAP_EXTRA),
        _make("ibug68", _IBUG, 2, _IBUG_PARTS, _IBUG_EDGES, _IBUG_EXTRA),
        _make(
            "ibug78",
            (*_IBUG, *_IRIS_RIGHT, *_IRIS_LEFT),
            3,
            _IBUG_PARTS | _IRIS_PARTS,
            (*_IBUG_EDGES, *_IRIS_EDGES),
            _IBUG_EXTRA,
        ),
        _make(
            "emoconv141",
            (*_IPLAP, *_IRIS_RIGHT, *_IRIS_LEFT),
            3,
            _IPLAP_PARTS | _IRIS_PARTS,
            (*_IPLAP_EDGES, *_IRIS_EDGES),
            _IPLAP_EXTRA,
        ),
    )
}
