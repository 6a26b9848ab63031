"""The motion stage: what it takes of a segment, what it fits, its terms and its metrics."""

import dataclasses
import itertools
import logging
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.data.kept import KeptArrays
from talkface_jax.data.pipeline import (
    Mixture,
    PreparedDataset,
    SegmentReader,
    eval_batches,
    open_dataset,
    train_iterator,
)
from talkface_jax.errors import ConfigError
from talkface_jax.features import content
from talkface_jax.landmarks import boxes, retarget
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods.sinha2020.motion import view as views
from talkface_jax.methods.sinha2020.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.task import MotionTask
from talkface_jax.methods.sinha2020.motion.view import MotionView
from talkface_jax.models.motion.speech_landmarks import SpeechLandmarksConfig
from talkface_jax.task import LossContext
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_train_step

IBUG = get_scheme("ibug68")
LIPS = IBUG.groups["lips"]
SIZE = content.SIZES["ctc29"]
NET = SpeechLandmarksConfig(channels=(4, 4), hidden=6, basis=3)
CONFIG = MotionConfig(net=NET, feature="ctc29", window=4, lip_weight=3.0)


class LevelRows:
    """Stands in for a speech feature: row i holds the mean of its 320 samples, and i."""

    name, version, size = "ctc29", 1, SIZE

    def cache_key(self):
        return "levels"

    def __call__(self, samples):
        count = -(-len(samples) // 320)
        padded = np.pad(samples, (0, 320 * count - len(samples)))
        rows = np.zeros((count, SIZE), np.float32)
        rows[:, 0] = padded.reshape(count, 320).mean(1)
        return rows


@pytest.fixture(autouse=True)
def feature(monkeypatch):
    # Not below its memory: a thread that an earlier test's reading left behind may still fill that.
    monkeypatch.setattr(views, "_feature", lambda name, weights: LevelRows())


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(9).integers(-9000, 9000, 80 * 640).astype(np.int16)


@pytest.fixture(scope="module")
def segment(make_segment, sound):
    return make_segment(seed=6, frames=30, start=37, invalid=(0, 1, 20), sound=sound)


@pytest.fixture
def reader(segment):
    return SegmentReader.of(segment)


def rng(seed=0):
    return np.random.default_rng(seed)


class TestView:
    @pytest.mark.parametrize("train", [True, False])
    def test_samples_fit_the_spec(self, reader, train):
        view = MotionView(feature="ctc29", window=7, flip=True)
        sample = view.sample(reader, 5, rng(), train=train)
        spec = view.spec(3)
        assert sample.keys() == spec.keys()
        for key, array in sample.items():
            assert (3, *array.shape) == spec[key].shape and array.dtype == spec[key].dtype

    def test_windows_are_those_of_the_whole_clip(self, reader, sound):
        """Also where they reach over the segment's borders, into its context."""
        whole = LevelRows()(sound.astype(np.float32) / 32768)
        view = MotionView(feature="ctc29", window=3)
        for start in (2, 13, 27):
            sample = view.sample(reader, start, rng(), train=True)
            frames = np.arange(37 + start, 37 + start + 3)
            rows = 2 * frames[:, None] + np.arange(-7, 9)
            np.testing.assert_allclose(sample["content"], whole[rows], atol=1e-6)

    def test_motion_is_normalised_by_references_of_the_segment(self, reader, segment):
        sample = MotionView(feature="ctc29", references=6).sample(reader, 8, rng(), train=True)
        mesh = boxes.from_box(segment.landmarks, segment.box)
        gap = np.linalg.norm(mesh[:, 13, :2] - mesh[:, 14, :2], axis=-1)
        eyes = np.linalg.norm(mesh[:, 33, :2] - mesh[:, 263, :2], axis=-1)
        order = np.flatnonzero(segment.valid)
        order = order[np.argsort((gap[order] / eyes[order]), kind="stable")]
        chosen = order[np.round(np.linspace(0, len(order) - 1, 6)).astype(int)]
        expected = retarget.normalise(mesh, valid=segment.valid, references=chosen)
        np.testing.assert_allclose(sample["offsets"], expected.offsets[8:13], atol=1e-6)

    def test_half_of_the_training_samples_are_mirrored(self, reader):
        view = MotionView(feature="ctc29", flip=True)
        plain = view.sample(reader, 8, rng(), train=False)
        mirrored = []
        for seed in range(12):
            sample = view.sample(reader, 8, rng(seed), train=True)
            np.testing.assert_array_equal(sample["content"], plain["content"])
            same = np.array_equal(sample["offsets"], plain["offsets"])
            if not same:
                np.testing.assert_array_equal(sample["offsets"], retarget.mirror(plain["offsets"]))
            mirrored.append(not same)
            again = view.sample(reader, 8, rng(seed), train=False)
            np.testing.assert_array_equal(again["offsets"], plain["offsets"])
        assert 2 < sum(mirrored) < 10
        never = MotionView(feature="ctc29").sample(reader, 8, rng(), train=True)
        np.testing.assert_array_equal(never["offsets"], plain["offsets"])

    def test_images_are_never_decoded_and_features_made_once(self, segment, monkeypatch):
        broken = dataclasses.replace(segment, frames=(b"",) * len(segment))
        reader, calls = SegmentReader.of(broken), []
        original = LevelRows.__call__
        monkeypatch.setattr(
            LevelRows, "__call__", lambda self, x: calls.append(len(x)) or original(self, x)
        )
        view = MotionView(feature="ctc29")
        for start in (3, 9):
            view.sample(reader, start, rng(), train=True)
        assert len(calls) == 1
        assert pickle.loads(pickle.dumps(view)) == view

    def test_batches_from_disk(self, prepared):
        dataset, view = open_dataset(prepared, "train"), MotionView(feature="ctc29")
        iterator = train_iterator(dataset, view, batch_size=6, seed=5, threads=2)
        batch = next(iterator)
        iterator.close()
        assert {key: item.shape for key, item in batch.items()} == {
            key: item.shape for key, item in view.spec(6).items()
        }

    def test_batches_do_not_depend_on_what_is_kept(self, prepared, tmp_path, monkeypatch):
        """Memory only, made and written, read from disk: the same bytes, of one set or of two."""
        view = MotionView(feature="ctc29", window=3, flip=True)

        def batches(kept):
            dataset = open_dataset(prepared, "train", cache_mb=0 if kept else 64, kept=kept)
            for data in (dataset, Mixture((dataset, dataset), (1.0, 2.0))):
                iterator = train_iterator(data, view, batch_size=4, seed=5, threads=2)
                yield from itertools.islice(iterator, 6)
                iterator.close()
            yield from eval_batches(dataset, view, batch_size=4)

        def content(kept):
            return [{k: (v.dtype, v.tobytes()) for k, v in b.items()} for b in batches(kept)]

        kept = KeptArrays.open(str(tmp_path / "kept"))
        expected = content(None)
        assert content(kept) == expected
        records = len(open_dataset(prepared, "train"))
        made = list((tmp_path / "kept").rglob("*.safetensors"))
        assert len(made) == 2 * records and {path.parts[-3] for path in made} == {
            "content-levels",
            f"sinha2020-offsets-v{views.OFFSETS_VERSION}-{view.references}",
        }
        read = []
        monkeypatch.setattr(PreparedDataset, "segment", lambda *record: read.append(record))
        assert content(kept) == expected and not read, "the segments themselves are not read"

    def test_other_offsets_than_before_need_another_version(self, segment):
        """Else a run would take the old ones that another run kept on disk."""
        offsets = views.motion_offsets(segment).astype(np.float64)
        known = {1: (0.0171996448, -0.0184855890, 50.5149338)}
        found = (offsets[8, 30, 0], offsets[25, 66, 1], np.abs(offsets).sum())
        np.testing.assert_allclose(found, known[views.OFFSETS_VERSION], rtol=1e-4)


def make_batch(task, rows=3, seed=0):
    draw = rng(seed)
    batch = {
        name: draw.normal(0, 1 if name == "content" else 0.03, leaf.shape).astype(np.float32)
        for name, leaf in task.view.spec(rows).items()
    }
    return {**batch, "mask": np.ones(rows, np.float32)}


def context(outputs, batch):
    return LossContext(outputs=outputs, batch=batch, apply={}, frozen={}, step=jnp.zeros(()))


def test_loss_is_weighted_position_and_velocity():
    task = MotionTask(CONFIG)
    batch = make_batch(task)
    outputs = {"offsets": jnp.asarray(make_batch(task, seed=1)["offsets"])}
    (objective,) = task.objectives
    weight = np.ones(68)
    weight[LIPS] = 3
    error = np.asarray(outputs["offsets"], np.float64) - batch["offsets"]

    def expected(values):
        return (values**2 * weight[:, None]).mean() / weight.mean()

    found = {term.name: term for term in objective.terms}
    np.testing.assert_allclose(
        found["position"](context(outputs, batch)), expected(error), rtol=1e-5
    )
    np.testing.assert_allclose(
        found["velocity"](context(outputs, batch)), expected(np.diff(error, axis=1)), rtol=1e-5
    )
    assert (found["position"].weight, found["velocity"].weight) == (1.0, 10.0)


def test_metrics_are_distances_of_the_true_samples():
    task = MotionTask(CONFIG)
    batch, other = make_batch(task), make_batch(task, seed=1)
    batch["mask"][2] = 0
    found = task.metrics({"offsets": jnp.asarray(other["offsets"])}, batch)
    error = np.linalg.norm(other["offsets"] - batch["offsets"], axis=-1)[:2]
    a, b = IBUG.position(13), IBUG.position(14)

    def gap(item):
        return (item["offsets"][:2, :, b] - item["offsets"][:2, :, a])[..., 1]

    np.testing.assert_allclose(found["lip_distance"].compute(), error[..., LIPS].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["face_distance"].compute(), error.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        found["opening_error"].compute(), np.abs(gap(other) - gap(batch)).mean(), rtol=1e-5
    )


def low_rank_samples(rank, count=20):
    """Motion of so many components, and features with a column that never changes."""
    draw = rng(3)
    directions = draw.normal(size=(rank, 136))
    mean = draw.normal(size=136)
    for _ in range(count):
        levels = draw.normal(size=(4, rank)) * np.arange(rank, 0, -1)
        features = draw.normal(2, 3, (4, 16, SIZE))
        features[..., 5] = 7
        yield {
            "content": features.astype(np.float32),
            "offsets": (levels @ directions + mean).reshape(4, 68, 2).astype(np.float32),
        }


def test_fitted_are_principal_components_and_moments_of_the_features(caplog):
    samples = list(low_rank_samples(3))
    with caplog.at_level(logging.INFO):
        fitted = MotionTask(CONFIG).fitted(lambda: iter(samples))["motion"]
    assert "100.00 %" in caplog.text and "raise" not in caplog.text
    rows = np.concatenate([item["offsets"] for item in samples]).reshape(-1, 136)
    decoder = fitted["params"]["decoder"]
    np.testing.assert_allclose(decoder["bias"], rows.mean(0), atol=1e-5)
    _, values, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    kernel = decoder["kernel"]
    lengths = np.linalg.norm(kernel, axis=1)
    np.testing.assert_allclose(lengths, values[:3] / np.sqrt(len(rows)), rtol=1e-4)
    same = np.abs(np.sum(kernel / lengths[:, None] * directions[:3], 1))
    np.testing.assert_allclose(same, 1, rtol=1e-5)
    features = np.concatenate([item["content"] for item in samples]).reshape(-1, SIZE)
    stats = fitted["batch_stats"]
    np.testing.assert_allclose(stats["feature_mean"], features.mean(0), rtol=1e-4)
    moving = np.arange(SIZE) != 5
    np.testing.assert_allclose(
        stats["feature_deviation"][moving], features.std(0)[moving], rtol=1e-4
    )
    assert stats["feature_deviation"][5] >= 1e-3


def test_a_basis_that_is_too_small_is_told(caplog):
    MotionTask(CONFIG).fitted(lambda: low_rank_samples(6))
    assert "raise --config.task.net.basis" in caplog.text


def test_mirrored_training_has_a_mirrored_basis():
    task = MotionTask(dataclasses.replace(CONFIG, flip=True))
    decoder = task.fitted(lambda: low_rank_samples(1))["motion"]["params"]["decoder"]
    mean = decoder["bias"].reshape(68, 2)
    np.testing.assert_allclose(retarget.mirror(mean), mean, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """State and losses of steps on one batch, from the fitted start."""
    import optax

    task = MotionTask(dataclasses.replace(CONFIG, velocity_weight=1.0))
    batch, transforms = make_batch(task), {"motion": optax.adam(3e-2)}
    fitted = task.fitted(lambda: [{k: v[i] for k, v in batch.items()} for i in range(3)])["motion"]

    def start():
        state = create_state(task, transforms, seed=0, batch=batch)
        net = state.nets["motion"]
        params = {**net.params, **fitted["params"]}
        return state.replace(
            nets={"motion": net.replace(params=params, stats=fitted["batch_stats"])}
        )

    state, losses = jax.jit(start)(), []
    step = jax.jit(make_train_step(task, transforms, task.objectives))
    for _ in range(60):
        state, metrics = step(state, {}, batch)
        losses.append({key: float(value) for key, value in metrics.items()})
    return task, batch, fitted, state, losses


def test_training_starts_from_the_mean_motion_and_learns(trained):
    _, batch, _, _, losses = trained
    rows = batch["offsets"].reshape(-1, 68, 2)
    weight = np.ones(68)
    weight[LIPS] = 3
    still = ((rows - rows.mean(0)) ** 2 * weight[:, None]).mean() / weight.mean()
    np.testing.assert_allclose(losses[0]["loss/motion/position"], still, rtol=0.05)
    assert losses[-1]["loss/motion/total"] < 0.9 * losses[0]["loss/motion/total"]


def test_training_moves_the_basis_and_leaves_the_constants(trained):
    _, _, fitted, state, _ = trained
    net = state.nets["motion"]
    for name, value in fitted["batch_stats"].items():
        np.testing.assert_array_equal(net.stats[name], value)
    before = fitted["params"]["decoder"]["kernel"]
    assert np.abs(np.asarray(net.params["decoder"]["kernel"]) - before).max() > 1e-4


def test_the_network_hears_and_does_not_see(trained):
    """Who is pictured cannot matter: the prediction depends on the sound alone."""
    task, batch, _, state, _ = trained
    variables = {"motion": state.nets["motion"].variables}
    forward = jax.jit(lambda b: task.forward(variables, {}, b, jax.random.key(0), train=False)[0])
    plain = forward(batch)["offsets"]
    blind = forward({**batch, "offsets": np.full_like(batch["offsets"], np.nan)})["offsets"]
    np.testing.assert_array_equal(plain, blind)
    deaf = forward({**batch, "content": batch["content"][::-1].copy()})["offsets"]
    np.testing.assert_allclose(deaf, plain[::-1], atol=1e-6)
    assert np.abs(np.asarray(plain - deaf)).max() > 1e-3


def test_previews_show_true_and_predicted_faces(trained):
    task, batch, *_ = trained
    moved = batch["offsets"].copy()
    moved[:, :, LIPS, 1] += 0.2
    found = task.previews({"offsets": moved}, batch)
    image, video = found.images["landmarks"], found.videos["landmarks"]
    assert image.dtype == np.uint8 and video.shape == (4, *image.shape)
    np.testing.assert_array_equal(video[2], image)
    red = (image[..., 0] > 180) & (image[..., 1] < 120)
    same = task.previews({"offsets": batch["offsets"]}, batch).images["landmarks"]
    grey = np.ptp(image.astype(int), axis=-1) < 10
    hidden = np.ptp(same.astype(int), axis=-1) < 10
    # The prediction is drawn over the truth: grey shows where they differ.
    assert red.sum() > 300
    assert (grey & (image[..., 0] < 200)).sum() > (hidden & (same[..., 0] < 200)).sum() + 100


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window": 1}, "window"),
        ({"references": 0}, "references"),
        ({"net": dataclasses.replace(NET, basis=0)}, "basis"),
        ({"net": dataclasses.replace(NET, basis=137)}, "basis"),
        ({"net": dataclasses.replace(NET, points=67)}, "points"),
        ({"net": dataclasses.replace(NET, dropout=1.0)}, "dropout"),
    ],
)
def test_impossible_configs_are_refused_by_name(change, named):
    with pytest.raises(ConfigError, match=f"config.task.*{named}"):
        MotionTask(dataclasses.replace(CONFIG, **change))
