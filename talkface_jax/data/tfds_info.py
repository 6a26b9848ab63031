"""`features.json` and `dataset_info.json`: a prepared directory as TensorFlow Datasets reads it.

With them, `tfds.builder_from_directory(DIR)` reads the shards wherever TensorFlow is installed. The
files are made by tensorflow-datasets itself, which needs no TensorFlow for that; nothing of ours
reads them except `problems`.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from talkface_jax import runtime
from talkface_jax.data import remedy
from talkface_jax.data.manifest import Manifest, ShardEntry
from talkface_jax.data.schema import PER_FRAME, SCHEMA_VERSION
from talkface_jax.data.store import FRAMING
from talkface_jax.errors import RecordError
from talkface_jax.records import RECORD_SIZE, ClipInfo

FEATURES = "features.json"
DATASET_INFO = "dataset_info.json"
# What TensorFlow Datasets takes for a data set's and for a split's name; it reserves "all".
_DATASET = re.compile(r"[a-zA-Z]\w*", re.ASCII)
_SPLIT = re.compile(r"(?!all$)[\w-]*\w[\w-]*", re.ASCII)
_DESCRIPTION = (
    "Talking heads at 25 frames and 16,000 samples a second, tracked and cut into segments of at "
    "most 125 frames; one example is one segment. Frames without a face are kept and marked."
)
_CITATIONS: Mapping[str, str] = {
    "mead": "Wang et al., MEAD: A Large-Scale Audio-Visual Dataset for Emotional Talking-Face "
    "Generation, ECCV 2020.",
    "hdtf": "Zhang et al., Flow-Guided One-Shot Talking Face Generation With a High-Resolution "
    "Audio-Visual Dataset, CVPR 2021.",
    "lrs2": "Chung et al., Lip Reading Sentences in the Wild, CVPR 2017; Afouras et al., Deep "
    "Audio-Visual Speech Recognition, TPAMI 2018.",
}
_DOCS: Mapping[str, str] = {
    "schema": "version of the record's layout",
    "start": "index of the first frame in the clip",
    "length": "frames in the segment, t",
    "source_fps": "frames a second of the raw video",
    "source_rate": "samples a second of the raw sound",
    "frames": "face crops, cut by `box`",
    "audio": "mono, 16 kHz, 640 samples a frame, sample 0 at frame 0",
    "context_before": "up to 0.2 s of the clip's sound before `audio`",
    "context_after": "up to 0.2 s of the clip's sound after `audio`",
    "landmarks": "face mesh: x and y in [0, 1] over the crop, z in the unit of x",
    "head": "rigid head-to-camera transforms, centimetres",
    "blendshapes": "ARKit scores in [0, 1], mediapipe's order",
    "box": "crop x0, y0, x1, y1 in pixels of the raw video",
    "valid": "whether the frame shows a face",
}


def import_tfds() -> None:
    """Loads all of tensorflow-datasets that is used here.

    While it loads, `import` means something else in the whole process, and one of another thread
    fails, such as the thread's that refreshes progress bars. So this comes before there are any.
    """
    from tensorflow_datasets import core, features  # noqa: F401 (loaded, not used)
    from tensorflow_datasets.core import dataset_info, splits  # noqa: F401


def write_tfds_info(directory: str | os.PathLike[str], manifest: Manifest) -> None:
    """Writes both files beside the shards, each whole or not at all; same manifest, same bytes.

    Raises:
      RecordError: a name that TensorFlow Datasets cannot read, or a file that cannot be written.
    """
    for name, text in tfds_files(manifest).items():
        path = pathlib.Path(directory) / name
        try:
            runtime.write_whole(path, text)
        except OSError as error:
            raise RecordError(
                f"{path} cannot be written ({error.strerror}); free disk space or give another "
                "folder"
            ) from error


def tfds_files(manifest: Manifest) -> dict[str, str]:
    """File name -> content, for a place that `write_tfds_info` cannot reach.

    Raises:
      RecordError: names of the data set, of a split or of shards that TensorFlow Datasets cannot
        read.
    """
    check_names(manifest.dataset, manifest.splits)
    _check_shards(manifest)
    from google.protobuf import json_format

    features = json_format.MessageToDict(_features().to_proto())
    return {
        FEATURES: json.dumps(features, indent=2, sort_keys=True) + "\n",
        DATASET_INFO: json.dumps(json.loads(_info(manifest).as_json), indent=2, sort_keys=True)
        + "\n",
    }


def shard_name(dataset: str, split: str, shard: int, shards: int) -> str:
    """Name of a shard after TensorFlow Datasets' default template."""
    return f"{dataset}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"


def problems(directory: str | os.PathLike[str], manifest: Manifest) -> list[str]:
    """What the two files say that the manifest does not, one phrase each.

    They are compared by meaning, so that those of another release of tensorflow-datasets pass. A
    manifest that names no release was made without them, and then nothing is missing.
    """
    paths = [pathlib.Path(directory) / name for name in (FEATURES, DATASET_INFO)]
    present = [path for path in paths if path.is_file()]
    if not present and "tensorflow-datasets" not in manifest.versions:
        return []
    found = [f"{path.name} is missing" for path in paths if path not in present]
    stored: dict[str, Any] = {}
    for path in present:
        try:
            stored[path.name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append(f"{path.name} cannot be read ({error})")
    try:
        expected = {name: json.loads(text) for name, text in tfds_files(manifest).items()}
    except RecordError as error:
        return [*found, str(error)]
    if FEATURES in stored:
        found += _feature_problems(stored[FEATURES], expected[FEATURES])
    if DATASET_INFO in stored:
        found += _info_problems(stored[DATASET_INFO], expected[DATASET_INFO])
    return found


def check_names(dataset: str, splits: Iterable[str]) -> None:
    """Refuses names before hours of work.

    Raises:
      RecordError: the data set's or a split's name is none that TensorFlow Datasets reads.
    """
    if not _DATASET.fullmatch(dataset):
        raise RecordError(
            f"the data set's name {dataset!r} is none that TensorFlow Datasets reads; "
            "use letters, digits and _, a letter first"
        )
    for split in splits:
        if not _SPLIT.fullmatch(split):
            raise RecordError(
                f"the split's name {split!r} is none that TensorFlow Datasets reads; use letters, "
                "digits, _ and -, and not 'all'"
            )


def _check_shards(manifest: Manifest) -> None:
    for split in manifest.splits:
        shards = manifest.of_split(split)
        for k, shard in enumerate(shards):
            name = shard_name(manifest.dataset, split, k, len(shards))
            if shard.name != name:
                raise RecordError(
                    f"shard {shard.name} must be named {name} for TensorFlow Datasets; "
                    f"{remedy.PREPARE_ANEW}"
                )


def _features() -> Any:
    """The record of `data.schema` in TensorFlow Datasets' terms; keys with "/" are nested."""
    from tensorflow_datasets import features as tfds

    def raw(shape: tuple[int | None, ...], kind: str, name: str) -> Any:
        return tfds.Tensor(shape=shape, dtype=np.dtype(kind), encoding="bytes", doc=_DOCS.get(name))

    def scalar(kind: type, name: str) -> Any:
        return tfds.Scalar(kind, doc=_DOCS.get(name))

    image = tfds.Image(shape=(RECORD_SIZE, RECORD_SIZE, 3), encoding_format="jpeg")
    info = {
        field.name: tfds.Text() if field.type is str else scalar(np.int64, field.name)
        for field in dataclasses.fields(ClipInfo)
    }
    counts = ("schema", "start", "length", "source_rate")
    sounds = ("audio", "context_before", "context_after")
    return tfds.FeaturesDict(
        {name: scalar(np.int64, name) for name in counts}
        | {"source_fps": scalar(np.float32, "source_fps")}
        | {"frames": tfds.Sequence(image, doc=_DOCS["frames"])}
        | {name: raw((None,), "<i2", name) for name in sounds}
        | {name: raw((None, *shape), kind, name) for name, (kind, shape) in PER_FRAME.items()}
        | {"info": tfds.FeaturesDict(info)}
    )


def _info(manifest: Manifest) -> Any:
    from tensorflow_datasets import core
    from tensorflow_datasets.core import dataset_info, splits

    # Stored names are relative to wherever the directory lies.
    place = "."
    template = core.ShardedFileTemplate(
        data_dir=core.Path(place), dataset_name=manifest.dataset, filetype_suffix="tfrecord"
    )
    info = core.DatasetInfo(
        builder=dataset_info.DatasetIdentity(
            name=manifest.dataset,
            version=core.Version(f"{SCHEMA_VERSION}.0.0"),
            data_dir=place,
            module_name="",
        ),
        description=_DESCRIPTION,
        citation=_CITATIONS.get(manifest.dataset, ""),
        license="; ".join(manifest.licences) or None,
        # Records are read in the manifest's order.
        disable_shuffling=True,
    )
    info.set_file_format(core.FileFormat.TFRECORD)
    info.set_splits(splits.SplitDict(list(_splits(manifest, template))))
    return info


def _splits(manifest: Manifest, template: Any) -> Iterator[Any]:
    from tensorflow_datasets.core import splits

    for name in manifest.splits:
        shards = manifest.of_split(name)
        yield splits.SplitInfo(
            name=name,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(map(_payload, shards)),
            filename_template=template.replace(split=name),
        )


def _payload(shard: ShardEntry) -> int:
    """Bytes of the examples themselves."""
    return shard.size - FRAMING * shard.records


def _feature_problems(stored: Any, expected: Any) -> list[str]:
    """Features that are missing, strange or of another type; notes on them may differ."""
    have, want = dict(_leaves(stored)), dict(_leaves(expected))
    found = [f"{FEATURES} lacks feature {name}" for name in want if name not in have]
    found += [f"{FEATURES} has an unknown feature {name}" for name in have if name not in want]
    return found + [
        f"{FEATURES} stores feature {name} as {json.dumps(have[name], sort_keys=True)}, not "
        f"{json.dumps(want[name], sort_keys=True)}"
        for name in want
        if name in have and have[name] != want[name]
    ]


def _leaves(feature: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(feature, dict):
        yield prefix, feature
        return
    inner = feature.get("featuresDict")
    nested = inner.get("features") if isinstance(inner, dict) else None
    if isinstance(nested, dict):
        for name, leaf in nested.items():
            yield from _leaves(leaf, f"{prefix}/{name}" if prefix else name)
        return
    yield prefix, {key: value for key, value in feature.items() if key != "description"}


def _info_problems(stored: Any, expected: Any) -> list[str]:
    if not isinstance(stored, dict):
        return [f"{DATASET_INFO} is no JSON object"]
    found = [
        f"{DATASET_INFO} says {key} {stored.get(key)!r}, not {expected[key]!r}"
        for key in ("name", "version", "fileFormat")
        if stored.get(key) != expected[key]
    ]
    listed = stored.get("splits", [])
    if not isinstance(listed, list) or not all(map(_is_split, listed)):
        return [*found, f"{DATASET_INFO} says splits {listed!r}, which is no list of splits"]
    splits = {split["name"]: split for split in listed}
    for want in expected["splits"]:
        have = splits.pop(want["name"], None)
        if have is None:
            found.append(f"{DATASET_INFO} lacks split {want['name']}")
            continue
        found += [
            f"{DATASET_INFO} says {key} {have.get(key)!r} of split {want['name']}, not "
            f"{want[key]!r}"
            for key in ("shardLengths", "numBytes", "filepathTemplate")
            if have.get(key) != want[key]
        ]
    return found + [f"{DATASET_INFO} has an unknown split {name}" for name in splits]


def _is_split(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)
