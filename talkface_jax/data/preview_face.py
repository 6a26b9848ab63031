"""Draws what a record says of a face onto its crop: landmarks, crop box, gaze, head pose."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from talkface_jax.landmarks import boxes, pose
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.images import decode_jpeg
from talkface_jax.records import Segment

Colour = tuple[int, int, int]
COLOURS: Mapping[str, Colour] = {
    "oval": (90, 190, 255),
    "brow": (255, 205, 80),
    "nose": (190, 150, 255),
    "eye": (110, 255, 150),
    "iris": (255, 255, 255),
    "lips outer": (255, 80, 120),
    "lips inner": (255, 165, 60),
}
BOX_COLOUR: Colour = (230, 230, 230)
GAZE_COLOUR: Colour = (0, 255, 255)
AXIS_COLOURS: tuple[Colour, Colour, Colour] = ((255, 60, 60), (70, 220, 70), (80, 120, 255))
"""Of the head's x (its left), y (up) and z (out of the face)."""
# Positions in mediapipe's order of the 52 scores.
BLENDSHAPE: Mapping[str, int] = {
    "browInnerUp": 3,
    "eyeBlinkLeft": 9,
    "eyeBlinkRight": 10,
    "jawOpen": 25,
    "mouthPucker": 38,
    "mouthSmileLeft": 44,
    "mouthSmileRight": 45,
}
_CLOSED = 0.5
_NOSE_TIP = 4
_IRISES = {"Left": 473, "Right": 468}
_AXIS_LENGTH = 0.16
_GAZE_LENGTH = 0.3
# Fractional bits of OpenCV's coordinates: lines move by less than a pixel.
_SHIFT = 4


@dataclasses.dataclass(frozen=True)
class Angles:
    """Degrees: yaw towards the picture's right, pitch up, roll anticlockwise."""

    yaw: float
    pitch: float
    roll: float = 0.0


def method_boxes(segment: Segment) -> Float[np.ndarray, "t 4"] | None:
    """The box that the methods' views cut (`boxes.crop_geometry` at its defaults), in the crop.

    None where no frame has a face.
    """
    if not np.any(segment.valid):
        return None
    source = boxes.from_box(segment.landmarks, segment.box)
    cut = boxes.crop_geometry(source, valid=segment.valid).boxes
    corners = boxes.to_box(cut.reshape(-1, 2, 2), segment.box)
    return corners.reshape(-1, 4)


def head_angles(head: Float[np.ndarray, "4 4"]) -> Angles:
    """Of a head-to-camera transform (x right, y up, z towards the viewer)."""
    return Angles(*(float(angle) for angle in pose.head_angles(head)))


def gaze_angles(scores: Float[np.ndarray, " 52"], side: str) -> Angles:
    """Of the "Left" or "Right" eye in the head, from the look scores."""
    return Angles(*(float(angle) for angle in pose.eye_angles(scores, side)))


def draw_face(
    segment: Segment, t: int, *, size: int, box: Float[np.ndarray, " 4"] | None = None
) -> UInt8[np.ndarray, "s s 3"]:
    """Frame t of a segment, scaled up and drawn on; a frame without a face gets a red border.

    Args:
      segment: of the clip.
      t: frame of the segment.
      size: side of the result in pixels.
      box: a further box to draw, in coordinates of the crop.
    """
    import cv2

    crop = decode_jpeg(segment.frames[t])
    how = cv2.INTER_CUBIC if size > crop.shape[0] else cv2.INTER_AREA
    canvas = np.ascontiguousarray(cv2.resize(crop, (size, size), interpolation=how))
    if not segment.valid[t]:
        cv2.rectangle(canvas, (0, 0), (size - 1, size - 1), (255, 40, 40), max(2, size // 80))
        return canvas
    points = segment.landmarks[t]
    if box is not None:
        _rectangle(canvas, box)
    _draw_landmarks(canvas, points)
    _draw_axes(canvas, points, segment.head[t])
    scores = segment.blendshapes[t]
    for side in _IRISES:
        # A closing eye scores as one that looks down.
        if scores[BLENDSHAPE[f"eyeBlink{side}"]] < _CLOSED:
            _draw_gaze(canvas, points, segment.head[t], gaze_angles(scores, side), side)
    return canvas


def _draw_landmarks(canvas: np.ndarray, points: np.ndarray) -> None:
    for colour, a, b in _coloured_edges():
        _line(canvas, points[a], points[b], colour)


def _coloured_edges() -> list[tuple[Colour, int, int]]:
    """Edges of the mesh's contours with the colour of the part that holds both ends."""
    scheme = get_scheme("mesh478")
    parts = {
        name: COLOURS[name.removesuffix("_left").removesuffix("_right").replace("_", " ")]
        for name in scheme.groups
        if name not in ("jaw", "lips")
    }
    members = {name: set(scheme.groups[name].tolist()) for name in parts}
    edges = []
    for a, b in scheme.edges.tolist():
        name = next(name for name, held in members.items() if a in held and b in held)
        edges.append((parts[name], a, b))
    return edges


def _draw_axes(canvas: np.ndarray, points: np.ndarray, head: np.ndarray) -> None:
    """The head's axes at the tip of the nose, as the camera sees them."""
    origin = points[_NOSE_TIP, :2]
    # The nearest axis is drawn last.
    for axis in np.argsort(head[2, :3]):
        direction = np.array([head[0, axis], -head[1, axis]])
        _line(canvas, origin, origin + _AXIS_LENGTH * direction, AXIS_COLOURS[axis], width=2)


def _draw_gaze(
    canvas: np.ndarray, points: np.ndarray, head: np.ndarray, gaze: Angles, side: str
) -> None:
    """Where the eye looks: its direction in the head, turned with the head."""
    yaw, pitch = np.radians([gaze.yaw, gaze.pitch])
    inner = [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]
    seen = head[:3, :3] @ inner
    start = points[_IRISES[side], :2]
    end = start + _GAZE_LENGTH * np.array([seen[0], -seen[1]])
    _line(canvas, start, end, GAZE_COLOUR, width=2)
    _dot(canvas, end, GAZE_COLOUR)


def _rectangle(canvas: np.ndarray, box: np.ndarray) -> None:
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        _line(canvas, a, b, BOX_COLOUR)


def _line(
    canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Colour, *, width: float = 1.0
) -> None:
    """A smooth line between points of the crop; `width` in pixels of a picture of 512."""
    import cv2

    a, b = _pixels(canvas, start), _pixels(canvas, end)
    thickness = max(1, round(width * canvas.shape[0] / 512))
    cv2.line(canvas, a, b, colour, thickness, cv2.LINE_AA, _SHIFT)


def _dot(canvas: np.ndarray, point: np.ndarray, colour: Colour) -> None:
    import cv2

    radius = round(canvas.shape[0] / 180 * (1 << _SHIFT))
    cv2.circle(canvas, _pixels(canvas, point), radius, colour, -1, cv2.LINE_AA, _SHIFT)


def _pixels(canvas: np.ndarray, point: np.ndarray) -> list[int]:
    """OpenCV's fixed-point place of a point of the crop.

    Pixel centres are integers to OpenCV and halves in the records.
    """
    place = np.clip(point[:2], -4, 4) * canvas.shape[0] - 0.5
    return np.rint(place * (1 << _SHIFT)).astype(int).tolist()
