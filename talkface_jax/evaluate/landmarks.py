"""The landmark-level table: a motion network's predictions against tracked points, no rendering."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate import noise, provenance, rows, scores, summary
from talkface_jax.landmarks import boxes, schemes
from talkface_jax.metrics import landmark, sync


@dataclasses.dataclass(frozen=True)
class MotionCase:
    """One clip: the truth and what was predicted for it.

    All points are in the coordinates of `truth`: normalised to `boxes`, or pixels where that is
    None.

    Attributes:
      name: the clip's name, the same in every row.
      truth: tracked points of the scheme.
      valid: False where the truth has no face.
      predictions: row name -> the scheme's "content" points (jaw and lips); "model" and, for our
        models, the other rows of `scores.ROWS` that are predicted.
      references: the reference frames that the model was given; None for the clip's own frames.
      retracked: the truth jittered and tracked again (`evaluate.noise.retrack`), NaN where no face
        was found; None leaves the clip out of the noise-floor row.
      boxes: crop boxes in source pixels; they also undo the stretching of a box that is not square.
      scheme: name of the landmark scheme that the method predicts.
      speaker: who speaks; "" where unknown.
      groups: what else is known of the clip, by name (emotion, level, view).
    """

    name: str
    truth: Float[np.ndarray, "t n 2"]
    valid: Bool[np.ndarray, " t"]
    predictions: Mapping[str, Float[np.ndarray, "t c 2"]]
    references: Float[np.ndarray, "r n 2"] | None = None
    retracked: Float[np.ndarray, "t n 2"] | None = None
    boxes: Float[np.ndarray, "t 4"] | None = None
    scheme: str = landmark.SCHEME
    speaker: str = ""
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _conventions(scheme: str) -> dict[str, str]:
    others = len(schemes.get_scheme(scheme).groups["pose"])
    return {
        "landmarks": landmark.convention(scheme)
        + "; no alignment: the prediction has the true head pose as input, so jaw and lips are "
        f"compared in place and the {others} other points of the face distance are the truth's",
        "mouth opening": sync.CONVENTION,
        "tracker noise": noise.CONVENTION,
    }


def _in_pixels(case: MotionCase, points: np.ndarray) -> np.ndarray:
    return points if case.boxes is None else boxes.from_box(points, case.boxes)


def score_case(case: MotionCase) -> list[scores.ClipScore]:
    """All rows of one clip.

    Raises:
      TalkfaceError: no valid frame, or a prediction of another length.
    """
    if not case.valid.any():
        raise TalkfaceError(f"{case.name}: no frame has a face; leave the clip out of the data set")
    wanted = (len(case.truth), len(schemes.get_scheme(case.scheme).groups["content"]), 2)
    for row, content in case.predictions.items():
        if content.shape != wanted:
            raise TalkfaceError(
                f"{case.name}: row {row} has points of shape {content.shape}; predict {wanted}"
            )
    complete = rows.filled(case.truth, case.valid)
    references = case.references
    if references is None and case.boxes is not None:
        references = case.truth[case.valid]
    still = rows.static_mouth(complete, valid=case.valid, references=references, scheme=case.scheme)
    points = {
        scores.GROUND_TRUTH: complete,
        scores.STATIC_MOUTH: still,
        **{
            row: rows.with_content(complete, content, scheme=case.scheme)
            for row, content in case.predictions.items()
        },
    }
    if case.retracked is not None:
        points[scores.NOISE_FLOOR] = case.retracked
    truth = _in_pixels(case, complete)
    found = [
        rows.compare(
            case.name,
            row,
            _in_pixels(case, points[row]),
            truth,
            valid=case.valid,
            scheme=case.scheme,
        )
        for row in scores.table_order(list(points))
    ]
    return [
        dataclasses.replace(clip, speaker=case.speaker, groups=dict(case.groups)) for clip in found
    ]


def evaluate_motion(
    cases: Iterable[MotionCase],
    *,
    failures: Sequence[scores.Failure] = (),
    command: str | None = None,
    notes: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> scores.Scores:
    """Scores every row of every clip, with bootstrap intervals over speakers and clips.

    Args:
      cases: the clips, all of one scheme (any iterable: they are used one at a time).
      failures: clips that the caller could not predict; read after the last case.
      command: the command line to state; this process's by default.
      notes: further facts to state (checkpoint, data set).
      seed: of the bootstrap.
      progress: called as progress(what, done, total).
    """
    clips: list[scores.ClipScore] = []
    failed: list[scores.Failure] = []
    total = len(cases) if isinstance(cases, Sequence) else 0
    scheme = landmark.SCHEME
    for done, case in enumerate(cases, 1):
        scheme = case.scheme
        try:
            clips += score_case(case)
        except TalkfaceError as error:
            names = (scores.GROUND_TRUTH, scores.STATIC_MOUTH, *case.predictions)
            failed += [scores.Failure(case.name, row, str(error)) for row in names]
        if progress:
            progress("score landmarks", done, max(total, done))
    return summary.summarise(
        "motion",
        clips=clips,
        failures=[*failures, *failed],
        conventions=_conventions(scheme),
        run={**provenance.describe_run(command), **(notes or {})},
        pairs=(scores.OTHER_HALF,),
        seed=seed,
    )
