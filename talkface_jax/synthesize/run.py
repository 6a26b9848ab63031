"""Synthesis: a bundle, a face and a recording or a driving video become a talking mp4.

request -> track -> features or driver -> motion -> render -> composite -> mp4. Frames are made in
small batches and streamed to the encoder, so memory does not grow with the length of the recording.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from talkface_jax import __version__, config
from talkface_jax.capabilities import Aspect, Declaration, Driven
from talkface_jax.errors import ConfigError, MediaError, WeightsError, counted
from talkface_jax.export import load
from talkface_jax.media import audio as sound
from talkface_jax.media import composite, mark, video
from talkface_jax.methods import registry
from talkface_jax.records import (
    AUDIO_RATE,
    FPS,
    SAMPLES_PER_FRAME,
    Controls,
)
from talkface_jax.synthesize import timeline
from talkface_jax.synthesize.contract import Follows, MakesBlinks, Session
from talkface_jax.synthesize.tracking import Progress, track_face

_LONGEST_LOOK = 250
"""Frames of a face video in which the picture that a driver moves is looked for."""

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SynthesisRequest:
    """What to make.

    Attributes:
      bundle: directory that `export` wrote.
      face: video or still image of the face.
      audio: recording, any format with sound in it; beside a driver it is only heard, and None for
        the driver's own sound.
      out: the mp4 to write; its folder must exist.
      driver: the video whose face moves the picture, for methods that follow one.
      face_choice: where there are several faces: "speaker", "largest", or an index from the left.
      driver_choice: the same for the driving video.
      mark: "visible", "invisible" or "both".
      batch: frames rendered at a time.
      controls: what is asked beyond the audio; the method must declare it.
    """

    bundle: pathlib.Path
    face: pathlib.Path
    audio: pathlib.Path | None
    out: pathlib.Path
    driver: pathlib.Path | None = None
    face_choice: str | None = None
    driver_choice: str | None = None
    mark: str = mark.Mark.VISIBLE.value
    batch: int = 8
    # As a factory: before Python 3.12 a dataclass takes a mapping for a mutable default.
    controls: Controls = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SynthesisReport:
    """What was made.

    Attributes:
      out: the file.
      frames: its length at 25 fps.
      untouched: frames that show no face and passed through as they were.
      held: frames in which the driving video shows no face; they repeat the nearest that does.
      tracked: frames of the face video, and of a driving one, that were looked at.
      references: reference frames in use.
      mark: how generated frames are marked.
      weight_id: the bundle's weights.
      seconds: wall time from the request to the finished file.
    """

    out: pathlib.Path
    frames: int
    untouched: int
    tracked: int
    references: int
    mark: str
    weight_id: str
    seconds: float
    held: int = 0

    def __str__(self) -> str:
        """Two lines for a reader."""
        passed = f"{counted(self.untouched, 'frame')} without a face passed through untouched"
        if self.held:
            passed += f", {self.held} hold the driver's nearest face, for theirs shows none"
        # A frame lasts 0.04 s.
        length = self.frames / FPS
        lasts = f"{length:.1f}" if length >= 1 else f"{length:.2f}"
        return (
            f"{self.out}: {counted(self.frames, 'frame')} ({lasts} s), {passed}\n"
            f"{counted(self.references, 'reference')} of {counted(self.tracked, 'tracked frame')}, "
            f"mark {self.mark}, weights {self.weight_id}, {self.seconds:.1f} s"
        )


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A synthesis that has begun.

    Attributes:
      session: makes the faces.
      sources: index of the source frame that each output frame shows.
      samples: the sound, None for silence.
      tracked: frames that were looked at.
      held: see `SynthesisReport`.
    """

    session: Session
    sources: Int[np.ndarray, " n"]
    samples: Float32[np.ndarray, " s"] | None
    tracked: int
    held: int = 0


def synthesize(request: SynthesisRequest, *, progress: Progress | None = None) -> SynthesisReport:
    """Makes the face speak the recording, or move as the face of the driving video does.

    The output is as long as the recording, rounded up to whole frames, or as the driving video. A
    face video that is longer than the recording is cut, one that is shorter plays forwards and
    backwards; of one that follows a driver a single frame is moved. Frames without a face pass
    through as they are, unmarked, and are counted. The sound, at 16 kHz mono, becomes the sound
    track; the metadata names the weights and the inputs.

    Raises:
      TalkfaceError: a file that is not what it should be, no face, several faces and no choice, an
        altered bundle, or an output that cannot be written. Nothing is left at `request.out` then.
    """
    begin = time.monotonic()
    check_request(request)
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(video.open_visual(request.face))
        if request.driver is None:
            begun, manifest = _speak(source, request, progress)
        else:
            driving = opened.enter_context(video.open_video(request.driver))
            begun, manifest = _follow(source, driving, request, progress)
        untouched = _write(source, begun, request, manifest, progress)
    return SynthesisReport(
        out=request.out,
        frames=len(begun.sources),
        untouched=untouched,
        tracked=begun.tracked,
        references=begun.session.references,
        mark=request.mark,
        weight_id=manifest.weight_id,
        seconds=time.monotonic() - begin,
        held=begun.held,
    )


def _speak(
    source: video.IndexedVideo,
    request: SynthesisRequest,
    progress: Progress | None,
) -> tuple[_Begun, Any]:
    """The face is moved by the recording."""
    assert request.audio is not None
    samples = sound.read_audio(request.audio)
    length = -(-len(samples) // SAMPLES_PER_FRAME)
    bundle, chain, controls = _chain(request, Driven.AUDIO)
    track = track_face(source, request.face, request.face_choice, length=length, progress=progress)
    sources = timeline.ping_pong(len(track), length)
    session = chain.start(
        track, samples=samples, sources=sources, frame_at=source.__getitem__, controls=controls
    )
    return _Begun(session, sources, samples, len(track)), bundle.manifest


def _follow(
    source: video.IndexedVideo,
    driving: video.IndexedVideo,
    request: SynthesisRequest,
    progress: Progress | None,
) -> tuple[_Begun, Any]:
    """The face is moved by the driving video."""
    assert request.driver is not None
    samples = None
    if request.audio is not None:
        samples = sound.read_audio(request.audio)
    elif driving.info.has_audio:
        samples = sound.read_clip_audio(request.driver, None, len(driving))
    bundle, chain, controls = _chain(request, Driven.VIDEO)
    track = track_face(
        source, request.face, request.face_choice, length=_LONGEST_LOOK, progress=progress
    )
    driver = track_face(
        driving,
        request.driver,
        request.driver_choice,
        length=len(driving),
        progress=progress,
        flag="--driver-choice",
    )
    session = chain.follow(
        track,
        frame_at=source.__getitem__,
        driver=driver,
        driver_frame_at=driving.__getitem__,
        controls=controls,
    )
    begun = _Begun(
        session,
        session.sources,
        samples,
        tracked=len(track) + len(driver),
        held=int(np.count_nonzero(~driver.valid)),
    )
    return begun, bundle.manifest


def _chain(request: SynthesisRequest, drive: Driven) -> tuple[load.Bundle, Any, dict[str, Any]]:
    """The bundle, its chain, and the controls as read.

    Raises:
      ConfigError: a method that is not driven so, or controls that it does not have.
      WeightsError: a bundle that cannot be used.
    """
    bundle = load.load_bundle(request.bundle)
    declaration = _declaration(bundle)
    declaration.require_driven_by(drive)
    return bundle, build_chain(bundle), declaration.read_controls(request.controls)


def build_chain(bundle: load.Bundle) -> Any:
    """The chain of the bundle's method, running the bundle's programs: a `contract.Chain` where
    speech drives it, a `contract.Follows` where a video does.

    Raises:
      WeightsError: a bundle of a method, or with stages, fields or features, that this version does
        not know.
    """
    name = bundle.manifest.method
    try:
        method: Any = registry.get_method(name)
        configs = {
            stage: config.build(kind, bundle.configs.get(stage, {}), where=f"bundle {stage}")
            for stage, kind in method.config_classes.items()
        }
        wanted = {program.name for program in method.programs(configs)}
        needs = dict(method.requires(configs))
    except ConfigError as error:
        raise WeightsError(
            f"the bundle does not fit this version ({error}); export it again"
        ) from error
    if wanted != set(bundle.manifest.programs):
        raise WeightsError(
            f"the bundle holds {', '.join(bundle.manifest.programs)}, but {name} needs "
            f"{', '.join(sorted(wanted))}; export it again"
        )
    if needs != (made := dict(bundle.manifest.requires)):
        raise WeightsError(
            f"the bundle does not fit this version: {_difference(made, needs)}; train and export "
            "again or install the version that made it"
        )
    chain = method.chain(configs, bundle)
    if isinstance(chain, MakesBlinks) != (Aspect.BLINKS in method.declaration.generates):
        raise TypeError(f"{name} declares blinks exactly where its chain has `blinks`")
    if isinstance(chain, Follows) != (Driven.VIDEO in method.declaration.driven_by):
        raise TypeError(f"{name} is driven by a video exactly where its chain has `follow`")
    return chain


def _difference(made: Mapping[str, str], needs: Mapping[str, str]) -> str:
    """What a bundle was made with and what the method needs now, where these are not the same."""
    lines = []
    for name in sorted({*made, *needs}):
        old, new = made.get(name), needs.get(name)
        if old != new:
            was = f"names no {name}" if old is None else f"was made with {name} {old}"
            now = f"has {name} {new}" if new is not None else "has none"
            lines.append(f"it {was}, but this version {now}")
    return " and ".join(lines)


def _declaration(bundle: load.Bundle) -> Declaration:
    """What the bundle's method says of itself.

    Raises:
      WeightsError: this version does not know it.
    """
    try:
        return registry.declaration(bundle.manifest.method)
    except ConfigError as error:
        raise WeightsError(
            f"the bundle does not fit this version ({error}); export it again"
        ) from error


def check_request(request: SynthesisRequest) -> None:
    """What can be known before any work, the bundle apart.

    Raises:
      TalkfaceError: an output that cannot be written or would overwrite an input, or an unknown
        mark.
    """
    out = request.out
    if request.audio is None and request.driver is None:
        raise ConfigError("neither a recording nor a driving video is given; give --audio=FILE")
    if out.suffix.lower() != ".mp4":
        raise MediaError(f"--out={out} must end in .mp4; rename it")
    if out.parent.exists() and not out.parent.is_dir():
        raise MediaError(f"the folder of --out={out} is a file; choose another path")
    if not out.parent.is_dir():
        raise MediaError(f"the folder of --out={out} does not exist; make it first")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise MediaError(f"--out={out} cannot be written; choose another path")
    if any(
        out.exists() and path.exists() and out.samefile(path)
        for path in (request.face, request.audio, request.driver)
        if path is not None
    ):
        raise MediaError(f"--out={out} is one of the inputs; choose another path")
    if not isinstance(request.batch, int) or request.batch < 1:
        raise ConfigError(f"--batch must be at least 1, not {request.batch}; give another")
    known = [item.value for item in mark.Mark]
    if request.mark not in known:
        raise ConfigError(f"--mark={request.mark} does not exist; use one of {', '.join(known)}")


def _write(
    source: video.IndexedVideo,
    begun: _Begun,
    request: SynthesisRequest,
    manifest: Any,
    progress: Progress | None,
) -> int:
    """Streams the output; returns how many frames showed no face."""
    session, sources = begun.session, begun.sources
    kind, total, untouched = mark.Mark(request.mark), len(sources), 0
    inputs = {"face": request.face, "driver": request.driver, "audio": request.audio}
    tags = mark.provenance(
        method=manifest.method,
        weight_id=manifest.weight_id,
        mark=kind,
        software=f"talkface_jax {__version__}",
        inputs={name: path for name, path in inputs.items() if path is not None},
    )
    writer = video.VideoWriter(
        request.out,
        size=source.size,
        audio=None if begun.samples is None else _pieces(begun.samples),
        audio_rate=AUDIO_RATE,
        metadata=tags,
    )
    with writer:
        for start in range(0, total, request.batch):
            frames = [source[int(i)] for i in sources[start : start + request.batch]]
            for frame, patch in zip(frames, session.patches(start, frames), strict=True):
                if patch is None:
                    untouched += 1
                    writer.write(frame)
                else:
                    writer.write(mark.apply_mark(composite.paste(frame, patch=patch), mark=kind))
            if progress is not None:
                progress("render", min(start + request.batch, total), total)
    if untouched:
        _LOG.info("%d of %d frames show no face and passed through", untouched, total)
    return untouched


def _pieces(samples: Float32[np.ndarray, " s"]) -> Iterator[Float32[np.ndarray, " s"]]:
    """The sound frame by frame, for a writer that takes it as it goes."""
    for start in range(0, len(samples), SAMPLES_PER_FRAME):
        yield samples[start : start + SAMPLES_PER_FRAME]
