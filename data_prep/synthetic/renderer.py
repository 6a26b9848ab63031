"""Shape weights and head rotation in, frames out: the CPU renderer of the synthetic set."""

import dataclasses

import numpy as np
from jaxtyping import Float32, UInt8

from data_prep.synthetic import raster
from data_prep.synthetic.identity import Person, neutral_head
from data_prep.synthetic.mesh import PARTS, HeadModel
from data_prep.synthetic.paint import HAIR_STYLES, Paint, paint, smoothstep
from data_prep.synthetic.scene import Scene

SAMPLES = 2  # per pixel and axis; `raster.shade` counts on it
_SHADOW_SIZE, _SHADOW_SPAN, _SHADOW_BIAS, _SHADOW_RADIUS = 256, 3.4, 0.045, 3
# Teeth and tongue are set back, or they poke through the lips; both rows move towards the chin, so
# that the upper one shows in a smile and the lower one less.
_INNER = (PARTS.index("teeth"), PARTS.index("tongue"))
_INNER_BACK, _UPPER_DOWN, _LOWER_DOWN, _BETWEEN_ROWS = 0.05, 0.02, 0.03, -0.48
# Highlight strength, log2 of its exponent, wrap of the diffuse light; one row for each of `PARTS`.
_MATERIALS = np.array(
    [[0.10, 4, 0.35], [0.90, 7, 0.20], [0.12, 5, 0.20], [0.06, 4, 0.30]], np.float32
)
# Floor of the resting occlusion: teeth and tongue see nothing at rest, but light when the mouth
# opens.
_OCCLUSION_FLOOR = np.array([0.05, 0.55, 0.40, 0.12], np.float32)


@dataclasses.dataclass(frozen=True)
class Head:
    """A person ready to be animated: neutral geometry (with hair volume) and paint."""

    person: Person
    neutral: Float32[np.ndarray, "n 3"]
    looks: Paint
    occlusion: Float32[np.ndarray, " n"]
    model: HeadModel


def make_head(person: Person, model: HeadModel) -> Head:
    """Builds and paints a person (about half a second)."""
    neutral = neutral_head(person, model)
    neutral = neutral + _inner_shift(model)
    looks = paint(person, model)
    if HAIR_STYLES[person.hair_style].over_ears:
        neutral = _flat_ears(neutral, model)
    normals = raster.vertex_normals(neutral, model.triangles)
    return Head(person, neutral + looks.hair[:, None] * normals, looks, _occlusion(model), model)


def _inner_shift(model: HeadModel) -> np.ndarray:
    shift = np.zeros_like(model.template)
    teeth = model.vertex_parts == PARTS.index("teeth")
    upper = model.template[:, 1] > _BETWEEN_ROWS
    shift[np.isin(model.vertex_parts, _INNER), 2] = -_INNER_BACK
    shift[teeth & upper, 1] = -_UPPER_DOWN
    shift[teeth & ~upper, 1] = -_LOWER_DOWN
    return shift


def _occlusion(model: HeadModel) -> np.ndarray:
    """Share of the sky: as measured at rest, but no less than a floor; side teeth are darker."""
    floor = _OCCLUSION_FLOOR[model.vertex_parts]
    side = smoothstep(0.08, 0.20, np.abs(model.template[:, 0]))
    floor = floor * np.where(model.vertex_parts == PARTS.index("teeth"), 1 - 0.93 * side, 1)
    return np.maximum(model.masks["occlusion"], floor).astype(np.float32)


def _flat_ears(points: np.ndarray, model: HeadModel) -> np.ndarray:
    """Ears pressed to the head, as they lie under long hair."""
    ears = model.masks["ears"] > 0.5
    low, high = points[ears].min(0), points[ears].max(0)
    around = np.all((points > low)[:, 1:] & (points < high)[:, 1:], axis=1) & ~ears
    limit = np.quantile(np.abs(points[around & (model.vertex_parts == 0), 0]), 0.9)
    flat = points.copy()
    flat[ears, 0] = np.sign(points[ears, 0]) * np.minimum(np.abs(points[ears, 0]), limit)
    return flat


def rotation(angles: np.ndarray) -> Float32[np.ndarray, "3 3"]:
    """Rotation matrix of yaw (to the subject's left), pitch (down) and roll, in radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (yaw @ pitch @ roll).astype(np.float32)


def deform(head: Head, weights: np.ndarray, angles: np.ndarray) -> Float32[np.ndarray, "n 3"]:
    """Vertices for 52 shape weights (in the model's order) and head angles; the shoulders stay."""
    shapes = head.model.shapes
    points = raster.blend_shapes(
        head.neutral, weights.astype(np.float32), shapes.offsets, shapes.indices, shapes.deltas
    )
    pivot = head.neutral[head.model.joint_neck].mean(0)
    along = np.clip((head.neutral[:, 1] - (pivot[1] - 0.3)) / 1.1, 0, 1)[:, None]
    along = along * along * (3 - 2 * along)
    turned = (points - pivot) @ rotation(angles).T + pivot
    return (points + along * (turned - points)).astype(np.float32)


def _key_light(head: Head, points: np.ndarray, scene: Scene) -> np.ndarray:
    """Share of the key light at each vertex, from an orthographic shadow map."""
    forward = scene.directions[0]
    side = np.cross([0.0, 1.0, 0.0], forward)
    side /= np.linalg.norm(side)
    basis = np.stack([side, -np.cross(forward, side), -forward]).astype(np.float32)
    view = (points - points.mean(0)) @ basis.T
    view[:, :2] = (view[:, :2] / _SHADOW_SPAN + 0.5) * _SHADOW_SIZE
    depth = np.full((_SHADOW_SIZE, _SHADOW_SIZE), raster.FAR, np.float32)
    raster.fill_depth(view, head.model.triangles, depth)
    light = raster.vertex_light(view, depth, _SHADOW_BIAS, _SHADOW_RADIUS)
    inner = np.isin(head.model.vertex_parts, _INNER)
    light[inner] *= np.minimum(2 * head.occlusion[inner], 1)
    return light


def tone_map(image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Linear light to 8-bit sRGB; highlights roll off softly above 0.8."""
    over = np.maximum(image - 0.8, 0)
    rolled = np.minimum(image, 0.8) + 0.2 * (1 - np.exp(-over / 0.2))
    return (255 * np.power(np.clip(rolled, 0, 1), 1 / 2.2) + 0.5).astype(np.uint8)


def render(
    head: Head, points: Float32[np.ndarray, "n 3"], scene: Scene
) -> UInt8[np.ndarray, "h w 3"]:
    """One RGB frame of a deformed head."""
    model, looks = head.model, head.looks
    height, width = scene.size
    view = scene.project(points)
    view[:, :2] *= SAMPLES
    shape = (height * SAMPLES, width * SAMPLES)
    depth = np.full(shape, raster.FAR, np.float32)
    ids = np.full(shape, -1, np.int32)
    weights = np.empty((*shape, 2), np.float32)
    raster.fill_triangles(view, model.triangles, depth, ids, weights, True)
    attributes = np.concatenate(
        [
            raster.vertex_normals(points, model.triangles),
            looks.coords,
            np.stack([looks.lips, head.occlusion, _key_light(head, points, scene)], axis=1),
        ],
        axis=1,
    ).astype(np.float32)
    image = raster.shade(
        ids, weights, model.triangles, attributes, model.parts, looks.atlas, _MATERIALS,
        scene.lights, scene.directions, looks.lip_colour, scene.background,
    )  # fmt: skip
    return tone_map(image)
