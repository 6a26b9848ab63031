"""The columns of a table: which metrics there are, how each is shown and summarised."""

import dataclasses
import math
from collections.abc import Mapping

from talkface_jax.evaluate import bootstrap
from talkface_jax.records import RECORD_SIZE


@dataclasses.dataclass(frozen=True)
class MetricInfo:
    """How a metric is shown.

    Attributes:
      label, unit, digits: for tables.
      better: "lower", "higher", the ideal value as text, or "" for what is only described.
      statistic: of the clips' numbers.
      judged: compared row by row and by group; a metric that only describes is not.
    """

    label: str
    unit: str
    better: str
    digits: int
    statistic: bootstrap.Statistic = bootstrap.mean
    judged: bool = False


_PIXELS = f"px at {RECORD_SIZE}"

METRICS: Mapping[str, MetricInfo] = {
    "lip_distance": MetricInfo("Lips (40 points)", "% of eye distance", "lower", 2, judged=True),
    "lip_distance_aligned": MetricInfo(
        "Lips, aligned in time", "% of eye distance", "lower", 2, judged=True
    ),
    "jaw_distance": MetricInfo("Jaw (17 points)", "% of eye distance", "lower", 2),
    "face_distance": MetricInfo("Face (131 points)", "% of eye distance", "lower", 2),
    "opening_correlation": MetricInfo("Opening correlation", "", "higher", 2, judged=True),
    "lag": MetricInfo("Lag", "frames", "0", 0),
    "deviation": MetricInfo("Opening deviation", "pred / true", "1", 2, bootstrap.median),
    "mean_opening": MetricInfo("Mean opening", "% of eye distance", "", 2),
    "silent_opening": MetricInfo("Opening in silence", "% of eye distance", "", 2),
    "yaw_correlation": MetricInfo("Head yaw, correlation", "", "higher", 2),
    "pitch_correlation": MetricInfo("Head pitch, correlation", "", "higher", 2),
    "gaze_correlation": MetricInfo("Gaze, correlation", "", "higher", 2),
    "blink_rate": MetricInfo("Blinks", "a second", "", 2),
    "blink_duration": MetricInfo("Blink duration", "s", "", 2),
    "head_motion": MetricInfo("Head motion", "deg/s, RMS", "", 1),
    "psnr_face": MetricInfo("PSNR, face", "dB", "higher", 2, judged=True),
    "ssim_face": MetricInfo("SSIM, face", "", "higher", 3, judged=True),
    "psnr_mouth": MetricInfo("PSNR, mouth", "dB", "higher", 2, judged=True),
    "ssim_mouth": MetricInfo("SSIM, mouth", "", "higher", 3, judged=True),
    "lpips_face": MetricInfo("LPIPS, face", "AlexNet", "lower", 3, judged=True),
    "lpips_mouth": MetricInfo("LPIPS, mouth", "AlexNet", "lower", 3, judged=True),
    "emotion_accuracy": MetricInfo("Emotion right", "share", "higher", 2, judged=True),
    "closures": MetricInfo("Closed on p, b, m", "share", "higher", 2, judged=True),
    "mld": MetricInfo("M-LD", _PIXELS, "lower", 2, judged=True),
    "fld": MetricInfo("F-LD", _PIXELS, "lower", 2, judged=True),
    "mlvd": MetricInfo("M-LVD", _PIXELS, "lower", 2, judged=True),
    "flvd": MetricInfo("F-LVD", _PIXELS, "lower", 2, judged=True),
    "mld_legacy": MetricInfo("M-LD, legacy", _PIXELS, "lower", 2),
    "fld_legacy": MetricInfo("F-LD, legacy", _PIXELS, "lower", 2),
    "mlvd_legacy": MetricInfo("M-LVD, legacy", _PIXELS, "lower", 2),
    "flvd_legacy": MetricInfo("F-LVD, legacy", _PIXELS, "lower", 2),
}
"""In the order of the tables. Of the point counts the labels name those of iplap131."""
JUDGED = tuple(name for name, info in METRICS.items() if info.judged)


def format_value(name: str, value: float, *, digits: int | None = None) -> str:
    """A metric's number as shown in tables (with its usual digits); a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    if name == "lag":
        return f"{value:+.0f}" if value else "0"
    return f"{value:.{METRICS[name].digits if digits is None else digits}f}"
