"""A face and a recording, or a driving video, become a talking mp4."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from talkface_jax.api.kinds import Place, Progress
from talkface_jax.media.mark import Mark
from talkface_jax.records import NO_CONTROLS, Controls
from talkface_jax.synthesize import run as engine
from talkface_jax.synthesize.run import SynthesisReport


def synthesize(
    networks: Place | Mapping[str, Place | Sequence[Place]],
    *,
    face: Place,
    audio: Place | None = None,
    out: Place,
    driver: Place | None = None,
    face_choice: str | None = None,
    driver_choice: str | None = None,
    mark: str = Mark.VISIBLE.value,
    batch: int = 8,
    controls: Controls = NO_CONTROLS,
    progress: Progress | None = None,
) -> SynthesisReport:
    """Makes the face speak the recording, or follow a driving video, as `synthesize.run.synthesize`
    describes.

    Args:
      networks: the bundle that `export` wrote, or the working directories of every stage of one
        method by stage, which are exported to a bundle that is thrown away afterwards.
      face: video or still image of the face.
      audio: recording, any format with sound in it; beside a driver it is only heard, and left out
        the driver's own sound is.
      out: the mp4 to write; its folder must exist.
      driver: video whose face moves the picture, for methods that follow one.
      face_choice: where there are several faces: "speaker", "largest", or an index from the left.
      driver_choice: the same for the driving video.
      mark: how generated frames are marked: "visible", "invisible" or "both".
      batch: frames rendered at a time.
      controls: what is asked beyond the audio, by name; the method must declare it.
      progress: called as progress(what, done, total), in frames.

    Returns:
      The file, its length, and what was tracked, passed through and marked.

    Raises:
      TalkfaceError: a file that is not what it should be, no face, several faces and no choice,
        networks that do not belong together, a control that the method does not have, or an output
        that cannot be written. Nothing is left at `out` then.
    """
    request = engine.SynthesisRequest(
        bundle=pathlib.Path(),
        face=pathlib.Path(face),
        audio=None if audio is None else pathlib.Path(audio),
        out=pathlib.Path(out),
        driver=None if driver is None else pathlib.Path(driver),
        face_choice=face_choice,
        driver_choice=driver_choice,
        mark=mark,
        batch=batch,
        controls=controls,
    )
    # Before an export that takes seconds.
    engine.check_request(request)
    with _bundle(networks) as bundle:
        return engine.synthesize(dataclasses.replace(request, bundle=bundle), progress=progress)


@contextlib.contextmanager
def _bundle(networks: Place | Mapping[str, Place | Sequence[Place]]) -> Iterator[pathlib.Path]:
    """The bundle that was given, or one of the working directories that lasts for the block."""
    if not isinstance(networks, Mapping):
        yield pathlib.Path(networks)
        return
    # Of working directories only: a bundle needs nothing of training.
    from talkface_jax.api import exporting

    with tempfile.TemporaryDirectory(prefix="talkface-") as folder:
        bundle = pathlib.Path(folder) / "bundle"
        exporting.export(networks, out=bundle)
        yield bundle
