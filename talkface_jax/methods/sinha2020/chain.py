"""sinha2020 at inference: speech moves a mean face, noise its lids, and one picture its pixels.

Source: Sinha, Biswas, Bhowmick, IJCNN 2020 (arXiv 2005.12318). Ours: the person-independent motion
  is put onto every frame's head pose, and the picture of the identity is moved there too, so that a
  video of a moving head can be driven as well as a still image.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.errors import ConfigError
from talkface_jax.features import content
from talkface_jax.landmarks import blinks, measures, retarget
from talkface_jax.landmarks import references as reference_frames
from talkface_jax.landmarks.boxes import CropGeometry, crop_geometry, from_box, to_box
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2020 import programs
from talkface_jax.methods.sinha2020.config import BlinkConfig, MotionConfig, RenderConfig
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack, Motion
from talkface_jax.task import Goals, Program

if TYPE_CHECKING:
    from talkface_jax.media.aligned import AlignedFace
    from talkface_jax.media.composite import Patch

Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Runs a program of the bundle by name."""

SCHEME = "ibug68"
_MOTION_BATCH = 64
# Noise is drawn in whole pieces, so that few lengths of the program are compiled.
_BLINK_PIECE = 250
BLINK_WARMUP = 75
"""Frames made and thrown away: the LSTM's first state is only about as likely as later ones."""
# A minute: enough blinks to tell their rate.
_RETIMED_FRAMES = 1500


@dataclasses.dataclass(frozen=True)
class Face:
    """A tracked face, ready to be driven.

    Attributes:
      geometry: crop boxes and the 68 points of every source frame.
      valid: as in the track.
      order: the frames whose mean is the neutral face.
      normalised: the face in person-independent terms.
      eyes: the open eyes, which generated blinks close.
      identity: the source frame that gives the picture.
      mesh: the track's mesh in source pixels.
    """

    geometry: CropGeometry
    valid: Bool[np.ndarray, " t"]
    order: Int[np.ndarray, " r"]
    normalised: retarget.Normalised
    eyes: blinks.OpenEyes
    identity: int
    mesh: Float32[np.ndarray, "t 478 2"]


class SinhaSession:
    """One face and one recording; `patches` goes through the output from the front."""

    references = 1

    def __init__(
        self,
        chain: "SinhaChain",
        face: Face,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        picture: UInt8[np.ndarray, "h w 3"],
        controls: Controls,
    ) -> None:
        self._chain, self._face, self._sources = chain, face, sources
        self._rows = chain.hear(samples)
        self._lids = chain.blink(len(sources), controls)
        self._picture = picture

    def patches(
        self, start: int, frames: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> list["Patch | None"]:
        """The generated faces of output frames from `start` on; None where there is no face.

        Args:
          start: first output frame.
          frames: the source frames that are shown there.
        """
        from talkface_jax.media.composite import Patch

        face, chain = self._face, self._chain
        numbers = np.arange(start, start + len(frames))
        wanted = numbers[face.valid[self._sources[numbers]]]
        if not len(wanted):
            return [None] * len(frames)
        sources = self._sources[wanted]
        pixels = chain.points(
            face,
            chain.offsets(self._rows, wanted),
            lids=self._lids[wanted],
            sources=sources,
        )
        boxes = face.geometry.boxes[sources]
        images = chain.render(face, self._picture, points=to_box(pixels, boxes), sources=sources)
        true = from_box(face.geometry.points[sources], boxes)
        made = {
            # Both outlines: where the jaw was and where it is must be covered.
            k: Patch(image=image, box=box, contour=np.concatenate([ours, theirs]))
            for k, image, box, ours, theirs in zip(wanted, images, boxes, pixels, true, strict=True)
        }
        return [made.get(k) for k in numbers]


class SinhaChain:
    """The three networks in a row.

    Args:
      motion, blink, render: configs of the stages.
      call: runs a program by name.
    """

    def __init__(
        self, motion: MotionConfig, blink: BlinkConfig, render: RenderConfig, *, call: Call
    ) -> None:
        self.motion_config, self.blink_config, self.render_config = motion, blink, render
        self.call = call
        self._feature = open_feature(motion)

    def prepare(self, track: FaceTrack) -> Face:
        """Crop geometry, neutral face and open eyes of a tracked face.

        Raises:
          FaceError: no frame of the track has a face.
        """
        config, valid = self.render_config, track.valid
        geometry = crop_geometry(
            track.landmarks, valid=valid, scheme=SCHEME, margin=config.margin, smooth=config.smooth
        )
        order = reference_frames.spread_of_mesh(
            track.landmarks, valid=valid, count=self.motion_config.references
        )
        normalised = retarget.normalise(track.landmarks, valid=valid, references=order)
        return Face(
            geometry=geometry,
            valid=valid,
            order=order,
            normalised=normalised,
            eyes=blinks.open_eyes(normalised, valid=valid),
            identity=identity_frame(
                lips=measures.mouth_opening(track.landmarks, get_scheme("mesh478")),
                eyes=measures.eye_opening(track.landmarks),
                valid=valid,
            ),
            mesh=track.landmarks[..., :2],
        )

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], UInt8[np.ndarray, "h w 3"]],
        references: int | None = None,
        controls: Controls = NO_CONTROLS,
    ) -> SinhaSession:
        """Begins a synthesis.

        Args:
          track: the face in the source video.
          samples: the recording, 16 kHz mono.
          sources: index of the source frame that each output frame shows.
          frame_at: reads a source frame.
          references: must be None or 1: the method knows one picture of the identity.
          controls: blink rate, blink duration and seed.

        Raises:
          FaceError: no frame of the track has a face.
          ConfigError: another number of references than one.
        """
        if references not in (None, 1):
            raise ConfigError(
                f"--references={references} does not fit: sinha2020 takes one picture of the "
                "identity; leave it out"
            )
        face = self.prepare(track)
        return SinhaSession(
            self,
            face,
            samples=samples,
            sources=np.asarray(sources),
            picture=frame_at(face.identity),
            controls=controls,
        )

    def predict_motion(self, track: FaceTrack, *, samples: Float32[np.ndarray, " s"]) -> Motion:
        """The landmarks of every frame of a track if it spoke `samples`: (t, 68, 2) in crop boxes.

        Lids and brows are generated too, `blink` is the closure of the eyes. Rows of frames without
        a face hold the prediction on the pose of the nearest frame with one.

        Raises:
          FaceError: no frame of the track has a face.
        """
        face, frames = self.prepare(track), np.arange(len(track))
        lids = self.blink(len(track), NO_CONTROLS)
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
        return blinks.closure(self.blink(frames, Controls(seed=seed))).astype(np.float32)

    def hear(self, samples: Float32[np.ndarray, " s"]) -> Float32[np.ndarray, "m f"]:
        """Feature rows of a recording."""
        return self._feature(samples if len(samples) else np.zeros(1, np.float32))

    def offsets(
        self, rows: Float32[np.ndarray, "m f"], frames: Int[np.ndarray, " t"]
    ) -> Float32[np.ndarray, "t 68 2"]:
        """Person-independent motion of the frames, from the sound alone."""
        windows = content.content_windows(rows, frames, length=self.motion_config.rows)
        parts = [
            self.call(programs.MOTION, {"content": windows[first : first + _MOTION_BATCH]})
            for first in range(0, len(windows), _MOTION_BATCH)
        ]
        return np.concatenate([np.asarray(part["offsets"]) for part in parts])

    def blink(self, frames: int, controls: Controls) -> Float32[np.ndarray, "t 22 2"]:
        """Displacements of lids and brows, from noise alone; see `blinks.retime` for the controls.

        A longer track begins like a shorter one of the same seed, unless it is retimed.

        Raises:
          ConfigError: a rate and a duration that do not fit each other.
        """
        retimed = controls.blink_rate is not None or controls.blink_duration is not None
        least = max(frames, _RETIMED_FRAMES) if retimed else frames
        rng = np.random.default_rng(controls.seed or 0)
        pieces = -(-(BLINK_WARMUP + least) // _BLINK_PIECE)
        size = (pieces * _BLINK_PIECE, self.blink_config.net.noise)
        noise = rng.standard_normal(size, np.float32)
        track = np.asarray(self.call(programs.BLINK, {"noise": noise})["displacements"])
        track = track[BLINK_WARMUP:]
        if not retimed:
            return track[:frames]
        try:
            return blinks.retime(
                track, rate=controls.blink_rate, duration=controls.blink_duration, frames=frames
            )
        except ValueError as error:
            raise ConfigError(
                f"--blink-rate and --blink-duration cannot be had ({error}); give smaller ones or "
                "leave them out"
            ) from error

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
        picture: UInt8[np.ndarray, "h w 3"],
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
        image = np.asarray(self.call(programs.RENDER, inputs)["image"])
        return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)

    def _place(self, face: Face, picture: UInt8[np.ndarray, "h w 3"], source: int) -> "AlignedFace":
        """The picture's crop as the network takes it for a source frame."""
        from talkface_jax.media.aligned import RIGID, AlignedFace, align_face
        from talkface_jax.media.images import crop_resize

        size, at, boxes = self.render_config.net.size, face.identity, face.geometry.boxes
        if self.render_config.align == "none":
            return AlignedFace(
                crop_resize(picture, boxes[at], (size, size)), face.geometry.points[at]
            )
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


_GOALS = Goals(static=0.75, shifted=0.80, no_audio=None, correlation=0.6)


@dataclasses.dataclass(frozen=True)
class SinhaMethod:
    """The method's entry in the registry."""

    name: str = "sinha2020"
    stages: tuple[str, ...] = ("motion", "blink", "render")
    controls: tuple[str, ...] = ("blink_rate", "blink_duration", "seed")
    goals: Goals = _GOALS

    @property
    def config_classes(self) -> Mapping[str, type]:
        """Task config by stage, to read a bundle's config back."""
        return {"motion": MotionConfig, "blink": BlinkConfig, "render": RenderConfig}

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
            programs.blink_program(configs["blink"]),
            programs.render_program(configs["render"]),
        )

    def chain(self, configs: Mapping[str, Any], call: Call) -> SinhaChain:
        """The runnable chain.

        Raises:
          WeightsError: weights of the speech features that are missing or altered.
        """
        return SinhaChain(configs["motion"], configs["blink"], configs["render"], call=call)


METHOD = SinhaMethod()
