"""IP-LAP's inference chain: a tracked face and a recording become a patch for every frame.

Source: Zhong et al., CVPR 2023, section 3, and the released inference code: windows of five frames
  at stride 1, of which the middle one is kept; 15 landmark references in order of lip openness.
  Ours: one smoothed crop box in training and inference, references encoded once a clip.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.capabilities import REFERENCES
from talkface_jax.errors import ConfigError
from talkface_jax.features import mel
from talkface_jax.landmarks.boxes import crop_geometry, from_box
from talkface_jax.landmarks.references import candidates, nearest_valid
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
from talkface_jax.methods.iplap import DECLARATION, programs
from talkface_jax.methods.iplap import references as reference_frames
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.speech import SpeechFeatures
from talkface_jax.records import NO_CONTROLS, Controls, FaceTrack, Motion
from talkface_jax.task import Program, Programs

# With the two frames that windows reach to either side: 64 frames, a size that is not padded.
_MOTION_BATCH = 60
_LOWER_OVAL = np.arange(2, 23)
"""Positions of the face oval from ear to ear below the eyes (mesh 234 by the chin to 454)."""


@dataclasses.dataclass(frozen=True)
class Face(TrackedFace):
    """A tracked face, ready to be driven.

    Attributes:
      nearest: for every source frame the nearest one with a face.
      references: tokens of the landmark references, (r, width).
    """

    nearest: Int[np.ndarray, " t"]
    references: Any


class IplapSession(PatchSession):
    """One face and one recording; goes through the output from the front.

    Attributes:
      references: how many reference frames the renderer uses.
    """

    def __init__(
        self,
        chain: "IplapChain",
        face: Face,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        references: int,
    ) -> None:
        super().__init__(sources, face.valid)
        self._chain, self._face = chain, face
        self._speech = SpeechFeatures(samples)
        self._points: dict[int, np.ndarray] = {}
        self._sketches: dict[int, np.ndarray] = {}
        self._features = self._encode_references(frame_at, references)
        self.references = len(self._features["ref_points"])

    def draw(self, wanted: Int[np.ndarray, " m"], frames: Sequence[Frame]) -> Faces:
        """The lower faces of output frames."""
        size = self._chain.render_config.net.size
        boxes = self._face.geometry.boxes[self.sources[wanted]]
        pairs = zip(frames, boxes, strict=True)
        inputs = {
            "face": np.stack([crop(frame, box, size) for frame, box in pairs]),
            "sketches": np.stack(
                [np.stack([self._sketches[i] for i in self._around(k)]) for k in wanted]
            ),
            "mel": self._speech.windows(wanted),
            "points": np.stack([self._points[k] for k in wanted]),
        }
        image = self._chain.call(programs.RENDER, {**inputs, **self._features})["image"]
        return Faces(as_bytes(image), boxes, [self._contour(k) for k in wanted])

    def _around(self, k: int) -> list[int]:
        last = len(self.sources) - 1
        half = reference_frames.WINDOW // 2
        return [min(max(k + offset, 0), last) for offset in range(-half, half + 1)]

    def advance(self, start: int, stop: int) -> None:
        """Predicts points and draws sketches up to two frames past `stop`; forgets older ones."""
        half, total = reference_frames.WINDOW // 2, len(self.sources)
        for cache in (self._points, self._sketches):
            for k in [k for k in cache if k < start - half]:
                del cache[k]
        first = max(self._points, default=start - half - 1) + 1
        end = min(stop + half, total)
        while (first := max(first, 0)) < end:
            after = min(first + _MOTION_BATCH, total)
            points = self._chain.points(
                self._face,
                self._speech,
                outputs=np.arange(first, after),
                sources=self.sources,
            )
            self._points.update(zip(range(first, after), points, strict=True))
            first = after
        for k in range(max(0, start - half), end):
            if k not in self._sketches:
                box = self._face.geometry.boxes[self._face.nearest[self.sources[k]]]
                self._sketches[k] = self._chain.sketch(self._points[k], box)

    def _contour(self, k: int) -> Float32[np.ndarray, "m 2"]:
        """Lower faces of the source and of the prediction: the jaw moves, both must be covered."""
        source = self.sources[k]
        both = np.concatenate(
            [self._face.geometry.points[source][_LOWER_OVAL], self._points[k][_LOWER_OVAL]]
        )
        return from_box(both, self._face.geometry.boxes[source])

    def _encode_references(self, frame_at: Callable[[int], Frame], count: int) -> dict[str, Any]:
        face, chain = self._face, self._chain
        geometry = face.geometry
        count = min(count, int(face.valid.sum()))
        order = reference_frames.spread(
            reference_frames.openness(geometry), valid=face.valid, count=count
        )
        size = chain.render_config.net.size
        # In order of time, for the video is read forwards; the average over references has no
        # order.
        order = np.sort(order)
        images = np.stack([crop(frame_at(int(i)), geometry.boxes[i], size) for i in order])
        sketches = np.stack([chain.sketch(geometry.points[i], geometry.boxes[i]) for i in order])
        inputs = {"images": images, "sketches": sketches}
        features = chain.call(programs.REFERENCES, inputs)
        return {**features, "ref_points": geometry.points[order]}


class IplapChain:
    """The two networks in a row.

    Args:
      motion, render: configs of the stages.
      call: runs a program by name.
    """

    def __init__(self, motion: MotionConfig, render: RenderConfig, *, call: Call) -> None:
        self.motion_config, self.render_config = motion, render
        self.call = call

    def prepare(
        self, track: FaceTrack, *, references: Bool[np.ndarray, " t"] | None = None
    ) -> Face:
        """Crop geometry and landmark references of a tracked face; see `synthesize.contract.Chain`.

        Raises:
          FaceError: no frame of the track has a face, or none of `references`.
        """
        config = self.motion_config
        geometry = crop_geometry(
            track.landmarks, valid=track.valid, margin=config.margin, smooth=config.smooth
        )
        nearest = nearest_valid(track.valid)
        order = reference_frames.spread(
            reference_frames.openness(geometry),
            valid=candidates(track.valid, references),
            count=config.references,
        )
        pose, content = reference_frames.split(geometry.points[order])
        tokens = self.call(programs.MOTION_REFERENCES, {"ref_pose": pose, "ref_content": content})[
            "references"
        ]
        return Face(geometry, track.valid, order, nearest, tokens)

    def start(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        sources: Int[np.ndarray, " n"],
        frame_at: Callable[[int], Frame],
        controls: Controls = NO_CONTROLS,
    ) -> IplapSession:
        """See `synthesize.contract.Chain`; the control is the number of the renderer's reference
        frames."""
        default = self.render_config.inference_references
        return IplapSession(
            self,
            self.prepare(track),
            samples=samples,
            sources=np.asarray(sources),
            frame_at=frame_at,
            references=controls.get(REFERENCES.name, default),
        )

    def predict_motion(
        self,
        track: FaceTrack,
        *,
        samples: Float32[np.ndarray, " s"],
        controls: Controls = NO_CONTROLS,
        references: Bool[np.ndarray, " t"] | None = None,
    ) -> Motion:
        """See `synthesize.contract.Chain`: (t, 131, 2)."""
        del controls  # only rendering has one
        face, count = self.prepare(track, references=references), len(track)
        speech, sources = SpeechFeatures(samples), np.arange(count)
        points = in_parts(
            lambda outputs: self.points(face, speech, outputs=outputs, sources=sources),
            count,
            size=_MOTION_BATCH,
        )
        return Motion(scheme="iplap131", landmarks=points)

    def points(
        self,
        face: Face,
        speech: SpeechFeatures,
        *,
        outputs: Int[np.ndarray, " m"],
        sources: Int[np.ndarray, " n"],
    ) -> Float32[np.ndarray, "m 131 2"]:
        """Pose points of the shown source frames with the predicted content points.

        Windows reach two frames to either side and repeat the first and last output frame.
        """
        half = reference_frames.WINDOW // 2
        frames = outputs[:, None] + np.arange(-half, half + 1)
        frames = np.clip(frames, 0, len(sources) - 1)
        unique, inverse = np.unique(frames, return_inverse=True)
        window = inverse.reshape(frames.shape)
        pose, content = reference_frames.split(face.geometry.points)
        poses = pose[face.nearest[sources[unique]]]
        points = {"ref_pose": pose[face.order], "ref_content": content[face.order]}
        known = {
            "mel": speech.windows(unique),
            "pose": poses,
            "ref_pose": points["ref_pose"],
        }
        tokens = self.call(programs.MOTION_FRAMES, known)
        inputs = {
            **points,
            "references": face.references,
            "audio_tokens": np.asarray(tokens["audio_tokens"])[window],
            "pose_tokens": np.asarray(tokens["pose_tokens"])[window],
            "pose": poses[window],
        }
        predicted = self.call(programs.MOTION, inputs)["content"]
        return reference_frames.join(poses[window[:, half]], np.asarray(predicted))

    def sketch(
        self, points: Float32[np.ndarray, "131 2"], box: Float32[np.ndarray, " 4"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The renderer's sketch of one frame."""
        from talkface_jax.media.sketch import draw_sketch

        return draw_sketch(
            points, (box[3] - box[1], box[2] - box[0]), size=self.render_config.net.size
        )


class IplapMethod(ChainMethod):
    """The method's entry in the registry."""

    declaration = DECLARATION
    config_classes = MappingProxyType({"motion": MotionConfig, "render": RenderConfig})

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """The spectrogram."""
        del configs
        return {"speech features": mel.cache_key()}

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export.

        Raises:
          ConfigError: stages that crop differently.
        """
        motion, render = configs["motion"], configs["render"]
        _check(motion, render)
        return (
            programs.motion_references_program(motion),
            programs.motion_frames_program(motion),
            programs.motion_program(motion),
            programs.references_program(render),
            programs.render_program(render),
        )

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> IplapChain:
        """The runnable chain.

        Raises:
          ConfigError: stages that crop differently.
        """
        _check(configs["motion"], configs["render"])
        return IplapChain(configs["motion"], configs["render"], call=programs.call)


def _check(motion: MotionConfig, render: RenderConfig) -> None:
    for name in ("margin", "smooth"):
        a, b = getattr(motion, name), getattr(render, name)
        if a != b:
            raise ConfigError(
                f"{name} is {a} in the motion stage and {b} in the render stage; train both with "
                "the same crop"
            )


METHOD = IplapMethod()
