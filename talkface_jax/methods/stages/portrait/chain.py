"""One picture of a person at inference: landmarks move it, noise its lids.

What methods share that draw a talking face out of a single picture. The motion is put onto every
frame's head pose and the picture is moved there too, so that a video of a moving head can be driven
as well as a still image.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.features import content
from talkface_jax.landmarks import blinks, retarget
from talkface_jax.landmarks import references as reference_frames
from talkface_jax.landmarks.boxes import crop_geometry, from_box, to_box
from talkface_jax.landmarks.identity import frame_of
from talkface_jax.methods.base import (
    Call,
    Faces,
    Frame,
    PatchSession,
    TrackedFace,
    as_bytes,
    crop,
)
from talkface_jax.methods.stages.blink.chain import Blinker
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack, Motion

if TYPE_CHECKING:
    from talkface_jax.media.aligned import AlignedFace

SCHEME = "ibug68"
RENDER = "render"
"""The program that draws."""
MOTION_BATCH = 64


class HearsBy(Protocol):
    """Fields of a motion config that say what the stage hears."""

    @property
    def feature(self) -> str:
        """Which speech-content features."""
        ...

    @property
    def feature_weights(self) -> str:
        """The file with their weights, where they need one."""
        ...

    @property
    def references(self) -> int:
        """Frames whose mean is the person's face at rest."""
        ...


class DrawsFrom(Protocol):
    """Fields of a render config that say how the picture is cut."""

    @property
    def net(self) -> Any:
        """The network's sizes: `size`, height and width of the crop."""
        ...

    @property
    def align(self) -> str:
        """Whether the picture is moved onto the target's head pose: "affine" or "none"."""
        ...

    @property
    def margin(self) -> float:
        """As in `landmarks.boxes.crop_boxes`."""
        ...

    @property
    def smooth(self) -> float:
        """Likewise."""
        ...


def open_feature(config: HearsBy) -> content.ContentFeature:
    """The speech-content feature of a motion stage.

    Raises:
      WeightsError: missing, altered or incompatible weights.
    """
    return content.open_feature(config.feature, weights=config.feature_weights)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Face(TrackedFace):
    """A tracked face; the mean of its reference frames is the face at rest.

    Attributes:
      normalised: the face in person-independent terms.
      eyes: the open eyes, which generated blinks close.
      identity: the source frame that gives the picture.
      mesh: the track's mesh in source pixels.
      blendshapes: the track's, of the reference frames that show a face.
    """

    normalised: retarget.Normalised
    eyes: blinks.OpenEyes
    identity: int
    mesh: Float32[np.ndarray, "t 478 2"]
    blendshapes: Float32[np.ndarray, "m 52"]


@dataclasses.dataclass(frozen=True)
class Script:
    """What one synthesis is to show, frame by frame.

    Attributes:
      rows: feature rows of the recording.
      lids: displacements of lids and brows of every output frame.
    """

    rows: Float32[np.ndarray, "m f"]
    lids: Float32[np.ndarray, "n 22 2"]


class PortraitSession(PatchSession):
    """One face and one recording."""

    def __init__(
        self,
        chain: "PortraitChain",
        face: Face,
        script: Script,
        *,
        sources: Int[np.ndarray, " n"],
        picture: Frame,
    ) -> None:
        super().__init__(sources, face.valid)
        self._chain, self._face, self._script = chain, face, script
        self._picture = picture

    def draw(self, wanted: Int[np.ndarray, " m"], frames: Sequence[Frame]) -> Faces:
        """The faces of output frames, from the picture alone."""
        del frames
        face, chain, script = self._face, self._chain, self._script
        sources = self.sources[wanted]
        pixels = chain.points(face, script, frames=wanted, sources=sources)
        boxes = face.geometry.boxes[sources]
        images = chain.render(
            face,
            self._picture,
            points=to_box(pixels, boxes),
            sources=sources,
            others=chain.render_inputs(script, wanted),
        )
        true = from_box(face.geometry.points[sources], boxes)
        # Both outlines: where the jaw was and where it is must be covered.
        return Faces(images, boxes, list(np.concatenate([pixels, true], 1)))


class PortraitChain:
    """A motion, a blink and a render network in a row. A method gives `offsets`, and what else it
    does in its own way.

    Args:
      motion, blink, render: configs of the stages.
      call: runs a program by name.
    """

    def __init__(
        self, motion: HearsBy, blink: BlinkConfig, render: DrawsFrom, *, call: Call
    ) -> None:
        self.motion_config, self.render_config = motion, render
        self.call = call
        self.blinker = Blinker(blink, call=call)
        self._feature = open_feature(motion)
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._faces: tuple[FaceTrack, Bool[np.ndarray, " t"] | None, Face] | None = None

    def offsets(
        self, face: Face, script: Script, frames: Int[np.ndarray, " t"]
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Person-independent motion of output frames, from the face at rest."""
        raise NotImplementedError

    def write_script(
        self,
        face: Face,
        *,
        samples: Float32[np.ndarray, " s"],
        length: int,
        controls: Controls,
    ) -> Script:
        """What `length` frames are to show; the controls are those of `Blinker.track`."""
        del face
        return Script(self.hear(samples), self.blinker.track(length, controls))

    def blinking(
        self,
        face: Face,
        offsets: Float32[np.ndarray, "t 68 2"],
        lids: Float32[np.ndarray, "t 22 2"],
    ) -> np.ndarray:
        """The motion with the generated lids and brows in the place of its own."""
        moved = np.array(offsets)
        moved[:, blinks.POINTS] = face.eyes.moved(lids)
        return moved

    def render_inputs(
        self, script: Script, frames: Int[np.ndarray, " m"]
    ) -> Mapping[str, np.ndarray]:
        """What the renderer is given besides picture and landmarks."""
        del script, frames
        return {}

    def prepare(
        self, track: FaceTrack, *, references: Bool[np.ndarray, " t"] | None = None
    ) -> Face:
        """Crop geometry, face at rest and open eyes of a tracked face; see
        `synthesize.contract.Chain`.

        `references` bound the face at rest, the open eyes and the picture. The face of the last
        track is kept, for evaluation asks for it with one recording after the other.

        Raises:
          FaceError: no frame of the track has a face, or none of `references`.
        """
        last = self._faces  # Once, as in `hear`.
        if last is None or last[0] is not track or last[1] is not references:
            last = self._faces = track, references, self._prepared(track, references)
        return last[2]

    def _prepared(self, track: FaceTrack, references: Bool[np.ndarray, " t"] | None) -> Face:
        config, valid = self.render_config, track.valid
        geometry = crop_geometry(
            track.landmarks, valid=valid, scheme=SCHEME, margin=config.margin, smooth=config.smooth
        )
        seen = reference_frames.candidates(valid, references)
        order = reference_frames.spread_of_mesh(
            track.landmarks, valid=seen, count=self.motion_config.references
        )
        normalised = retarget.normalise(track.landmarks, valid=valid, references=order)
        return Face(
            geometry=geometry,
            valid=valid,
            order=order,
            normalised=normalised,
            eyes=blinks.open_eyes(normalised, valid=seen),
            identity=frame_of(track, valid=seen),
            mesh=track.landmarks[..., :2],
            blendshapes=track.blendshapes[seen],
        )

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> PortraitSession:
        """See `synthesize.contract.Chain`; the controls are those of `write_script`."""
        face, sources = self.prepare(track), np.asarray(sources)
        script = self.write_script(face, samples=samples, length=len(sources), controls=controls)
        return PortraitSession(self, face, script, sources=sources, picture=frame_at(face.identity))

    def predict_motion(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        controls: Controls = NO_CONTROLS,
        references: Bool[np.ndarray, " t"] | None = None,
    ) -> Motion:
        """See `synthesize.contract.Chain`: (t, 68, 2). Lids and brows are generated too, `blink` is
        the closure of the eyes."""
        face, frames = self.prepare(track, references=references), np.arange(len(track))
        script = self.write_script(face, samples=samples, length=len(track), controls=controls)
        pixels = self.points(face, script, frames=frames, sources=frames)
        return Motion(
            scheme=SCHEME,
            landmarks=to_box(pixels, face.geometry.boxes),
            blink=blinks.closure(script.lids).astype(np.float32),
        )

    def blinks(self, frames: int, *, seed: int) -> Float32[np.ndarray, " t"]:
        """Closure of the eyes in a track made from noise alone."""
        return self.blinker.closure(frames, seed=seed)

    def hear(self, samples: Float32[np.ndarray, " s"]) -> Float32[np.ndarray, "m f"]:
        """Feature rows of a recording, not to be changed: those of the last one are kept, for
        evaluation asks for the same sentence in every emotion."""
        last = self._last  # Once, for another thread may put its own sentence there.
        if last is None or not np.array_equal(last[0], samples):
            rows = self._feature(samples if len(samples) else np.zeros(1, np.float32))
            last = self._last = samples.copy(), rows
        return last[1]

    def points(
        self,
        face: Face,
        script: Script,
        *,
        frames: Int[np.ndarray, " t"],
        sources: Int[np.ndarray, " t"],
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Output frames of the script on the person's face and on the head pose of the source
        frames, in pixels."""
        offsets = self.offsets(face, script, frames)
        moved = self.blinking(face, offsets, script.lids[frames])
        return retarget.retarget(moved, face.normalised.at(sources)).astype(np.float32)

    def render(
        self,
        face: Face,
        picture: Frame,
        *,
        points: Float32[np.ndarray, "b 68 2"],
        sources: Int[np.ndarray, " b"],
        others: Mapping[str, np.ndarray],
    ) -> UInt8[np.ndarray, "b s s 3"]:
        """The crops of source frames with the face of the picture at the given points; `others`
        are of `render_inputs`."""
        placed = [self._place(face, picture, int(source)) for source in sources]
        inputs = {
            "identity": np.stack([item.image for item in placed]),
            "identity_points": np.stack([item.points for item in placed]),
            "points": points.astype(np.float32),
            **others,
        }
        return as_bytes(self.call(RENDER, inputs)["image"])

    def _place(self, face: Face, picture: Frame, source: int) -> "AlignedFace":
        """The picture's crop as the network takes it for a source frame."""
        from talkface_jax.media.aligned import RIGID, AlignedFace, align_face

        size, at, boxes = self.render_config.net.size, face.identity, face.geometry.boxes
        if self.render_config.align == "none":
            return AlignedFace(crop(picture, boxes[at], size), face.geometry.points[at])
        return align_face(
            picture,
            points=from_box(face.geometry.points[at], boxes[at]),
            rigid=face.mesh[at][RIGID],
            target_rigid=to_box(face.mesh[source][RIGID], boxes[source]),
            size=size,
        )
