"""Generated mp4s of any number of systems against the true ones, with trivial baselines."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from talkface_jax import runtime
from talkface_jax.api.kinds import Place, Progress
from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import benchmark, metadata, pairs, scores, shards
from talkface_jax.evaluate.benchmark import TOLERANCE, Options, Rows, System
from talkface_jax.evaluate.metadata import Metadata
from talkface_jax.evaluate.scores import Scores
from talkface_jax.export.load import load_bundle
from talkface_jax.media.audio import read_audio, read_clip_audio, write_wav
from talkface_jax.media.video import open_video
from talkface_jax.records import SAMPLES_PER_FRAME
from talkface_jax.synthesize import run as engine

__all__ = ["System", "evaluate_videos"]

_HEARD = (scores.SHIFTED_AUDIO, scores.SILENCE, scores.MISMATCHED)


def evaluate_videos(
    pred: Place | Mapping[str, Place | System],
    *,
    truth: Place,
    out: Place,
    bundle: Place | None = None,
    face: str | None = None,
    against: str | None = None,
    clips: Place | None = None,
    tolerance: int = TOLERANCE,
    workers: int = 1,
    tracks: Place | None = None,
    legacy: bool = False,
    whole: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores folders of generated mp4s against the true ones, all tracked; writes `out`/scores.json
    and `out`/report.html.

    Args:
      pred: folder of generated mp4s; of several systems, folders or `System`s by name, in the
        order of the table.
      truth: folder of the true ones.
      out: folder of the report; made if need be, and none of the inputs.
      bundle: from `export`; adds what it makes of shifted audio, of silence and of another
        speaker's sentence.
      face: of several: "speaker", "largest", or an index.
      against: a row with which every system is compared; by default each with all others.
      clips: csv file of what is known of the clips: columns clip, speaker, emotion, and groups.
      tolerance: frames by which a video's length may differ from its truth's.
      workers: processes.
      tracks: folder that keeps tracks; by default in the user's cache.
      legacy: whether M-LVD and F-LVD are also counted as a public script does.
      whole: whether LPIPS of the face is counted.
      command: the command line that the report states; this process's by default.
      progress: called as progress(what, done, total).

    Raises:
      FaceError: `face` is no choice.
      MediaError: a folder that does not exist or holds no video.
      WeightsError: a bundle that is altered or does not fit this version.
      TalkfaceError: a choice that is none, an unreadable csv, nothing scored, or a bad `out`.
    """
    folder, true = pathlib.Path(out), pathlib.Path(truth)
    runtime.require_folder(folder, flag="--out")
    known = None if clips is None else metadata.read_metadata(pathlib.Path(clips))
    kept = runtime.cache_dir("tracks") if tracks is None else pathlib.Path(tracks)
    runtime.require_folder(kept, flag="--tracks")
    options = Options(face, tolerance, against, workers, kept, legacy=legacy, whole=whole)
    systems, report = _systems(pred), {"command": command, "progress": progress}
    with tempfile.TemporaryDirectory() as scratch:
        made = Rows()
        if bundle is not None:
            benchmark.check(folder, true, systems, options=options, further=_HEARD)
            rows = _Rows(pathlib.Path(bundle), pathlib.Path(scratch), face=face, known=known)
            made = rows.synthesize(true, progress)
        return benchmark.benchmark(
            systems, true, folder, made=made, metadata=known, options=options, **report
        )


def _systems(pred: Place | Mapping[str, Place | System]) -> dict[str, System]:
    if isinstance(pred, (str, os.PathLike)):
        return {scores.MODEL: System(pathlib.Path(pred))}
    return {
        name: item if isinstance(item, System) else System(pathlib.Path(item))
        for name, item in pred.items()
    }


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Makes what a bundle says to other sound than the clip's own."""

    bundle: pathlib.Path
    scratch: pathlib.Path
    face: str | None
    known: Metadata | None

    def synthesize(self, truth: pathlib.Path, progress: Progress | None) -> Rows:
        """All rows of all true videos; what fails is told, not raised.

        Raises:
          WeightsError: the bundle is altered or does not fit this version.
        """
        # Before minutes of work: a bundle that does not fit would fail for every clip.
        bundle = load_bundle(self.bundle)
        engine.build_chain(bundle)
        weight_id = bundle.manifest.weight_id
        truths = pairs.find_videos(truth)
        folders = {row: self.scratch / row for row in _HEARD}
        reasons: dict[tuple[str, str], str] = {}
        for done, (clip, path) in enumerate(truths.items(), 1):
            for row, folder in folders.items():
                try:
                    samples = self._sound(row, clip, truths)
                    self._speak(path, samples, folder / f"{clip}.mp4")
                except (TalkfaceError, OSError) as error:
                    # Synthesis knows the choice of a face by its own command's flag.
                    words = str(error).replace("--face-choice=", "--face=")
                    reasons[row, clip] = f"not synthesized: {words}"
            if progress is not None:
                progress("synthesize baseline rows", done, len(truths))
        return Rows(folders, reasons, {"bundle": weight_id})

    def _sound(
        self, row: str, clip: str, truths: Mapping[str, pathlib.Path]
    ) -> Float32[np.ndarray, " s"]:
        """What the row of a clip hears.

        Raises:
          MediaError: no sound where it is needed.
          TalkfaceError: no other speaker.
        """
        path = truths[clip]
        with open_video(path) as video:
            frames = len(video)
        if row == scores.MISMATCHED:
            other = read_audio(truths[self._other(clip, list(truths))])
            return shards.mismatched(np.zeros(frames * SAMPLES_PER_FRAME, np.float32), other)
        return shards.rows_of_samples(read_clip_audio(path, None, frames))[row]

    def _other(self, clip: str, clips: list[str]) -> str:
        """The next clip of another speaker; without metadata every clip counts as another's."""
        start = clips.index(clip) + 1
        own = self.known.speaker(clip) if self.known else ""
        for name in (*clips[start:], *clips[: start - 1]):
            if not own or self.known is None or self.known.speaker(name) != own:
                return name
        raise TalkfaceError("there is no clip of another speaker whose sentence could be used")

    def _speak(
        self, face: pathlib.Path, samples: Float32[np.ndarray, " s"], out: pathlib.Path
    ) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        wav = self.scratch / "heard.wav"
        write_wav(wav, samples)
        engine.synthesize(
            engine.SynthesisRequest(
                bundle=self.bundle, face=face, audio=wav, out=out, face_choice=self.face
            )
        )
