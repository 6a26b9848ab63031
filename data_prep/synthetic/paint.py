"""Paints a person: an atlas of linear albedo and gloss, plus the volume of the hair.

Skin, brows, hair and shirt live on a cylinder around the template's vertical axis (angle, height),
so one pixel of the atlas is half a pixel of the render. Painting on the template makes every
feature follow the identity's geometry and its expressions: brows painted at a fixed height would
scowl.
"""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float32

from data_prep.synthetic.identity import Colour, Person
from data_prep.synthetic.mesh import PARTS, HeadModel
from data_prep.synthetic.raster import FAR, fill_triangles

WIDTH, HEIGHT, TILE = 1024, 640, 256
_AXIS_Z = -0.45
_TOP, _PER_UNIT = 0.95, HEIGHT / 3.1
_EYE_SPAN = 1.7
_IRIS_RADIUS, _PUPIL_RADIUS = 0.47, 0.19

# Angle from the front (rad), height of the hairline there (head units).
_ANGLES = (0.0, 0.35, 0.62, 0.82, 1.02, 1.22, 1.38, 1.48, 1.56, 1.95, 2.1, 2.5, np.pi)
_FULL = (0.51, 0.51, 0.46, 0.37, 0.28, 0.18, -0.02, -0.12, 0.10, 0.08, -0.42, -0.66, -0.70)
_RECEDED = (0.58, 0.64, 0.62, 0.52, 0.42, 0.26, 0.06, -0.06, 0.10, 0.08, -0.40, -0.62, -0.66)
_LONG = (0.51, 0.50, 0.45, 0.36, 0.27, 0.12, -0.30, -0.60, -0.80, -1.00, -1.00, -1.00, -1.00)
# Middle and half thickness of the brows on the template's brow ridge, by distance from the midline.
_BROW_X = (0.08, 0.12, 0.19, 0.27, 0.33, 0.38, 0.43)
_BROW_Y = (0.125, 0.138, 0.168, 0.178, 0.168, 0.148, 0.115)
_BROW_HALF = (0.026, 0.030, 0.029, 0.026, 0.022, 0.017, 0.010)


@dataclasses.dataclass(frozen=True)
class HairStyle:
    """Hairline heights at `_ANGLES`, thickness (head units), contrast of the strands, curliness."""

    hairline: tuple[float, ...]
    volume: float
    strands: float
    curl: float = 0.0

    @property
    def over_ears(self) -> bool:
        """The ears lie under the hair."""
        return self.hairline[-1] < -0.9


HAIR_STYLES = {
    "cropped": HairStyle(_FULL, 0.015, 0.35, curl=1.0),
    "short": HairStyle(_FULL, 0.085, 0.9),
    "receding": HairStyle(_RECEDED, 0.04, 0.8),
    "volume": HairStyle(_FULL, 0.20, 0.6, curl=1.0),
    "bob": HairStyle(_LONG, 0.12, 1.0),
    "long": HairStyle(_LONG, 0.10, 1.0),
}


@dataclasses.dataclass(frozen=True)
class Paint:
    """What the renderer needs of a person besides geometry.

    Attributes:
      atlas: linear RGB and gloss.
      coords: atlas column and row of each vertex.
      lips: share of lip colour of each vertex.
      lip_colour: linear RGB.
      hair: thickness of the hair at each vertex, in head units.
    """

    atlas: Float32[np.ndarray, "rows columns 4"]
    coords: Float32[np.ndarray, "n 2"]
    lips: Float32[np.ndarray, " n"]
    lip_colour: Float32[np.ndarray, "3"]
    hair: Float32[np.ndarray, " n"]


def linear(colour: Colour) -> Float32[np.ndarray, "3"]:
    """sRGB in [0, 1] to linear light (gamma 2.2)."""
    return np.power(np.asarray(colour, np.float32), np.float32(2.2))


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 at `low`, 1 at `high` (which may be the smaller), cubic in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Smooth noise in [0, 1] over the cylinder, from a grid of random values."""
    grid = rng.random((rows, columns), dtype=np.float32)
    return np.clip(cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0, 1)


def _eye_coords(points: np.ndarray) -> np.ndarray:
    """Azimuthal equidistant coordinates of eyeball vertices (angle from straight ahead)."""
    ray = points - (points.min(0) + points.max(0)) / 2
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    angle = np.arccos(np.clip(ray[:, 2], -1, 1))
    flat = ray[:, :2] / np.maximum(np.linalg.norm(ray[:, :2], axis=1, keepdims=True), 1e-6)
    return flat * np.minimum(angle, _EYE_SPAN)[:, None]


@functools.lru_cache(maxsize=1)
def _coords(model: HeadModel) -> np.ndarray:
    """Atlas column and row of each vertex."""
    points = model.template
    angle = np.arctan2(points[:, 0], points[:, 2] - _AXIS_Z)
    coords = np.stack(
        [(angle / (2 * np.pi) + 0.5) * WIDTH, (_TOP - points[:, 1]) * _PER_UNIT], axis=1
    )
    for eye in (model.left_eye, model.right_eye):
        flat = _eye_coords(points[eye]) * [1, -1]
        coords[eye] = (flat / _EYE_SPAN * 0.5 + 0.5) * (TILE - 4) + 2 + [0, HEIGHT]
    parts = model.vertex_parts
    coords[parts == PARTS.index("teeth")] = (TILE * 1.5, HEIGHT + TILE / 2)
    coords[parts == PARTS.index("tongue")] = (TILE * 2.5, HEIGHT + TILE / 2)
    return coords.astype(np.float32)


@functools.lru_cache(maxsize=1)
def _surface(model: HeadModel) -> dict[str, np.ndarray]:
    """Template position and vertex masks rasterised over the cylinder."""
    coords = _coords(model)
    columns = coords[model.triangles][:, :, 0]
    keep = (model.parts == PARTS.index("skin")) & (np.ptp(columns, axis=1) < WIDTH / 2)
    triangles = np.ascontiguousarray(model.triangles[keep])
    points = model.template
    radius = np.hypot(points[:, 0], points[:, 2] - _AXIS_Z)
    view = np.concatenate([coords, -radius[:, None]], axis=1).astype(np.float32)
    depth = np.full((HEIGHT, WIDTH), FAR, np.float32)
    ids = np.full((HEIGHT, WIDTH), -1, np.int32)
    weights = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    fill_triangles(view, triangles, depth, ids, weights, False)
    corners = triangles[np.maximum(ids, 0)]
    full = np.concatenate([weights, 1 - weights.sum(-1, keepdims=True)], axis=-1)
    values = {"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], "lash": _lash(model)}
    values |= {name: model.masks[name] for name in ("lids", "ears")}
    baked = {k: (v[corners] * full).sum(-1) * (ids >= 0) for k, v in values.items()}
    grid = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    baked["angle"] = np.abs((grid[0] + 0.5) / WIDTH - 0.5) * 2 * np.pi
    baked["height"] = _TOP - (grid[1] + 0.5) / _PER_UNIT
    return {k: v.astype(np.float32) for k, v in baked.items()}


def _lash(model: HeadModel) -> np.ndarray:
    """Lid margins: skin vertices that touch the front of an eyeball; the upper ones more."""
    mask = np.zeros(len(model.template))
    for eye in (model.left_eye, model.right_eye):
        ball = model.template[eye]
        centre = (ball.min(0) + ball.max(0)) / 2
        gap = np.linalg.norm(model.template - centre, axis=1) - np.ptp(ball, axis=0).max() / 2
        front = model.template[:, 2] > centre[2] + 0.02
        upper = np.where(model.template[:, 1] > centre[1] - 0.005, 1.0, 0.45)
        mask = np.maximum(mask, (1 - smoothstep(0.004, 0.016, gap)) * front * upper)
    return mask * (model.vertex_parts == 0)


def _hairline(style: HairStyle, angle: np.ndarray) -> np.ndarray:
    return np.interp(np.abs(angle), _ANGLES, style.hairline)


def _hair_volume(person: Person, head: HeadModel) -> np.ndarray:
    style = HAIR_STYLES[person.hair_style]
    points = head.template
    angle = np.arctan2(points[:, 0], points[:, 2] - _AXIS_Z)
    inside = smoothstep(0.0, 0.16, points[:, 1] - _hairline(style, angle))
    behind = smoothstep(-0.05, -0.35, points[:, 2])
    crown = smoothstep(-0.4, 0.7, points[:, 1])
    thick = style.volume * inside * (0.55 + 0.45 * np.maximum(crown, behind))
    thick *= np.where(points[:, 1] > 0.1, 1.0, smoothstep(1.15, 1.65, np.abs(angle)))
    rough = np.random.default_rng(person.seed + 1).uniform(0.85, 1.15, len(points))
    covered = 1 if style.over_ears else 1 - head.masks["ears"]
    return (thick * rough * covered * (head.vertex_parts == 0)).astype(np.float32)


def _brow_mask(
    person: Person, surface: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Brows along the template's brow ridge, thinning outwards, made of slanted hairs."""
    x = np.abs(surface["x"])
    ridge = np.interp(x, _BROW_X, _BROW_Y)
    half = np.interp(x, _BROW_X, _BROW_HALF) * (0.6 + 0.4 * person.brow)
    distance = np.abs(surface["y"] - ridge)
    hairs = _noise(rng, 150, 420)
    edge = smoothstep(1.25, 0.45, distance / half + 0.5 * (hairs - 0.5))
    ends = smoothstep(0.075, 0.14, x) * smoothstep(0.46, 0.39, x)
    return edge * ends * (surface["z"] > -0.2) * (0.7 + 0.3 * hairs)


def _skin(person: Person, surface: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Skin colour with mottling, blood, freckles, lids, wrinkles and stubble."""
    colour = linear(person.skin) * np.ones((HEIGHT, WIDTH, 1), np.float32)
    x, y = np.abs(surface["x"]), surface["y"]
    front = (surface["z"] > -0.4).astype(np.float32)
    mottle = 0.5 * _noise(rng, 24, 40) + 0.3 * _noise(rng, 80, 130) + 0.2 * _noise(rng, 320, 512)
    colour *= (0.90 + 0.20 * mottle)[..., None]
    cheek = np.exp(-(((x - 0.30) / 0.16) ** 2) - ((y + 0.30) / 0.14) ** 2)
    nose = np.exp(-((x / 0.11) ** 2) - ((y + 0.27) / 0.10) ** 2)
    blood = np.clip(0.8 * cheek + 0.6 * nose, 0, 1) * front + 0.5 * surface["ears"]
    colour *= 1 + blood[..., None] * np.array([0.06, -0.20, -0.20], np.float32)
    socket = np.exp(-(((x - 0.235) / 0.13) ** 2) - ((y + 0.06) / 0.09) ** 2) * front
    colour *= 1 - (0.16 * socket + 0.22 * surface["lids"])[..., None] * np.array([0.7, 1, 0.9])
    spots = smoothstep(0.80, 0.90, _noise(rng, 240, 380)) * np.clip(cheek + nose, 0, 1) * front
    colour *= 1 - (0.45 * person.freckles * spots)[..., None] * np.array([0.5, 0.9, 1.0])
    if person.age == "old":
        waves = (
            np.sin((y + 0.015 * np.sin(9 * x)) * 95)
            * smoothstep(0.26, 0.34, y)
            * smoothstep(0.58, 0.5, y)
        )
        fold = np.exp(-(((x - 0.17 - 0.28 * (-0.33 - y)) / 0.014) ** 2)) * (y < -0.33) * (y > -0.52)
        colour *= (1 - 0.07 * np.clip(waves, 0, 1) * (x < 0.36) * front - 0.16 * fold * front)[
            ..., None
        ]
    beard = smoothstep(-0.36, -0.44, y + 0.25 * smoothstep(0.25, 0.5, x) * -1) * smoothstep(
        -1.0, -0.85, y
    )
    beard *= front * smoothstep(0.75, 0.4, _noise(rng, 400, 640) - 0.15) * person.stubble
    hair = linear(person.hair) * 0.6 + linear(person.skin) * 0.25
    return colour + (hair - colour) * (0.45 * beard)[..., None]


def _cylinder(person: Person, surface: dict[str, np.ndarray]) -> np.ndarray:
    """Skin, brows, hair and shirt (rows, columns, 4)."""
    rng = np.random.default_rng(person.seed)
    style = HAIR_STYLES[person.hair_style]
    colour = _skin(person, surface, rng)
    gloss = 0.75 + 0.5 * _noise(rng, 200, 320)
    hair_colour = linear(person.hair)
    brows = _brow_mask(person, surface, rng)
    gloss *= 1 - 0.9 * brows
    colour += (hair_colour * 0.5 - colour) * (0.92 * brows)[..., None]
    colour *= 1 - 0.85 * surface["lash"][..., None]
    streak = _noise(rng, 14, 420) if not style.curl else _noise(rng, 170, 260)
    fringe = 0.5 * (streak - 0.5) * 0.16 + 0.05 * (_noise(rng, 40, 60) - 0.5)
    above = surface["height"] - _hairline(style, surface["angle"]) + fringe
    hair = smoothstep(-0.045, 0.055, above)
    if not style.over_ears:
        hair *= 1 - smoothstep(0.25, 0.6, surface["ears"])
    tone = 1 + style.strands * (0.7 * streak + 0.3 * _noise(rng, 60, 420) - 0.5) * 1.3
    strands = hair_colour * np.clip(tone, 0.25, 2)[..., None] * 0.9
    colour += (strands - colour) * hair[..., None]
    gloss += (1.1 * streak - gloss) * hair
    tint = rng.uniform(0.15, 0.75, 3)
    shirt = linear(tuple(0.5 * tint + 0.5 * tint.mean()))
    collar = surface["y"] + 0.12 * np.cos(surface["angle"] * 1.0) + 0.03
    cloth = smoothstep(-1.20, -1.22, collar) * smoothstep(-0.9, -1.0, surface["height"])
    weave = 0.9 + 0.2 * _noise(rng, 320, 512)
    colour += (shirt * weave[..., None] - colour) * cloth[..., None]
    gloss *= 1 - cloth
    return np.concatenate([colour, gloss[..., None]], axis=-1).astype(np.float32)


def _eye(person: Person) -> np.ndarray:
    """Sclera, limbal ring, fibrous iris and pupil in azimuthal coordinates (tile, tile, 4)."""
    rng = np.random.default_rng(person.seed + 2)
    axis = ((np.arange(TILE) - 2) / (TILE - 4) - 0.5) * 2 * _EYE_SPAN
    x, y = np.meshgrid(axis, axis)
    angle, turn = np.hypot(x, y), np.arctan2(y, x)
    fibres = np.interp(turn, np.linspace(-np.pi, np.pi, 90), rng.random(90), period=2 * np.pi)
    sclera = linear((0.86, 0.83, 0.81)) * (1 - 0.25 * smoothstep(0.5, 1.2, angle))[..., None]
    iris = (
        linear(person.iris) * (0.8 + 0.9 * fibres * smoothstep(0.1, 0.4, angle))[..., None] * 1.15
    )
    iris = iris * (1 - 0.75 * smoothstep(0.36, _IRIS_RADIUS, angle))[..., None]
    inside = smoothstep(_IRIS_RADIUS + 0.03, _IRIS_RADIUS - 0.03, angle)[..., None]
    colour = sclera + (iris - sclera) * inside
    colour *= 1 - 0.98 * smoothstep(_PUPIL_RADIUS + 0.02, _PUPIL_RADIUS - 0.02, angle)[..., None]
    return np.concatenate([colour, np.ones((TILE, TILE, 1))], axis=-1).astype(np.float32)


def paint(person: Person, head: HeadModel) -> Paint:
    """Bakes everything of a person that does not change from frame to frame (about 0.3 s)."""
    atlas = np.zeros((HEIGHT + TILE, WIDTH, 4), np.float32)
    atlas[:HEIGHT] = _cylinder(person, _surface(head))
    atlas[HEIGHT:, :TILE] = _eye(person)
    atlas[HEIGHT:, TILE : 2 * TILE] = (*linear((0.84, 0.78, 0.68)), 0.5)
    atlas[HEIGHT:, 2 * TILE : 3 * TILE] = (*linear((0.50, 0.22, 0.22)), 0.3)
    return Paint(
        atlas=atlas,
        coords=_coords(head),
        lips=np.maximum(0.85 * head.masks["lips"], head.masks["inside"]).astype(np.float32),
        lip_colour=linear(person.lip),
        hair=_hair_volume(person, head),
    )
