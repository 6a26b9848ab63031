"""`manifest.json`: what a prepared directory holds, what made it, and on whose terms."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from talkface_jax import config, runtime
from talkface_jax.data import remedy
from talkface_jax.data.schema import SCHEMA_VERSION
from talkface_jax.data.store import read_index, rebuild_index
from talkface_jax.errors import ConfigError, RecordError

MANIFEST, CLIPS, FAILURES = "manifest.json", "clips.jsonl", "failures.jsonl"


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One shard: file name within the directory, split, and what must be true of its bytes."""

    name: str
    split: str
    records: int
    frames: int
    valid_frames: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Failure:
    """A clip that could not be prepared, and why."""

    clip: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A prepared directory.

    Attributes:
      dataset: name of the adapter.
      shards: in the order in which records are numbered.
      clips: clips that were prepared.
      failures: clips that were not.
      licences: terms of the raw data, one line each.
      lineage: where the raw data came from (path or generator, arguments, hashes).
      versions: package -> version of the tools that made it.
      options: arguments of the preparation.
      schema_version: of the records.
    """

    dataset: str
    shards: tuple[ShardEntry, ...]
    clips: int
    failures: tuple[Failure, ...] = ()
    licences: tuple[str, ...] = ()
    lineage: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted({shard.split for shard in self.shards}))

    def of_split(self, split: str) -> tuple[ShardEntry, ...]:
        """The shards of one split.

        Raises:
          RecordError: there is none.
        """
        shards = tuple(shard for shard in self.shards if shard.split == split)
        if not shards:
            raise RecordError(
                f"the data set has no split {split!r}; use one of: {', '.join(self.splits)}"
            )
        return shards


def shard_entry(path: str | os.PathLike[str], split: str) -> ShardEntry:
    """The manifest's line for a finished shard; reads the whole file for its hash.

    Raises:
      RecordError: the shard or its index is missing or damaged.
    """
    path = pathlib.Path(path)
    index = read_index(path)
    return ShardEntry(
        name=path.name,
        split=split,
        records=len(index.entries),
        frames=sum(entry.meta.frames for entry in index.entries),
        valid_frames=sum(entry.meta.valid for entry in index.entries),
        size=index.size,
        sha256=file_sha256(path),
    )


def write_manifest(directory: str | os.PathLike[str], manifest: Manifest) -> None:
    """Writes the manifest, whole or not at all.

    It comes last, so a directory without one is unfinished.

    Raises:
      RecordError: the file cannot be written.
    """
    path = pathlib.Path(directory) / MANIFEST
    try:
        runtime.write_whole(path, config.dumps(manifest))
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written ({error.strerror}); free disk space or give another folder"
        ) from error


def read_manifest(directory: str | os.PathLike[str]) -> Manifest:
    """The manifest of a prepared directory.

    Raises:
      RecordError: it is missing, altered, or of another schema version, or the directory is in a
        remote store.
    """
    if "://" in os.fspath(directory):
        raise RecordError(
            f"{directory} is no local folder; copy the whole prepared directory to one first, or "
            "mount it, and give that"
        )
    path = pathlib.Path(directory) / MANIFEST
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(
            f"{directory} has no {MANIFEST}; give the output of a finished `talkface prepare`"
        ) from error
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path} cannot be read ({error}); {remedy.prepare_anew(directory)}"
        ) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            f"{remedy.prepare_anew(directory)}"
        )
    try:
        return config.build(Manifest, values, where=str(path))
    except ConfigError as error:
        raise RecordError(f"{error}; {remedy.prepare_anew(directory)}") from error


def check_sizes(directory: str | os.PathLike[str], shards: Sequence[ShardEntry]) -> None:
    """Cheap check at the start of a run: the shards exist and have the bytes that were written.

    Raises:
      RecordError: naming the first shard that is missing or has another size.
    """
    for shard in shards:
        path = pathlib.Path(directory) / shard.name
        if not path.is_file():
            raise RecordError(f"shard {path} is missing; {remedy.prepare_anew(directory)}")
        size = path.stat().st_size
        if size != shard.size:
            state = "empty" if size == 0 else "truncated" if size < shard.size else "altered"
            raise RecordError(
                f"shard {path} is {state}: {size} bytes, the manifest says {shard.size}; "
                f"{remedy.prepare_anew(directory)}"
            )


def check_finished(directory: str | os.PathLike[str], shards: Sequence[ShardEntry]) -> None:
    """Quick look at a finished set, which reads no record: sizes, and the indices against them.

    Raises:
      RecordError: naming the first shard or index that is missing or damaged.
    """
    check_sizes(directory, shards)
    for shard in shards:
        path = pathlib.Path(directory) / shard.name
        found = len(read_index(path).entries)
        if found != shard.records:
            raise RecordError(
                f"shard {path} has {found} indexed records, the manifest says {shard.records}; "
                f"{remedy.prepare_anew(directory)}"
            )


def check_hashes(directory: str | os.PathLike[str], shards: Sequence[ShardEntry]) -> None:
    """Full check: every byte of every shard.

    Raises:
      RecordError: naming the first shard that was altered.
    """
    check_sizes(directory, shards)
    for shard in shards:
        path = pathlib.Path(directory) / shard.name
        if file_sha256(path) != shard.sha256:
            raise RecordError(
                f"shard {path} was altered (another SHA-256); {remedy.prepare_anew(directory)}"
            )


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rebuild(directory: str | os.PathLike[str]) -> None:
    """Makes the index of every shard anew from its records, as after an update of ours.

    Raises:
      RecordError: no manifest, or a shard that is missing or damaged.
    """
    directory = pathlib.Path(directory)
    for shard in read_manifest(directory).shards:
        rebuild_index(directory / shard.name)
