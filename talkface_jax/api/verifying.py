"""Whether a prepared data set is whole and right, and what it holds."""

import dataclasses
import os
import pathlib

from talkface_jax.api.kinds import Place, Progress
from talkface_jax.data import manifest, tfds_info
from talkface_jax.data import verify as checks
from talkface_jax.data.inspect import Images as Images
from talkface_jax.data.verify import Verification


def verify(
    data: Place,
    *,
    workers: int = 1,
    images: Images = Images.ALL,
    speakers_apart: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Checks everything that can be checked in a prepared data set, which is only read.

    The manifest, every shard, index and record, what the records are together, and the files for
    TensorFlow Datasets. Defects are not raised: `Verification.clean` tells whether there are any.

    Args:
      data: local folder, output of a finished `talkface prepare`.
      workers: processes.
      images: which crops are decoded, which takes most of the time; checksums cover every byte in
        any case.
      speakers_apart: a speaker of two splits is a defect, not only a note.
      progress: called as progress("records", done, total) and progress("checksums", done, total).

    Raises:
      RecordError: there is no manifest that can be read.
      TalkfaceError: a worker process died.
    """
    place = os.fspath(data)
    # Before the first progress: this loads tensorflow-datasets, while which no other thread, such
    # as one that draws bars, can import anything.
    wrong = tfds_info.problems(place, manifest.read_manifest(place))
    found = checks.verify(
        place, workers=workers, images=images, speakers_apart=speakers_apart, progress=progress
    )
    if wrong:
        defects = [checks.Defect("tfds", place, text) for text in wrong[: checks.KEPT]]
        return dataclasses.replace(
            found,
            defects=(*found.defects, *defects),
            counts={**found.counts, "tfds": len(wrong)},
        )
    if not pathlib.Path(place, tfds_info.FEATURES).is_file():
        note = "TensorFlow Datasets cannot read it; talkface prepare writes the files for that"
        return dataclasses.replace(found, notes=(*found.notes, note))
    return found
