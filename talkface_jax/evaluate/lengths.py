"""How many frames of a prediction and its truth are compared, and what the tools leave out.

Frame 0 of both is the same instant, and what is missing or too much is at the end: so it is for
every tool whose code was read, and no tool needs an offset (`TOOLS` says where each one's frames
go). At 25 fps the sound of F frames gives 3.2 F + 1 mel columns, of which a frame needs 16 from
its own start on, so the tools that take only whole windows write F - 4 frames. The AAC sound of a
video decodes to up to 1023 samples more than was put in, 1.6 frames: F - 3.
"""

import dataclasses

from talkface_jax.errors import MediaError, TalkfaceError, counted


@dataclasses.dataclass(frozen=True)
class ToolLength:
    """What a tool's code does to the length.

    Attributes:
      offset: frame of the truth that the first written frame shows.
      missing: fewest and most frames that are missing at the end; negative: too many.
      note: why, in one sentence.
      source: repository and file.
    """

    offset: int
    missing: tuple[int, int]
    note: str
    source: str


TOOLS = {
    "IP-LAP": ToolLength(
        0,
        (3, 4),
        "a frame for each whole sound window, so the end is missing; frame k shows the template's "
        "frame k, but frames 0 and 1 are copies of frame 2",
        "Weizhi-Zhong/IP_LAP inference_single.py",
    ),
    "Wav2Lip": ToolLength(
        0,
        (2, 3),
        "one frame more than the whole sound windows (the last one twice), so the end is missing; "
        "frame k shows the video's frame k, its mouth made from the window one frame later than "
        "in training",
        "Rudrabha/Wav2Lip inference.py, wav2lip_train.py",
    ),
    "Wav2Lip's evaluation scripts": ToolLength(
        0,
        (3, 4),
        "a frame for each whole sound window, so the end is missing",
        "Rudrabha/Wav2Lip evaluation/gen_videos_from_filelist.py",
    ),
    "SadTalker": ToolLength(
        0,
        (-1, 0),
        "a frame for each 640 samples of the sound, whose padding may add one at the end; the "
        "sound's window is centred on the frame",
        "OpenTalker/SadTalker src/generate_batch.py",
    ),
}
"""Of clips at 25 fps whose sound is as long as the video."""


@dataclasses.dataclass(frozen=True)
class Overlap:
    """`frames` are compared, from frame 0 of both.

    Attributes:
      frames: how many.
      shortfall: frames at the truth's end that the prediction lacks.
      surplus: frames at the prediction's end that the truth lacks.
    """

    frames: int
    shortfall: int
    surplus: int

    def describe(self) -> str:
        """What is not compared, as a clause; empty if nothing is."""
        if self.shortfall:
            return f"the last {counted(self.shortfall, 'frame')} of the truth not predicted"
        if self.surplus:
            return f"the last {counted(self.surplus, 'frame')} of the prediction not compared"
        return ""


def common(
    pred_frames: int, true_frames: int, *, tolerance: int, name: str = "the prediction"
) -> Overlap:
    """What two lengths have in common.

    Args:
      pred_frames, true_frames: frames of both at 25 fps.
      tolerance: largest difference that is cut.
      name: of the prediction, for the sentence.

    Raises:
      TalkfaceError: a negative tolerance.
      MediaError: no frame, or the lengths differ by more.
    """
    if tolerance < 0:
        raise TalkfaceError(f"a tolerance of {tolerance} frames is negative; give 0 or more")
    difference = pred_frames - true_frames
    if min(pred_frames, true_frames) < 1 or abs(difference) > tolerance:
        raise MediaError(
            f"{name} has {counted(pred_frames, 'frame')} at 25 fps and its truth {true_frames}; "
            f"predict the whole clip, or allow a larger difference than {tolerance} by --tolerance"
        )
    return Overlap(min(pred_frames, true_frames), max(0, -difference), max(0, difference))
