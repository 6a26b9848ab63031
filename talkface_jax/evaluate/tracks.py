"""Tracks of videos, kept on disk by what they were made from, so that no video is tracked twice.

A track is a function of the video's bytes, the crop, which face is meant (and, where the speaker is
meant, the sound), the tracker's file and version, and this module's version: that is its name. A
file that cannot be read is made anew.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from talkface_jax.errors import FaceError, TalkfaceError
from talkface_jax.evaluate import noise
from talkface_jax.records import FaceTrack

VERSION = 1
_ARRAYS = tuple(field.name for field in dataclasses.fields(FaceTrack) if field.name != "size")


@functools.lru_cache(maxsize=1)
def tracker_facts() -> dict[str, str]:
    """The tracker's version and the sha256 of its model file."""
    from talkface_jax.media.tracker import model_path

    return {
        "package": f"mediapipe {importlib.metadata.version('mediapipe')}",
        "model": hashlib.sha256(model_path().read_bytes()).hexdigest(),
    }


@dataclasses.dataclass(frozen=True)
class TrackStore:
    """Gives tracks, and keeps them.

    Attributes:
      face: of several: "speaker", "largest", an index from the left, or None for the only one.
      folder: where they are kept; None keeps none.
      tracker: an open `media.tracker.FaceTracker`.
    """

    face: str | None
    folder: pathlib.Path | None
    tracker: Any

    def track(self, video: Any, source: "Source", *, audio: np.ndarray | None) -> FaceTrack:
        """The track of an open video.

        Raises:
          FaceError: no face in any frame, several and no choice, or no such choice.
        """
        from talkface_jax.media.tracker import track_video

        audio = self._heard(audio)
        found = self._kept(source, audio, "track")
        if found is None:
            track = track_video(video, face=self.face, audio=audio, tracker=self.tracker)
            found = {name: getattr(track, name) for name in _ARRAYS}
            self._keep(source, audio, "track", {**found, "size": np.asarray(track.size)})
            return track
        height, width = (int(side) for side in found.pop("size"))
        return FaceTrack(**found, size=(height, width))

    def retrack(
        self, video: Any, source: "Source", *, audio: np.ndarray | None, seed: int
    ) -> np.ndarray:
        """Points of the jittered frames (`evaluate.noise.retrack`).

        Raises:
          FaceError: as `track`.
        """
        what, audio = f"noise {seed}", self._heard(audio)
        found = self._kept(source, audio, what)
        if found is None:
            points = noise.retrack(
                video, face=self.face, audio=audio, seed=seed, tracker=self.tracker
            )
            found = {"points": points}
            self._keep(source, audio, what, found)
        return found["points"]

    def _heard(self, audio: np.ndarray | None) -> np.ndarray | None:
        """The sound, where the speaker is told by it; elsewhere it changes nothing."""
        return audio if self.face == "speaker" else None

    def _path(self, source: "Source", audio: np.ndarray | None, what: str) -> pathlib.Path | None:
        if self.folder is None:
            return None
        made_from = {
            "version": VERSION,
            "what": what,
            "video": source.digest,
            "view": source.view,
            "face": self.face,
            "sound": "" if audio is None else hashlib.sha256(audio.tobytes()).hexdigest(),
            **tracker_facts(),
        }
        name = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.npz"

    def _kept(
        self, source: "Source", audio: np.ndarray | None, what: str
    ) -> dict[str, np.ndarray] | None:
        path = self._path(source, audio, what)
        if path is None or not path.is_file():
            return None
        try:
            # Opened here: numpy leaves a file open that it finds damaged.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def _keep(
        self,
        source: "Source",
        audio: np.ndarray | None,
        what: str,
        arrays: dict[str, np.ndarray],
    ) -> None:
        path = self._path(source, audio, what)
        if path is None:
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(temporary, path)
        except OSError as error:
            raise TalkfaceError(
                f"the track {path} cannot be kept ({error.strerror or error}); free disk space, or "
                "name another folder with --tracks"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Source:
    """What identifies the pictures of a video: the sha256 of its file, and the part looked at."""

    path: pathlib.Path
    digest: str
    view: str = ""

    @classmethod
    def of(cls, path: pathlib.Path, *, view: str = "") -> "Source":
        """Reads the file.

        Raises:
          OSError: it cannot be read.
        """
        with path.open("rb") as file:
            return cls(path, hashlib.file_digest(file, "sha256").hexdigest(), view)


def require_face(track: FaceTrack, path: pathlib.Path) -> None:
    """Refuses a track without any face.

    Raises:
      FaceError: no frame is valid.
    """
    if not track.valid.any():
        raise FaceError(f"{path} shows no face in any frame; leave it out")
