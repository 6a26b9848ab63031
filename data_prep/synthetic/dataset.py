"""Writes the raw synthetic set in MEAD's layout, with its ground truth.

    <out>/<actor>/video/front/<emotion>/level_<k>/<nnn>.mp4     H.264 with the sound
    <out>/<actor>/audio/<emotion>/level_<k>/<nnn>.wav           24 kHz
    <out>/truth/<actor>_<emotion>_<k>_<nnn>.npz                 what the renderer was told
    <out>/metadata.json                                         split, text, emotion and level of
    each clip

The set is a function of the arguments of `generate`: every clip draws from a generator seeded by
(seed, clip index), so neither the number of workers nor an interruption changes a frame.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from data_prep.synthetic.identity import CAST, Person, divide_cast
from data_prep.synthetic.mesh import HeadModel, load_head
from data_prep.synthetic.sentences import held_out_sentences, train_sentences, val_sentences
from talkface_jax import processes
from talkface_jax.errors import ConfigError, TalkfaceError
from talkface_jax.records import EMOTIONS, FPS

logger = logging.getLogger(__name__)

VERSION = 2
METADATA = "metadata.json"
LICENCE = (
    "synthetic, no real person; geometry CC0-1.0 (MakeHuman, Face Units), speech by hibari-tts "
    "(Apache-2.0)"
)
_REQUEST = "request.json"
_EMOTIONAL = tuple(e for e in EMOTIONS if e != "neutral")


@dataclasses.dataclass(frozen=True)
class ClipPlan:
    """One clip before it is made; `number` counts from 1 within actor, emotion and level.

    Clips of one `voice` are spoken alike: at one pitch and pace, with the same pauses around them.
    None: a voice of its own.
    """

    index: int
    actor: str
    emotion: str
    level: int
    number: int
    split: str
    text: str
    voice: int | None = None

    @property
    def clip(self) -> str:
        """Unique name."""
        return f"{self.actor}_{self.emotion}_{self.level}_{self.number:03d}"

    @property
    def video(self) -> str:
        """Path of the video relative to the set."""
        return f"{self.actor}/video/front/{self.emotion}/level_{self.level}/{self.number:03d}.mp4"

    @property
    def audio(self) -> str:
        """Path of the sound relative to the set."""
        return f"{self.actor}/audio/{self.emotion}/level_{self.level}/{self.number:03d}.wav"

    @property
    def truth(self) -> str:
        """Path of the ground truth relative to the set."""
        return f"truth/{self.clip}.npz"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `generate` did: clips in all, clips made now, frames made now, seconds it took."""

    clips: int
    made: int
    frames: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.clips} synthetic clips ({self.made} made now, {self.clips - self.made} kept), "
            f"{self.frames} frames in {self.seconds:.0f} s"
        )


def plan_clips(*, clips: int, held_out_clips: int, seed: int, val_clips: int = 0) -> list[ClipPlan]:
    """Who says what and how: people take turns, half of a person's clips are neutral.

    Training, val and test clips share neither people nor sentences. The val clips come last, so
    that the others are the same however many there are.
    """
    rng = np.random.default_rng([seed, 0])
    texts = train_sentences(clips, rng=rng)
    tests = _in_turn(held_out_sentences(), held_out_clips, rng=rng)
    cast = divide_cast(seed)
    plans = _take_turns("train", cast.train, texts, first=0, rng=rng)
    plans += _take_turns("test", cast.test, tests, first=clips, rng=rng)
    rng = np.random.default_rng([seed, 3])
    texts = _in_turn(val_sentences(), val_clips, rng=rng)
    return plans + _take_turns("val", cast.val, texts, first=len(plans), rng=rng)


def _in_turn(sentences: list[str], count: int, *, rng: np.random.Generator) -> list[str]:
    """`count` of the sentences in a drawn order, again from the start where they do not suffice."""
    order = rng.permutation(len(sentences))
    return [sentences[order[i % len(sentences)]] for i in range(count)]


def _take_turns(
    split: str,
    people: Sequence[Person],
    texts: Sequence[str],
    *,
    first: int,
    rng: np.random.Generator,
) -> list[ClipPlan]:
    """The clips of one split, numbered from `first` on."""
    numbers: dict[tuple[str, str, int], int] = {}
    plans = []
    for turn, text in enumerate(texts):
        person, take = turn % len(people), turn // len(people)
        mood = _EMOTIONAL[(person * 3 + take // 2) % len(_EMOTIONAL)]
        emotion = "neutral" if (take + person) % 2 == 0 else mood
        level = 1 if emotion == "neutral" else int(rng.integers(1, 4))
        key = (people[person].name, emotion, level)
        numbers[key] = numbers.get(key, 0) + 1
        plans.append(ClipPlan(first + turn, *key, numbers[key], split, text))
    return plans


@functools.lru_cache(maxsize=len(CAST))
def _head(name: str) -> Any:
    from data_prep.synthetic.renderer import make_head

    return make_head(next(person for person in CAST if person.name == name), load_head())


def _person(name: str) -> Person:
    return next(person for person in CAST if person.name == name)


def make_clip(plan: ClipPlan, out: str, seed: int) -> int:
    """Makes one clip and returns its frames; the truth, written last, marks it as finished."""
    import cv2

    from data_prep.synthetic import performance, renderer, scene, speech
    from talkface_jax.media.audio import write_wav
    from talkface_jax.media.writer import VideoWriter

    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, 1, plan.index])
    model, root = load_head(), pathlib.Path(out)
    voice = rng if plan.voice is None else np.random.default_rng([seed, 4, plan.voice])
    pitch = _person(plan.actor).pitch * voice.uniform(0.92, 1.08)
    sound = speech.speak(plan.text, pitch=pitch, speed=voice.uniform(0.85, 1.15))
    sound = sound.padded(voice.uniform(0.05, 0.25), voice.uniform(0.10, 0.30))
    frames = int(sound.duration * FPS)
    sound = dataclasses.replace(sound, samples=sound.samples[: frames * speech.RATE // FPS])
    acted = performance.perform(
        sound,
        emotion=plan.emotion,
        level=plan.level,
        frames=frames,
        names=model.shapes.names,
        rng=rng,
    )
    place, head = scene.sample_scene(rng), _head(plan.actor)
    for path in (plan.video, plan.audio, plan.truth):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    points = np.zeros((frames, len(model.iplap131), 2), np.float32)
    with VideoWriter(
        root / plan.video,
        size=place.size,
        audio=sound.samples,
        audio_rate=speech.RATE,
        threads=1,
    ) as writer:
        for t in range(frames):
            moved = renderer.deform(head, acted.weights[t], acted.pose[t])
            writer.write(renderer.render(head, moved, place))
            points[t] = place.project(moved[model.iplap131])[:, :2]
    write_wav(root / plan.audio, sound.samples, speech.RATE)
    _write_truth(root / plan.truth, plan, sound, acted, points, model)
    return frames


def _write_truth(
    path: pathlib.Path, plan: ClipPlan, sound, acted, points, model: HeadModel
) -> None:
    arrays = {
        "shape_names": np.array(model.shapes.names),
        "weights": acted.weights,
        "pose": acted.pose,
        "gaze": acted.gaze,
        "blink": acted.blink,
        "phonemes": np.array([p.symbol for p in sound.phonemes]),
        "phoneme_times": np.array([(p.start, p.end) for p in sound.phonemes], np.float32),
        "text": np.array(plan.text),
        "landmarks": points,
    }
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path in the same folder that takes the place of `path` at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_json(path: pathlib.Path, content: Any) -> None:
    with _replacing(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _check_request(out: pathlib.Path, request: dict[str, int]) -> None:
    """A folder holds one set: refuses to mix clips of different requests."""
    path = out / _REQUEST
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != request:
            raise ConfigError(
                f"{out} holds a synthetic set made with {found}, not {request}; "
                "choose another folder or delete it."
            )
    _write_json(path, request)


def _metadata(plans: list[ClipPlan], request: dict[str, int]) -> dict[str, Any]:
    fields = ("clip", "actor", "emotion", "level", "split", "text", "video", "audio", "truth")
    return {
        "dataset": "synthetic",
        **request,
        "licence": LICENCE,
        "fps": FPS,
        "held_out": _met_only_in("test", plans),
        "val": _met_only_in("val", plans),
        "clips": [{field: getattr(plan, field) for field in fields} for plan in plans],
    }


def _met_only_in(split: str, plans: list[ClipPlan]) -> dict[str, list[str]]:
    """People and sentences of a split that no other has."""
    mine = [plan for plan in plans if plan.split == split]
    return {
        "people": sorted({plan.actor for plan in mine}),
        "sentences": sorted({plan.text for plan in mine}),
    }


def generate(
    out_dir: str | os.PathLike[str],
    *,
    clips: int,
    seed: int,
    workers: int = 1,
    held_out_clips: int | None = None,
    val_clips: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Summary:
    """Generates the raw set, or what is missing of it.

    Args:
      out_dir: folder of the set; finished clips in it are kept.
      clips: number of training clips.
      seed: the set is a function of (clips, held_out_clips, val_clips, seed).
      workers: processes.
      held_out_clips: number of test clips (default: a quarter of `clips`, at least one).
      val_clips: number of val clips (default: an eighth of `clips`, at least one).
      progress: called as progress(what, done, total).

    Raises:
      ConfigError: no clip was asked for, or the folder holds a set made with other arguments.
      TalkfaceError: the folder cannot be made, or a worker process died.
    """
    if clips < 1 or workers < 1:
        raise ConfigError(f"--clips={clips} and --workers={workers} must both be at least 1.")
    tests = max(1, clips // 4) if held_out_clips is None else held_out_clips
    vals = max(1, clips // 8) if val_clips is None else val_clips
    counts = {"clips": clips, "held_out_clips": tests, "val_clips": vals, "seed": seed}
    return write_set(
        pathlib.Path(out_dir),
        plan_clips(**counts),
        request={"version": VERSION, **counts},
        workers=workers,
        progress=progress,
    )


def write_set(
    out: pathlib.Path,
    plans: list[ClipPlan],
    *,
    request: dict[str, int],
    workers: int,
    progress: Callable[[str, int, int], None] | None,
) -> Summary:
    """Makes the planned clips that are missing, and the metadata of all.

    Args:
      out: folder of the set.
      plans: of all its clips.
      request: what they are a function of, "seed" among it.
      workers: processes.
      progress: called as progress(what, done, total).

    Raises:
      ConfigError: the folder holds a set of another request.
      TalkfaceError: the folder cannot be made, or a worker process died.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TalkfaceError(
            f"{out} cannot be made ({error.strerror}); choose another folder."
        ) from error
    _check_request(out, request)
    missing = [plan for plan in plans if not (out / plan.truth).exists()]
    began, frames = time.monotonic(), 0
    report = progress or (lambda what, done, total: None)
    done = len(plans) - len(missing)
    report("synthetic clips", done, len(plans))
    for count in _run(missing, str(out), request["seed"], workers):
        frames, done = frames + count, done + 1
        report("synthetic clips", done, len(plans))
    _write_json(out / METADATA, _metadata(plans, request))
    summary = Summary(len(plans), len(missing), frames, time.monotonic() - began)
    logger.info("%s", summary)
    return summary


def _run(plans: list[ClipPlan], out: str, seed: int, workers: int) -> Iterator[int]:
    """Frames of each clip as it is finished."""
    if workers == 1 or len(plans) <= 1:
        yield from (make_clip(plan, out, seed) for plan in plans)
        return
    # The first clip is made here, so that the workers find numba's kernels compiled on disk.
    yield make_clip(plans[0], out, seed)
    with processes.pool(workers, kept="finished clips are kept") as pool:
        jobs = [pool.submit(make_clip, plan, out, seed) for plan in plans[1:]]
        for job in concurrent.futures.as_completed(jobs):
            yield job.result()
