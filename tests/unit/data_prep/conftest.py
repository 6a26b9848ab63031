"""Small raw trees of exactly the shapes in which the data sets are published.

`video` is what every video file holds; adapters open none, so a few bytes do where only the listing
is tested.
"""

import pathlib
import tarfile
from collections.abc import Callable, Mapping

import pytest

WriteTree = Callable[..., pathlib.Path]
MEAD_VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
LRS2_IDS = ("5535415699068794046", "5536038039829982468", "6330311066473698535")


def write_files(root: pathlib.Path, files: Mapping[str, bytes | str]) -> pathlib.Path:
    """Write files with their folders."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def pack(folder: pathlib.Path, archive: pathlib.Path, *, base: str = "") -> pathlib.Path:
    """Put what lies in a folder into an archive as `tar -cf ARCHIVE -C FOLDER .` does."""
    mode = "w" if archive.suffix == ".tar" else "w:gz"
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, arcname=f"./{base}" if base else ".")
    return archive


def write_mead(root: pathlib.Path) -> pathlib.Path:
    """Five actors: as published, with `1/`, with neither, in archives, and a new one half there."""

    def takes(actor: str, middle: str, views: tuple[str, ...], emotion: str, level: int, numbers):
        names = [f"{emotion}/level_{level}/{number:03d}" for number in numbers]
        videos = {f"{actor}/{middle}{v}/{n}.mp4": b"video" for v in views for n in names}
        return videos | {f"{actor}/audio/{n}.m4a": b"sound" for n in names}

    gaps = [*range(1, 20), *range(40, 59)]  # 020 to 039 were never published
    files = {
        **takes("M003", "video/", MEAD_VIEWS, "angry", 1, range(1, 31)),
        **takes("M003", "video/", MEAD_VIEWS, "neutral", 1, [*range(1, 30), *range(70, 78)]),
        **takes("W009", "1/", ("front", "left_30"), "surprised", 3, gaps),
        **takes("W011", "", ("top",), "sad", 2, range(1, 9)),
    }
    del files["M003/audio/angry/level_1/004.m4a"]
    del files["M003/video/left_60/angry/level_1/030.mp4"]  # the others keep take 30
    files |= {"M003/.DS_Store": b"\0", "M003/video/front/angry/level_1/._001.mp4": b"\0"}
    write_files(root, files)
    spare = root.parent / f"{root.name}-unpacked"
    for middle, kind in (("front/happy/level_2/", "video"), ("happy/level_2/", "audio")):
        suffix = {"video": "mp4", "audio": "m4a"}[kind]
        folder = spare / kind
        write_files(folder, {f"{middle}{n:03d}.{suffix}": kind.encode() for n in range(1, 8)})
        (root / "M030").mkdir(exist_ok=True)
        pack(folder, root / "M030" / f"{kind}.tar")
    return root


# The traps of the published lists: a byte-order mark, blanks at line ends, ".mp4" in some keys, a
# resolution 0, a video without times, clips without a crop window, no line end at the end.
HDTF_LISTS: Mapping[str, bytes] = {
    "RD_video_url.txt": b"Radio1 https://y/1\nRadio11 https://y/11&t=6s\nRadio24 https://y/24\n",
    "RD_annotion_time.txt": b"Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30\n",
    "RD_crop_wh.txt": b"Radio1_0.mp4 483 390 0 390\nRadio11_0.mp4 412 599 0 599\n",
    "RD_crop_ratio.txt": b"Radio1_0.mp4 1.0\nRadio11_0.mp4 1.2\n",
    "RD_resolution.txt": b"Radio1.mp4 720\nRadio11.mp4 720\nRadio24.mp4 720\n",
    "WDA_video_url.txt": (
        "\ufeffCarolynMaloney2 https://y/cm2\nWhipJimClyburn https://y/jc\nJamesClyburn1 https://y/jc"
        "\nLucilleRoybal-Allard https://y/lra"
    ).encode(),
    "WDA_annotion_time.txt": (
        b"CarolynMaloney2.mp4 00:05-04:40\nWhipJimClyburn.mp4 00:05-01:00\n"
        b"JamesClyburn1.mp4 00:05-01:00\nLucilleRoybal-Allard.mp4 00:10-02:00"
    ),
    "WDA_crop_wh.txt": (
        b"CarolynMaloney2_0.mp4 608 726 0 726\nWhipJimClyburn_0.mp4 1 2 3 2\n"
        b"JamesClyburn1_0.mp4 1 2 3 2\nLucilleRoybal-Allard_0.mp4 1 2 3 2"
    ),
    "WDA_crop_ratio.txt": b"CarolynMaloney2_0.mp4 1.2\r\nWhipJimClyburn_0.mp4 1.2\r\n",
    "WDA_resolution.txt": b"CarolynMaloney2.mp4 1080\nWhipJimClyburn.mp4 700",
    "WRA_video_url.txt": b"AdamKinzinger2 https://y/ak2\nKevinMcCarthy1 https://y/km1",
    "WRA_annotion_time.txt": (
        b"AdamKinzinger2.mp4 00:40-01:20 02:00-02:40 03:30-03:50 \n"
        b"KevinMcCarthy1.mp4 00:05-00:30 \n"
    ),
    "WRA_crop_wh.txt": (
        b"AdamKinzinger2_0.mp4 397 513 0 513\nAdamKinzinger2_1.mp4 416 498 12 498\n"
        b"AdamKinzinger2_2.mp4 416 498 12 498\nKevinMcCarthy1_0.mp4 1 2 3 2\n"
    ),
    "WRA_crop_ratio.txt": b"AdamKinzinger2_0.mp4 1.2\n",
    "WRA_resolution.txt": b"AdamKinzinger2.mp4 720\nKevinMcCarthy1.mp4 0\n",
}
HDTF_CLIPS = (
    "RD_Radio1_000",
    "RD_Radio11_000",  # Radio11_1 has no crop window: the downloader skips it
    "WDA_CarolynMaloney2_000",
    "WDA_JamesClyburn1_000",
    "WDA_LucilleRoybal-Allard_000",
    "WDA_WhipJimClyburn_000",
    "WRA_AdamKinzinger2_000",
    "WRA_AdamKinzinger2_002",  # 001 was taken off YouTube
    "WRA_KevinMcCarthy1_000",
)


def write_hdtf(root: pathlib.Path, *, video: bytes = b"video") -> pathlib.Path:
    """Clips and lists as the usual downloader leaves them: flat, without sound files."""
    files = {f"HDTF_dataset/{name}": content for name, content in HDTF_LISTS.items()}
    files |= {f"clips/{name}.mp4": video for name in HDTF_CLIPS}
    files |= {"clips/_videos_raw/RD_Radio1.mp4": video}
    files |= {"clips/_videos_raw/RD_Radio1_download_log.txt": b""}
    return write_files(root, files)


def write_lrs2(root: pathlib.Path, *, video: bytes = b"video") -> pathlib.Path:
    """Lists beside `mvlrs_v1`, one broadcast in `main` and `pretrain`."""
    first, second, third = LRS2_IDS
    main = {
        f"{first}/00001": "Text:  WHEN YOU'RE COOKING CHIPS AT HOME\nConf:  4\n",
        f"{first}/00002": "\ufeffText:  THE TRADITIONAL CHIP PAN\r\nConf:  3\r\n",
        f"{second}/00008": "Text:  IN OTHER WORDS ",
        f"{third}/00011": "Text:  NOT LISTED\n",
    }
    pretrain = {
        f"{first}/00005": (
            "Text:  HE'S REALLY\nConf:  5\n\nWORD START END ASDSCORE\nHE'S 0.23 0.44 4.5\n"
        )
    }
    files: dict[str, bytes | str] = {
        "train.txt": f"{first}/00001\n{first}/00002\n{first}/00099\n",
        "val.txt": f"\ufeff{second}/00008\r\n\r\n",
        "test.txt": f"{third}/00003 NF\n{third}/00004 MV\n",
        "pretrain.txt": f"{first}/00005\n",
        "README.txt": "19-digit numbers name broadcasts\n",
    }
    for part, texts in (("main", main), ("pretrain", pretrain)):
        for clip, text in texts.items():
            files |= {f"mvlrs_v1/{part}/{clip}.mp4": video, f"mvlrs_v1/{part}/{clip}.txt": text}
    for clip in (f"{third}/00003", f"{third}/00004"):  # the .txt of one is missing
        files[f"mvlrs_v1/main/{clip}.mp4"] = video
    files[f"mvlrs_v1/main/{third}/00003.txt"] = "Text:  YES\n"
    return write_files(root, files)


@pytest.fixture(name="write_files", scope="session")
def _write_files() -> WriteTree:
    """`write_files`."""
    return write_files


@pytest.fixture(name="pack", scope="session")
def _pack() -> WriteTree:
    """`pack`."""
    return pack


@pytest.fixture(name="write_mead", scope="session")
def _write_mead() -> WriteTree:
    """`write_mead`."""
    return write_mead


@pytest.fixture(name="write_hdtf", scope="session")
def _write_hdtf() -> WriteTree:
    """`write_hdtf`."""
    return write_hdtf


@pytest.fixture(name="write_lrs2", scope="session")
def _write_lrs2() -> WriteTree:
    """`write_lrs2`."""
    return write_lrs2
