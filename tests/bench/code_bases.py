"""Which official code a checkout holds, by its files (`--torch-root`)."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class CodeBase:
    """Official code: its name, where it is published, and the files that are loaded of it."""

    name: str
    address: str
    files: tuple[str, ...]


IP_LAP = CodeBase(
    "IP_LAP",
    "github.com/Weizhi-Zhong/IP_LAP",
    (
        "models/landmark_generator.py",
        "models/video_renderer.py",
        "models/pix2pixHD_disc.py",
        "loss.py",
    ),
)
FACEVID2VID = CodeBase(
    "face-vid2vid",
    "github.com/zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis",
    ("config/vox-256.yaml", "modules/generator.py", "modules/keypoint_detector.py"),
)
LIVEPORTRAIT = CodeBase(
    "LivePortrait",
    "github.com/KwaiVGI/LivePortrait",
    (
        "src/config/models.yaml",
        "src/modules/appearance_feature_extractor.py",
        "src/modules/motion_extractor.py",
        "src/modules/spade_generator.py",
        "src/modules/stitching_retargeting_network.py",
        "src/modules/warping_network.py",
    ),
)
KNOWN = (IP_LAP, FACEVID2VID, LIVEPORTRAIT)


def recognise(root: pathlib.Path) -> CodeBase:
    """The code base of which a folder holds all files.

    Raises:
      ValueError: of none.
    """
    for base in KNOWN:
        if all((root / name).is_file() for name in base.files):
            return base
    known = ", ".join(f"{base.name} ({base.address})" for base in KNOWN)
    raise ValueError(f"--torch-root={root} is a checkout of none of {known}")


def by_code_base(roots: list[pathlib.Path]) -> dict[CodeBase, pathlib.Path]:
    """The checkouts by what they are.

    Raises:
      ValueError: a folder is none, or two are of the same code.
    """
    found: dict[CodeBase, pathlib.Path] = {}
    for root in roots:
        base = recognise(root)
        if base in found:
            raise ValueError(f"--torch-root: {found[base]} and {root} are both {base.name}")
        found[base] = root
    return found
