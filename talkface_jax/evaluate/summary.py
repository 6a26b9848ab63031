"""Per-clip numbers become a table: rows, paired comparisons, groups; each with its interval."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from talkface_jax.evaluate import bootstrap, scores
from talkface_jax.evaluate.bootstrap import Interval
from talkface_jax.evaluate.columns import JUDGED, METRICS
from talkface_jax.evaluate.scores import ClipScore, Comparison, GroupTable, RowSummary, Scores
from talkface_jax.metrics import sync

MOST_GROUPS = 16
"""A column of metadata with more values than this says nothing of groups (a file's name)."""


def _row(clips: Sequence[ClipScore], failed: int, *, seed: int) -> RowSummary:
    speakers = [clip.speaker for clip in clips]
    present = {name for clip in clips for name in clip.values}
    curves = np.asarray([clip.lag_curve for clip in clips]).reshape(
        len(clips), 2 * sync.MAX_LAG + 1
    )
    metrics = {}
    for name in METRICS:
        if name == "lag" and "lag" in present:
            metrics[name] = bootstrap.bootstrap_curve(
                curves, speakers=speakers, statistic=sync.best_lag, seed=seed
            )
        elif name in present:
            metrics[name] = _metric(clips, name, seed=seed)
    whole = curves[np.isfinite(curves).all(-1)] if len(curves) else curves
    return RowSummary(
        clips=len(clips),
        failed=failed,
        frames=sum(clip.frames for clip in clips),
        faceless=sum(clip.faceless for clip in clips),
        lost=sum(clip.lost for clip in clips),
        missing=sum(clip.missing for clip in clips),
        metrics=metrics,
        lag_curve=whole.mean(0) if len(whole) else np.zeros(0),
    )


def _metric(clips: Sequence[ClipScore], name: str, *, seed: int) -> Interval:
    return bootstrap.bootstrap(
        np.asarray([clip.values.get(name, np.nan) for clip in clips]),
        speakers=[clip.speaker for clip in clips],
        statistic=METRICS[name].statistic,
        seed=seed,
    )


def compare_clips(
    ours: Mapping[str, ClipScore], theirs: Mapping[str, ClipScore], *, seed: int = 0
) -> dict[str, Comparison]:
    """Two rows, or the same row of two evaluations, over the clips of both.

    Args:
      ours, theirs: by clip.
      seed: of the bootstrap.

    Returns:
      By metric, of those that both have.
    """
    found = {}
    shared = [name for name in ours if name in theirs]
    speakers = [ours[name].speaker or theirs[name].speaker for name in shared]
    for metric in JUDGED:
        both = [
            np.asarray([rows[name].values.get(metric, np.nan) for name in shared])
            for rows in (ours, theirs)
        ]
        if not shared or not np.isfinite(both).all(0).any():
            continue
        found[metric] = Comparison(
            ratio=bootstrap.bootstrap_ratio(*both, speakers=speakers, seed=seed),
            difference=bootstrap.bootstrap_difference(*both, speakers=speakers, seed=seed),
        )
    return found


def _groups(systems: Mapping[str, Sequence[ClipScore]], *, seed: int) -> list[GroupTable]:
    """A table for each column of metadata that tells clips apart, and each system."""
    columns = dict.fromkeys(
        column for clips in systems.values() for clip in clips for column in clip.groups
    )
    tables = []
    for column in columns:
        for row, clips in systems.items():
            values: dict[str, list[ClipScore]] = {}
            for clip in clips:
                values.setdefault(clip.groups.get(column, ""), []).append(clip)
            values.pop("", None)
            if not 2 <= len(values) <= MOST_GROUPS:
                continue
            numbers = {
                value: {
                    name: _metric(values[value], name, seed=seed)
                    for name in JUDGED
                    if any(name in clip.values for clip in values[value])
                }
                for value in sorted(values)
            }
            tables.append(GroupTable(column, row, numbers, _gaps(numbers)))
    return tables


def _gaps(numbers: Mapping[str, Mapping[str, Interval]]) -> dict[str, float]:
    gaps = {}
    for name in JUDGED:
        known = [found[name].value for found in numbers.values() if name in found]
        known = [value for value in known if math.isfinite(value)]
        if len(known) > 1:
            gaps[name] = max(known) - min(known)
    return gaps


def _pairs(
    systems: Sequence[str], rows: Sequence[str], owners: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Each system with each row that says something about it."""
    return [
        (system, row)
        for system in systems
        for row in rows
        if row != system and owners.get(row, system) == system
    ]


def summarise(
    kind: str,
    *,
    clips: Sequence[ClipScore],
    failures: Sequence[scores.Failure],
    conventions: Mapping[str, str],
    run: Mapping[str, str],
    systems: Sequence[str] = (scores.MODEL,),
    against: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    owners: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Scores:
    """Means, medians and intervals of per-clip numbers, by row.

    Args:
      kind: "motion" or "benchmark".
      clips, failures: of all rows.
      conventions, run: stated with the numbers.
      systems: the rows that are predictions, in the order of the table.
      against: a row; every other system is compared with it. By default each system is compared
        with every row but the truth.
      pairs: further pairs of rows to compare.
      owners: row -> the one system that it is a baseline of.
      seed: of the bootstrap.
    """
    names = [clip.row for clip in clips] + [failure.row for failure in failures]
    order = scores.table_order(names, systems=systems)
    by_row: dict[str, dict[str, ClipScore]] = {row: {} for row in order}
    for clip in clips:
        by_row[clip.row][clip.clip] = clip
    apart = (scores.GROUND_TRUTH, scores.STATIC_OTHER_HALF)
    rows = [row for row in order if row not in apart] if against is None else [against]
    wanted = [*dict.fromkeys([*_pairs(systems, rows, owners or {}), *pairs])]
    known = [pair for pair in wanted if by_row.get(pair[0]) and by_row.get(pair[1])]
    return Scores(
        kind=kind,
        rows={
            row: _row(
                list(by_row[row].values()),
                sum(failure.row == row for failure in failures),
                seed=seed,
            )
            for row in order
        },
        comparisons={
            (row, over): compare_clips(by_row[row], by_row[over], seed=seed) for row, over in known
        },
        clips=tuple(clips),
        failures=tuple(failures),
        conventions={**conventions, "intervals": bootstrap.CONVENTION},
        run=dict(run),
        systems=tuple(systems),
        groups=_groups(
            {row: list(by_row[row].values()) for row in systems if row in by_row}, seed=seed
        ),
    )
