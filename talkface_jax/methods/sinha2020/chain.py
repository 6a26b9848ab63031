"""sinha2020 at inference: speech moves a mean face, noise its lids, and one picture its pixels.

Source: Sinha, Biswas, Bhowmick, IJCNN 2020 (arXiv 2005.12318). Ours: the person-independent motion
  is put onto every frame's head pose, and the picture of the identity is moved there too, so that a
  video of a moving head can be driven as well as a still image.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.features import content
from talkface_jax.landmarks import blinks, measures, retarget
from talkface_jax.landmarks import references as reference_frames
from talkface_jax.landmarks.boxes import crop_geometry, from_box, to_box
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.base import (
    Call,
    ChainMethod,
    Faces,
    Frame,
    PatchSession,
    TrackedFace,
    as_bytes,
    crop,
    in_parts,
)
from talkface_jax.methods.sinha2020 import DECLARATION, programs
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.stages.blink.chain import Blinker, blink_program
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack, Motion
from talkface_jax.task import Program, Programs

if TYPE_CHECKING:
    from talkface_jax.media.aligned import AlignedFace

SCHEME = "ibug68"
_MOTION_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Face(TrackedFace):
    """A tracked face; the mean of its reference frames is the neutral face.

    Attributes:
      normalised: the face in person-independent terms.
      eyes: the open eyes, which generated blinks close.
      identity: the source frame that gives the picture.
      mesh: the track's mesh in source pixels.
    """

    normalised: retarget.Normalised
    eyes: blinks.OpenEyes
    identity: int
    mesh: Float32[np.ndarray, "t 478 2"]


class SinhaSession(PatchSession):
    """One face and one recording."""

    def __init__(
        self,
        chain: "SinhaChain",
        face: Face,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        picture: Frame,
        controls: Controls,
    ) -> None:
        super().__init__(sources, face.valid)
        self._chain, self._face = chain, face
        self._rows = chain.hear(samples)
        self._lids = chain.blinker.track(len(sources), controls)
        self._picture = picture

    def draw(self, wanted: Int[np.ndarray, " m"], frames: Sequence[Frame]) -> Faces:
        """The faces of output frames, from the picture alone."""
        del frames
        face, chain = self._face, self._chain
        sources = self.sources[wanted]
        offsets = chain.offsets(self._rows, wanted)
        pixels = chain.points(face, offsets, lids=self._lids[wanted], sources=sources)
        boxes = face.geometry.boxes[sources]
        images = chain.render(face, self._picture, points=to_box(pixels, boxes), sources=sources)
        true = from_box(face.geometry.points[sources], boxes)
        # Both outlines: where the jaw was and where it is must be covered.
        return Faces(images, boxes, list(np.concatenate([pixels, true], 1)))


class SinhaChain:
    """The three networks in a row.

    Args:
      motion, blink, render: configs of the stages.
      call: runs a program by name.
    """

    def __init__(
        self, motion: MotionConfig, blink: BlinkConfig, render: RenderConfig, *, call: Call
    ) -> None:
        self.motion_config, self.render_config = motion, render
        self.call = call
        self.blinker = Blinker(blink, call=call)
        self._feature = open_feature(motion)

    def prepare(
        self, track: FaceTrack, *, references: Bool[np.ndarray, " t"] | None = None
    ) -> Face:
        """Crop geometry, neutral face and open eyes of a tracked face; see
        `synthesize.contract.Chain`.

        `references` bound the neutral face, the open eyes and the picture.

        Raises:
          FaceError: no frame of the track has a face, or none of `references`.
        """
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
            identity=identity_frame(
                lips=measures.mouth_opening(track.landmarks, get_scheme("mesh478")),
                eyes=measures.eye_opening(track.landmarks),
                valid=seen,
            ),
            mesh=track.landmarks[..., :2],
        )

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> SinhaSession:
        """See `synthesize.contract.Chain`; the controls are those of `Blinker.track`."""
        face = self.prepare(track)
        return SinhaSession(
            self,
            face,
            samples=samples,
            sources=np.asarray(sources),
            picture=frame_at(face.identity),
            controls=controls,
        )

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
        lids = self.blinker.track(len(track), controls)
        pixels = self.points(
            face, self.offsets(self.hear(samples), frames), lids=lids, sources=frames
        )
        return Motion(
            scheme=SCHEME,
            landmarks=to_box(pixels, face.geometry.boxes),
            blink=blinks.closure(lids).astype(np.float32),
        )

    def blinks(self, frames: int, *, seed: int) -> Float32[np.ndarray, " t"]:
        """Closure of the eyes in a track made from noise alone."""
        return self.blinker.closure(frames, seed=seed)

    def hear(self, samples: Float32[np.ndarray, " s"]) -> Float32[np.ndarray, "m f"]:
        """Feature rows of a recording."""
        return self._feature(samples if len(samples) else np.zeros(1, np.float32))

    def offsets(
        self, rows: Float32[np.ndarray, "m f"], frames: Int[np.ndarray, " t"]
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Person-independent motion of the frames, from the sound alone."""
        windows = content.content_windows(rows, frames, length=self.motion_config.rows)
        return in_parts(
            lambda part: self.call(programs.MOTION, {"content": windows[part]})["offsets"],
            len(windows),
            size=_MOTION_BATCH,
        )

    def points(
        self,
        face: Face,
        offsets: Float32[np.ndarray, "t 68 2"],
        *,
        lids: Float32[np.ndarray, "t 22 2"],
        sources: Int[np.ndarray, " t"],
    ) -> Float32[np.ndarray, "t 68 2"]:
        """The motion on the person's face and on the head pose of the source frames, in pixels."""
        moved = offsets.copy()
        moved[:, blinks.POINTS] = face.eyes.moved(lids)
        return retarget.retarget(moved, face.normalised.at(sources)).astype(np.float32)

    def render(
        self,
        face: Face,
        picture: Frame,
        *,
        points: Float32[np.ndarray, "b 68 2"],
        sources: Int[np.ndarray, " b"],
    ) -> UInt8[np.ndarray, "b s s 3"]:
        """The crops of source frames with the face of the picture at the given points."""
        placed = [self._place(face, picture, int(source)) for source in sources]
        inputs = {
            "identity": np.stack([item.image for item in placed]),
            "identity_points": np.stack([item.points for item in placed]),
            "points": points.astype(np.float32),
        }
        return as_bytes(self.call(programs.RENDER, inputs)["image"])

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


def open_feature(config: MotionConfig) -> content.ContentFeature:
    """The speech-content feature of a motion stage.

    Raises:
      WeightsError: missing, altered or incompatible weights.
    """
    return content.open_feature(config.feature, weights=config.feature_weights)


class SinhaMethod(ChainMethod):
    """The method's entry in the registry."""

    declaration = DECLARATION
    config_classes = MappingProxyType(
        {"motion": MotionConfig, "blink": BlinkConfig, "render": RenderConfig}
    )

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """The speech-content feature with its weights.

        Raises:
          WeightsError: its weights are missing, altered or incompatible.
        """
        return {"speech features": open_feature(configs["motion"]).cache_key()}

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export."""
        return (
            programs.motion_program(configs["motion"]),
            blink_program(configs["blink"]),
            programs.render_program(configs["render"]),
        )

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> SinhaChain:
        """The runnable chain.

        Raises:
          WeightsError: weights of the speech features that are missing or altered.
        """
        stages = (configs[stage] for stage in self.declaration.stages)
        return SinhaChain(*stages, call=programs.call)


METHOD = SinhaMethod()
