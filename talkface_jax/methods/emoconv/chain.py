"""A picture that follows a driving video, by the keypoints of both (reenactment).

Source: Wang et al., CVPR 2021 (arXiv 2011.15126), section 3.3; relative motion as LivePortrait
  (Guo et al., arXiv 2407.03168) has it. Ours: which frame of the driver the motion starts from.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from talkface_jax.errors import FaceError
from talkface_jax.landmarks import identity, pose, references, rigid
from talkface_jax.media.aligned import RIGID
from talkface_jax.methods.base import Call, ChainMethod, Faces, Frame, PatchSession, as_bytes, crop
from talkface_jax.methods.emoconv import DECLARATION, programs
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generator.keypoints import SCHEME, keypoints_in, squares
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack
from talkface_jax.task import Program, Programs

_DEGREES = 45.0
"""Of head rotation that tell two frames apart as much as a blendshape that is full in one only."""
_ROOM = 0.25
"""How far the face may move in its crop, in the crop's sides: further, and it would leave it."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is moved.

    Attributes:
      frame: index of the source frame that shows it.
      box: of the crop, in source pixels.
      image: the crop.
      mesh: the tracked mesh, in source pixels.
    """

    frame: int
    box: Float32[np.ndarray, " 4"]
    image: UInt8[np.ndarray, "s s 3"]
    mesh: Float32[np.ndarray, "478 3"]


@dataclasses.dataclass(frozen=True)
class Driver:
    """What moves it.

    Attributes:
      track: the face in the driving video.
      shown: which of its frames each output frame follows: itself, or the nearest with a face.
      reference: the frame whose motion is none.
      frame_at: reads a frame.
    """

    track: FaceTrack
    shown: Int[np.ndarray, " n"]
    reference: int
    frame_at: Callable[[int], Frame]


class TrackedMotion:
    """Driving keypoints from the tracked meshes alone."""

    def __init__(self, picture: Picture, driver: Driver) -> None:
        points = rigid.transfer(
            picture.mesh,
            driver.track.landmarks[driver.shown],
            reference=_place(driver),
            rigid=RIGID,
        )
        box = np.tile(picture.box, (len(points), 1))
        self.source = keypoints_in(picture.mesh[SCHEME.indices], picture.box)[None]
        self._driving = _kept_inside(keypoints_in(points[:, SCHEME.indices], box), self.source)

    def __call__(self, frames: Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m k 3"]:
        """Of output frames."""
        return self._driving[frames]


class DetectedMotion:
    """Driving keypoints by the networks: the picture's canonical ones, moved as the driver's pose
    and expression change from its reference frame on."""

    def __init__(
        self, picture: Picture, driver: Driver, *, size: int, reach: float, call: Call
    ) -> None:
        self._driver, self._size, self._call = driver, size, call
        self._boxes = squares(driver.track.box, reach)
        self._own = self._found([picture.image])
        self._start = self._seen([driver.reference])
        self.source = _placed(self._own)

    def __call__(self, frames: Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m k 3"]:
        """Of output frames."""
        now, start, own = self._seen(self._driver.shown[frames]), self._start, self._own
        return _placed(
            {
                "canonical": own["canonical"],
                "rotation": now["rotation"] @ start["rotation"].swapaxes(1, 2) @ own["rotation"],
                "translation": own["translation"] + now["translation"] - start["translation"],
                "scale": own["scale"] * now["scale"] / start["scale"],
                "expression": own["expression"] + now["expression"] - start["expression"],
            }
        )

    def _seen(self, frames: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """What the networks see in frames of the driving video."""
        at = self._driver.frame_at
        return self._found([crop(at(int(k)), self._boxes[k], self._size) for k in frames])

    def _found(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        made = self._call(programs.KEYPOINTS, {"picture": np.stack(crops)})
        return {name: np.asarray(value) for name, value in made.items()}


def _placed(parts: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "m k 3"]:
    """scale · (canonical · rotation + expression) + translation, of `programs.KEYPOINTS`."""
    moved = parts["canonical"] @ parts["rotation"] + parts["expression"]
    placed = parts["scale"][:, None, None] * moved + parts["translation"][:, None]
    return placed.astype(np.float32)


def _place(driver: Driver) -> int:
    """Of the reference among the frames that are shown."""
    return int(np.flatnonzero(driver.shown == driver.reference)[0])


def _kept_inside(
    driving: Float32[np.ndarray, "t k 3"], source: Float32[np.ndarray, "1 k 3"]
) -> Float32[np.ndarray, "t k 3"]:
    """Keypoints of which the face as a whole moves no further than there is room."""
    away = (driving.mean(1) - source.mean(1))[:, None, :2] / 2
    kept = _ROOM * np.tanh(away / _ROOM)
    return np.concatenate([driving[..., :2] + 2 * (kept - away), driving[..., 2:]], -1)


def reference_frame(track: FaceTrack, *, of: FaceTrack, frame: int) -> int:
    """The frame of a track whose face and head are most like those of a frame of another one.

    Motion starts there: a smiling picture whose driver begins to smile does not smile twice.
    """
    known = np.flatnonzero(track.valid)
    shown = track.blendshapes[known] - of.blendshapes[frame]
    turned = pose.head_angles(track.head[known]) - pose.head_angles(of.head[frame])
    apart = np.square(shown).sum(-1) + np.square(turned / _DEGREES).sum(-1)
    return int(known[np.argmin(apart)])


class ReenactmentSession(PatchSession):
    """One picture and one driving video.

    Args:
      chain: whose programs draw.
      picture, motion: what is moved, and how.
      length: output frames.
    """

    def __init__(
        self,
        chain: "ReenactmentChain",
        picture: Picture,
        motion: TrackedMotion | DetectedMotion,
        *,
        length: int,
    ) -> None:
        super().__init__(np.full(length, picture.frame), np.ones(picture.frame + 1, bool))
        self._chain, self._picture, self._motion = chain, picture, motion
        self._volume = chain.appearance(picture.image)

    def draw(self, wanted: Int[np.ndarray, " m"], frames: Sequence[Frame]) -> Faces:
        """The crop of output frames, all of it: what is behind the head moves with it."""
        del frames
        box, driving = self._picture.box, self._motion(wanted)
        images = self._chain.frames(
            self._picture.image, self._volume, source=self._motion.source, driving=driving
        )
        count = len(wanted)
        corners = np.array([box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]], np.float32)
        return Faces(images, np.tile(box, (count, 1)), [corners] * count)


class ReenactmentChain:
    """A generator that a tracked video drives.

    Args:
      config: of the generator.
      call: runs a program by name.
    """

    def __init__(self, config: GeneratorConfig, *, call: Call) -> None:
        self.config, self.call = config, call

    def follow(
        self,
        track: FaceTrack,
        *,
        frame_at: Callable[[int], Frame],
        driver: FaceTrack,
        driver_frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> ReenactmentSession:
        """See `synthesize.contract.Follows`."""
        del controls
        picture = self._picture(track, frame_at)
        if not driver.valid.any():
            raise FaceError("the driving video shows no face; give other footage")
        moving = Driver(
            track=driver,
            shown=references.nearest_valid(driver.valid),
            reference=reference_frame(driver, of=track, frame=picture.frame),
            frame_at=driver_frame_at,
        )
        return ReenactmentSession(self, picture, self._motion(picture, moving), length=len(driver))

    def _picture(self, track: FaceTrack, frame_at: Callable[[int], Frame]) -> Picture:
        if not track.valid.any():
            raise FaceError("no frame shows a face; give another picture")
        frame = identity.frame_of(track)
        box = squares(track.box[frame], self.config.reach)
        image = crop(frame_at(frame), box, self.config.size, cubic=True)
        return Picture(frame, box, image, track.landmarks[frame])

    def _motion(self, picture: Picture, driver: Driver) -> TrackedMotion | DetectedMotion:
        config = self.config
        if config.keypoints == "tracked" and config.family == "facevid2vid":
            return TrackedMotion(picture, driver)
        return DetectedMotion(picture, driver, size=config.size, reach=config.reach, call=self.call)

    def appearance(self, image: UInt8[np.ndarray, "s s 3"]) -> Any:
        """The volume of the picture; it stays on the device."""
        return self.call(programs.APPEARANCE, {"picture": image[None]})["volume"]

    def frames(
        self,
        image: UInt8[np.ndarray, "s s 3"],
        volume: Any,
        *,
        source: Float32[np.ndarray, "1 k 3"],
        driving: Float32[np.ndarray, "m k 3"],
    ) -> UInt8[np.ndarray, "m h w 3"]:
        """The picture with other keypoints."""
        if self.config.family == "liveportrait":
            given = {"driving": driving, "source": source}
            driving = self.call(programs.STITCHING, given)["driving"]
        inputs = {"volume": volume, "driving": driving, "source": source}
        if programs.needs_picture(self.config):
            inputs["picture"] = image[None]
        return as_bytes(self.call(programs.FRAMES, inputs)["image"])


class ReenactmentMethod(ChainMethod):
    """The method's entry in the registry."""

    declaration = DECLARATION
    config_classes = MappingProxyType({programs.STAGE: GeneratorConfig})

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export."""
        return programs.programs(configs[programs.STAGE])

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> ReenactmentChain:
        """The runnable chain."""
        return ReenactmentChain(configs["generator"], call=programs.call)


METHOD = ReenactmentMethod()
