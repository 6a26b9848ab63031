"""The one exception that users see, and how its sentences count.

Everything a user can get wrong (a file without a face, an unknown config field, a full disk) is
raised as `TalkfaceError`: one sentence that names the input and the remedy. The command line
prints that sentence and exits with status 1; any other exception is a bug and keeps its traceback.
"""


class TalkfaceError(Exception):
    """Bad input or environment: `str(error)` is one sentence naming the input and the remedy."""


def counted(count: int, noun: str) -> str:
    """A number and its noun, for a sentence: "1 frame", "2 frames"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class MediaError(TalkfaceError):
    """A file that is not the video, image or audio that it should be."""


class FaceError(TalkfaceError):
    """No face, or not the face that was asked for."""


class RecordError(TalkfaceError):
    """A shard, index or record that is truncated, altered or of another schema."""


class ConfigError(TalkfaceError):
    """A config field that does not exist, has the wrong type or contradicts another."""


class WeightsError(TalkfaceError):
    """Missing, altered or incompatible weights."""


class PackageError(TalkfaceError):
    """A package that one use of ours needs is not installed."""


class CheckpointError(TalkfaceError):
    """A working directory or checkpoint that cannot be written, read or continued."""


class StoppedError(TalkfaceError):
    """A stop that was asked for, by a signal, of what can be gone on with."""
