"""A made-up face of 131 points that nods, turns and talks; made-up scores and pictures."""

import numpy as np
import pytest

from talkface_jax.evaluate import scores, summary
from talkface_jax.evaluate.pictures import SLICE_HEIGHT, STRIP_SIZE, ClipPictures
from talkface_jax.landmarks import schemes
from talkface_jax.media.images import encode_jpeg
from talkface_jax.metrics import sync

SCHEME = schemes.get_scheme("iplap131")


def talking_face(seed: int, *, frames: int = 80) -> np.ndarray:
    """(t, 131, 2) pixels: a fixed shape, slow head motion, a mouth that opens by a smooth curve."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(60, 190, (131, 2))
    for mesh, place in {33: (80, 90), 263: (170, 90), 13: (125, 150), 14: (125, 151)}.items():
        shape[SCHEME.position(mesh)] = place
    opening = np.convolve(rng.normal(size=frames + 4), np.ones(5) / 5, "valid")
    opening = 20 * (opening - opening.min())
    points = np.repeat(shape[None], frames, 0)
    lower = [SCHEME.position(mesh) for mesh in (14, 17, 87, 178, 317, 402, 84, 314)]
    points[:, lower, 1] += opening[:, None]
    points[:, SCHEME.groups["jaw"], 1] += 0.5 * opening[:, None]
    t = np.arange(frames) / 25
    turn = 0.05 * np.sin(2 * np.pi * 0.3 * t)
    rotation = np.stack(
        [np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)],
        -2,
    )
    return points @ rotation + 5 * np.stack([np.sin(t), np.cos(t)], -1)[:, None]


@pytest.fixture
def faces():
    return [talking_face(seed) for seed in range(6)]


def _clip(
    clip: str,
    row: str,
    *,
    rng,
    truth: np.ndarray,
    quality: float,
    images: bool,
    expression: dict[str, float],
    **facts,
):
    """A made-up score; `quality` of 0 is perfect, 1 as bad as a still mouth."""
    values = {
        "lip_distance": 0.3 + 3 * quality + 0.2 * rng.random(),
        "lip_distance_aligned": 0.25 + 2.5 * quality + 0.2 * rng.random(),
        "opening_correlation": 0.98 - 0.9 * quality + 0.05 * rng.random(),
        "lag": float(rng.integers(-1, 2)),
        "deviation": 1.0 - 0.6 * quality + 0.05 * rng.random(),
        "mean_opening": 6 + rng.random(),
        "silent_opening": 1 + rng.random(),
        "blink_rate": 0.3 + 0.1 * rng.random(),
        "head_motion": 8 + rng.random(),
    }
    if images:
        values["psnr_mouth"] = 36 - 12 * quality + rng.random()
        values["ssim_mouth"] = 0.97 - 0.2 * quality + 0.01 * rng.random()
        values |= expression
        values["lpips_mouth"] = 0.02 + 0.2 * quality + 0.01 * rng.random()
    if row == scores.GROUND_TRUTH:
        values |= {"lip_distance": 0.0, "lip_distance_aligned": 0.0, "opening_correlation": 1.0}
    late = round(3 * quality)
    opening = np.roll(truth, late) * (1 - 0.5 * quality)
    valid = np.ones(len(truth), bool)
    curve = sync.lag_curve(opening, truth, valid=valid)
    return scores.ClipScore(
        clip=clip,
        row=row,
        frames=len(truth),
        faceless=int(rng.integers(0, 3)),
        values=values,
        lag_curve=curve,
        opening=opening,
        **facts,
    )


def _expression(quality: float, index: int) -> dict[str, float]:
    return {
        "emotion_accuracy": float(index % 5 < 5 - 6 * quality),
        "closures": 0.9 - 0.5 * quality,
        "mld": 8 * quality,
        "fld": 10 * quality,
        "mlvd": 2 * quality,
        "flvd": 3 * quality,
    }


def made_scores(
    systems=("model",),
    *,
    clips: int = 6,
    kind: str = "benchmark",
    failures=(),
    seed: int = 0,
    expression: bool = False,
) -> scores.Scores:
    """Scores of systems that are ever worse, of the truth and of a static mouth; with `expression`
    those of clips whose emotion is known."""
    rng = np.random.default_rng(seed)
    images = kind == "benchmark"
    found = []
    rows = {
        scores.GROUND_TRUTH: 0.0,
        scores.NOISE_FLOOR: 0.05,
        scores.STATIC_MOUTH: 1.0,
        **{name: 0.3 + 0.15 * place for place, name in enumerate(systems)},
    }
    for index in range(clips):
        truth = np.abs(np.convolve(rng.normal(size=104), np.ones(5) / 5, "valid")) / 8
        for row, quality in rows.items():
            found.append(
                _clip(
                    f"M{index // 2:03}/{index}",
                    row,
                    rng=rng,
                    truth=truth,
                    quality=quality,
                    images=images and row in (*systems, scores.GROUND_TRUTH),
                    expression=_expression(quality, index) if expression else {},
                    speaker=f"M{index // 2:03}",
                    groups={"emotion": ("happy", "sad")[index % 2], "view": "front"},
                    lost=3 if row == systems[-1] and index == 0 else 0,
                )
            )
    return summary.summarise(
        kind,
        clips=found,
        failures=failures,
        conventions={"landmarks": "% of the outer-eye-corner distance"},
        run={"date": "2026-01-01", "command": "talkface evaluate --pred=x", "tracker": "made up 1"},
        systems=systems,
    )


def made_pictures(result: scores.Scores, *, rows=None, size=STRIP_SIZE) -> dict[str, ClipPictures]:
    """Six frames and a slice for each clip and row; no two alike, none flat."""
    rows = (scores.GROUND_TRUTH, *result.systems) if rows is None else rows
    found = {}
    for number, clip in enumerate(dict.fromkeys(clip.clip for clip in result.clips)):
        made = ClipPictures((0, 20, 40, 60, 80, 99))
        for place, row in enumerate(rows):
            frames = [_frame(size, 100 * number + 10 * place + k, place) for k in range(6)]
            made.strips[row] = tuple(encode_jpeg(frame) for frame in frames)
            made.slices[row] = encode_jpeg(_frame((SLICE_HEIGHT, 100 - 4 * place), number, place))
        found[clip] = made
    return found


def _frame(size: tuple[int, int], seed: int, place: int) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    wave = 127 + 80 * np.sin((x + 7 * seed) / 9) * np.cos((y + 3 * seed) / 13)
    return np.stack([wave, np.roll(wave, 20 * place, 0), 255 - wave], -1).astype(np.uint8)


@pytest.fixture(scope="session")
def make_scores():
    """`made_scores`, for modules that cannot import this one."""
    return made_scores


@pytest.fixture(scope="session")
def make_pictures():
    """`made_pictures`."""
    return made_pictures
