"""How public tools name what they write: one table, each row read off the tool's published code.

Sources, as repository and file: Weizhi-Zhong/IP_LAP inference_single.py (and inference.py of its
commit 11e9d5a); OpenTalker/SadTalker inference.py, src/facerender/animate.py, src/gradio_demo.py,
src/test_audio2coeff.py; Rudrabha/Wav2Lip inference.py; KwaiVGI/LivePortrait
src/live_portrait_pipeline.py (first release and current); yzhou359/MakeItTalk main_end2end.py,
src/approaches/train_image_translation.py; BadToBest/EchoMimic infer_audio2vid.py;
Zejun-Yang/AniPortrait scripts/audio2vid.py; TMElyralab/MuseTalk scripts/inference.py;
wangsuzhen/Audio2Head inference.py.

Without a rule, for the user alone names the file: Wav2Lip's and video-retalking's --outfile,
Hallo's --output, and the line numbers (`0.mp4`, `1.mp4`, ...) of Wav2Lip's evaluation scripts,
which need their file list as a table. SadTalker names its result by the date alone; the clip is
known only where --verbose left the folder of that date beside it.
"""

import dataclasses
import pathlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")

AS_IT_IS = ""
"""The tool of the first reading: the prediction bears the clip's own name."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One way in which a tool names a video.

    Attributes:
      tool: whose rule this is.
      pattern: of the whole end of a relative path without suffix; group `clip` is the clip's name,
        group `kind` (if any) what sets a twin of the same clip apart.
      note: one sentence for users.
      separator: stands between two names (picture or video, and sound) in `clip`, of which either
        may be the clip's; both alike come first.
      alike: only both alike will do.
      kinds: values of `kind`, the preferred one first; "" is the plain video.
      after: added to the kind's place; a by-product comes after every result.
      parts: how many parts of the path the pattern sees.
      beside: the name is that of the one file of this kind in the folder named like the video.
    """

    tool: str
    pattern: str
    note: str
    separator: str = ""
    alike: bool = False
    kinds: tuple[str, ...] = ("",)
    after: int = 0
    parts: int = 1
    beside: str = ""


RULES = (
    Rule(
        "IP-LAP",
        r"(?P<clip>.+?)\.?result_N_\d+_Nl_\d+",
        "Xresult_N_25_Nl_15: X is the template video, its last four characters cut off.",
    ),
    Rule("IP-LAP", r"(?P<clip>.+)_25_15", "X_25_15: X is the template video (inference.py)."),
    Rule(
        "SadTalker",
        r"\d{4}_\d\d_\d\d_\d\d\.\d\d\.\d\d",
        "DATE.mp4 beside a folder DATE (--verbose) with X##Y.mat: X is the picture, Y the sound.",
        separator="##",
        beside="*##*.mat",
    ),
    Rule(
        "SadTalker",
        r"temp_(?P<clip>.+##.+)",
        "temp_X##Y, the frames before the sound is added: only where nothing else is left.",
        separator="##",
        after=9,
    ),
    Rule(
        "SadTalker",
        r"(?P<clip>.+##.+?)(?P<kind>_full|_enhanced)?",
        "X##Y: X is the picture, Y the sound; plain before _full before _enhanced.",
        separator="##",
        kinds=("", "_full", "_enhanced"),
        after=1,
    ),
    Rule(
        "Wav2Lip",
        r"(?P<clip>[^/]+)/result_voice",
        "X/result_voice: the default name, in a folder named like the clip.",
        parts=2,
    ),
    Rule(
        "LivePortrait",
        r"(?P<clip>.+?--.+?)"
        r"(?P<kind>--sound|_with_audio|_concat|_concat--sound|_concat_with_audio)?",
        "X--Y: X is the source, Y the driving video; plain before its twins with sound before "
        "_concat (driving, source, result side by side).",
        separator="--",
        kinds=(
            "",
            "--sound",
            "_with_audio",
            "_concat",
            "_concat--sound",
            "_concat_with_audio",
        ),
    ),
    Rule(
        "MakeItTalk",
        r"(?P<clip>.+_pred_fls_.+)_audio_embed",
        "X_pred_fls_Y_audio_embed: X is the picture, Y the sound.",
        separator="_pred_fls_",
    ),
    Rule(
        "EchoMimic or AniPortrait",
        r"(?P<clip>.+_.+)_\d+x\d+_\d+_\d{4}(?P<kind>_withaudio)?",
        "X_Y_HxW_CFG_TIME: X is the picture, Y the sound; plain before _withaudio.",
        separator="_",
        kinds=("", "_withaudio"),
    ),
    Rule(
        "MuseTalk or Audio2Head",
        r"(?P<clip>.+_.+)",
        "X_X: video (or picture) and sound of one name.",
        separator="_",
        alike=True,
    ),
)
"""Every rule, in the order in which they are tried; the first that names a clip is the one."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a name may mean: `names` (relative, without suffix) are equally good.

    `preference` orders the videos of one clip by one tool, the least first.
    """

    tool: str
    preference: int
    names: tuple[str, ...]


def readings(name: str, path: pathlib.Path) -> Iterator[Reading]:
    """The meanings of a prediction's relative path without suffix, in the order to try them."""
    yield Reading(AS_IT_IS, 0, (name,))
    for rule in RULES:
        yield from _read(rule, name, path)


def _read(rule: Rule, name: str, path: pathlib.Path) -> Iterator[Reading]:
    parts = name.split("/")
    if len(parts) < rule.parts:
        return
    found = re.fullmatch(rule.pattern, "/".join(parts[-rule.parts :]))
    if found is None:
        return
    clip = _beside(path, rule.beside) if rule.beside else found["clip"]
    if not clip:
        return
    kind = found.groupdict().get("kind") or ""
    preference = rule.after + rule.kinds.index(kind)
    folder = parts[: -rule.parts]
    for names in _sides(rule, clip):
        yield Reading(rule.tool, preference, tuple("/".join([*folder, side]) for side in names))


def _beside(path: pathlib.Path, pattern: str) -> str | None:
    """Stem of the one such file in the folder named like the video, if there is just one."""
    found = [file.stem for file in path.with_suffix("").glob(pattern)]
    return found[0] if len(found) == 1 else None


def _sides(rule: Rule, clip: str) -> Iterator[tuple[str, ...]]:
    """The names in `clip`: itself, or what stands on both sides of a separator."""
    if not rule.separator:
        yield (clip,)
        return
    width = len(rule.separator)
    cuts = [found.start() for found in re.finditer(f"(?={re.escape(rule.separator)})", clip)]
    halves = [(clip[:cut], clip[cut + width :]) for cut in cuts]
    halves = [(left, right) for left, right in halves if left and right]
    alike = [left for left, right in halves if left == right]
    if alike:
        yield (alike[0],)
    if halves and not rule.alike:
        yield tuple(dict.fromkeys(side for pair in halves for side in pair))


def bare(name: str) -> str:
    """A relative path without a video's suffix."""
    path = pathlib.PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_SUFFIXES else name


class Ends:
    """Clips by the last parts of their paths; Unicode forms of one letter are one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._ends: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in names:
            parts = _parts(name)
            for k in range(1, len(parts) + 1):
                self._ends[parts[-k:]].append(name)

    def find(self, name: str) -> tuple[list[str], int]:
        """The clips with the longest common end, and its parts: 0 if a clip's path is the name."""
        parts = _parts(name)
        for k in range(len(parts), 0, -1):
            found = self._ends.get(parts[-k:], [])
            whole = [clip for clip in found if k == len(parts) == len(_parts(clip))]
            if found:
                return whole or found, 0 if whole else k
        return [], 0


def _parts(name: str) -> tuple[str, ...]:
    return pathlib.PurePosixPath(unicodedata.normalize("NFC", name)).parts
