"""The render stage of sinha2020: view, terms, what the discriminator is told, pictures."""

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.data.pipeline import SegmentReader
from talkface_jax.errors import ConfigError, WeightsError
from talkface_jax.landmarks import align, boxes, measures
from talkface_jax.landmarks.identity import identity_frame
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.media.aligned import RIGID
from talkface_jax.methods.sinha2020.render import preview as previews
from talkface_jax.methods.sinha2020.render.config import RenderConfig
from talkface_jax.methods.sinha2020.render.task import RenderTask
from talkface_jax.methods.sinha2020.render.view import RenderView
from talkface_jax.models.render.attention_texture import SMALL
from talkface_jax.task import LossContext

SCHEME = get_scheme("ibug68")
SIZE = 32
NET = dataclasses.replace(SMALL, size=SIZE, channels=4, blocks=1)
CONFIG = RenderConfig(
    net=NET,
    perceptual="none",
    perceptual_weight=0.0,
    region_weight=4.0,
    disc_channels=4,
    disc_halvings=1,
)
INVALID = (0, 1, 20)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def segment(make_segment):
    return make_segment(seed=6, frames=30, invalid=INVALID)


@pytest.fixture
def reader(segment):
    return SegmentReader.of(segment)


@pytest.fixture(scope="module")
def geometry(segment):
    source = boxes.from_box(segment.landmarks, segment.box)
    return boxes.crop_geometry(source, valid=segment.valid, scheme="ibug68")


def time_of(image):
    """The made-up images grow bluer by five levels a frame."""
    return float(np.median(image[..., 2])) / 5


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "view", [RenderView(size=48), RenderView(size=32, align="affine", flip=True, colour_jitter=0.2)]
)
def test_samples_fit_the_spec(view, reader, train):
    sample = view.sample(reader, 5, rng(), train=train)
    spec = view.spec(3)
    assert sample.keys() == spec.keys()
    for key, array in sample.items():
        assert (3, *array.shape) == spec[key].shape, key
        assert array.dtype == spec[key].dtype, key
    assert pickle.loads(pickle.dumps(view)) == view


def test_identity_in_training_is_any_other_valid_frame(reader, geometry):
    seen = set()
    for seed in range(150):
        sample = RenderView(size=16).sample(reader, 8, rng(seed), train=True)
        found = np.abs(geometry.points - sample["identity_points"]).max((1, 2)).argmin()
        assert time_of(sample["identity"]) == pytest.approx(found, abs=0.7)
        seen.add(int(found))
    assert seen == set(range(30)) - {8, *INVALID}
    np.testing.assert_allclose(sample["points"], geometry.points[8], atol=1e-6)
    assert time_of(sample["face"]) == pytest.approx(8, abs=0.7)


@pytest.mark.parametrize("start", [5, 12])
def test_identity_in_evaluation_is_fixed_and_never_the_target(reader, segment, start):
    source = boxes.from_box(segment.landmarks, segment.box)
    lips, eyes = measures.mouth_opening(source, get_scheme("mesh478")), measures.eye_opening(source)
    best = identity_frame(lips=lips, eyes=eyes, valid=segment.valid)
    others = segment.valid & (np.arange(30) != best)
    second = identity_frame(lips=lips, eyes=eyes, valid=others)
    for seed in (0, 1):
        view = RenderView(size=16)
        sample = view.sample(reader, best, rng(seed), train=False)
        assert time_of(sample["identity"]) == pytest.approx(second, abs=0.7)
        others = segment.valid & (np.arange(30) != start)
        chosen = identity_frame(lips=lips, eyes=eyes, valid=others)
        sample = view.sample(reader, start, rng(seed), train=False)
        assert time_of(sample["identity"]) == pytest.approx(chosen, abs=0.7) and chosen != start


@pytest.mark.parametrize("align_to", ["none", "affine"])
def test_crops_lie_under_their_points(reader, segment, geometry, align_to):
    """Red grows down and green right over the record's box: a colour tells a pixel's origin."""
    view = RenderView(size=64, align=align_to)
    sample = view.sample(reader, 8, rng(3), train=True)
    other = round(time_of(sample["identity"]))
    placed = {"face": (8, "points"), "identity": (other, "identity_points")}
    for key, (frame, name) in placed.items():
        for crop_point, mesh in zip(sample[name], SCHEME.indices, strict=True):
            column, row = (np.clip(crop_point, 0.02, 0.98) * 64).astype(int)
            if crop_point.min() < 0.05 or crop_point.max() > 0.95:
                continue
            x, y = segment.landmarks[frame, mesh, :2] * 256
            red, green, _ = sample[key][row, column].astype(float)
            assert red == pytest.approx(y - 0.5, abs=4) and green == pytest.approx(x - 0.5, abs=4)


def test_aligned_points_are_those_nearest_to_the_target_by_an_affine_map(reader, segment, geometry):
    sample = RenderView(size=16, align="affine").sample(reader, 8, rng(3), train=True)
    other = round(time_of(sample["identity"]))
    mesh = segment.landmarks[other][:, :2]
    source = boxes.from_box(segment.landmarks, segment.box)[8]
    target = boxes.to_box(source[RIGID, :2], geometry.boxes[8])
    expected = align.apply_affine(mesh[SCHEME.indices], align.fit_affine(mesh[RIGID], target))
    np.testing.assert_allclose(sample["identity_points"], expected, atol=1e-4)


def test_mirroring_and_recolouring_are_of_the_whole_sample(reader):
    plain = RenderView(size=24, align="affine")
    changing = dataclasses.replace(plain, flip=True, colour_jitter=0.3)
    kinds = set()
    for seed in range(8):
        a = plain.sample(reader, 8, rng(seed), train=True)
        b = changing.sample(reader, 8, rng(seed), train=True)
        mirrored = not np.allclose(a["points"], b["points"])
        kinds.add(mirrored)
        gains = []
        for image, points in (("face", "points"), ("identity", "identity_points")):
            if mirrored:
                a[points], a[image] = SCHEME.mirror(a[points]), a[image][:, ::-1]
            np.testing.assert_allclose(b[points], a[points], atol=1e-6)
            gains.append(b[image].sum((0, 1)) / a[image].sum((0, 1)))
            expected = np.clip(np.rint(a[image] * gains[-1]), 0, 255)
            assert np.abs(b[image] - expected).max() <= 40  # Clipping moves the ratio of the sums.
        np.testing.assert_allclose(gains[0][2], gains[1][2], atol=0.05)
        assert (gains[0] > 0.65).all() and (gains[0] < 1.35).all()
        fixed = changing.sample(reader, 8, rng(seed), train=False)
        for key, array in plain.sample(reader, 8, rng(1), train=False).items():
            np.testing.assert_array_equal(array, fixed[key])
    assert kinds == {True, False}


def test_targets_with_closed_eyes_are_drawn_as_often_as_asked(segment):
    landmarks = segment.landmarks.copy()
    landmarks[:, [159, 386], 1] = landmarks[:, [145, 374], 1] - 0.05
    wide = dataclasses.replace(segment, landmarks=landmarks)
    blinking = landmarks.copy()
    for upper, lower in ((159, 145), (386, 374)):
        blinking[11:13, upper] = landmarks[11:13, lower]
    blinking = SegmentReader.of(dataclasses.replace(segment, landmarks=blinking))
    view = RenderView(size=16, closed_share=0.5)
    frames = []
    for seed in range(80):
        sample = view.sample(blinking, 8, rng(seed), train=True)
        frames.append(round(time_of(sample["face"])))
        assert round(time_of(sample["identity"])) != frames[-1]
    assert set(frames) == {8, 11, 12}
    assert 25 <= sum(frame != 8 for frame in frames) <= 55
    for reader, train in ((SegmentReader.of(wide), True), (blinking, False)):
        for seed in range(6):
            sample = view.sample(reader, 8, rng(seed), train=train)
            assert time_of(sample["face"]) == pytest.approx(8, abs=0.7)


def make_batch(rows=2, seed=0):
    draw = rng(seed)
    image, points = (rows, SIZE, SIZE, 3), (rows, 68, 2)
    return {
        "face": draw.integers(0, 256, image).astype(np.uint8),
        "identity": draw.integers(0, 256, image).astype(np.uint8),
        "points": draw.uniform(0.2, 0.8, points).astype(np.float32),
        "identity_points": draw.uniform(0.2, 0.8, points).astype(np.float32),
    }


def make_outputs(rows=2, seed=1):
    draw = rng(seed)
    image = (rows, SIZE, SIZE)
    return {
        "image": jnp.asarray(draw.random((*image, 3)), jnp.float32),
        "colour": jnp.asarray(draw.random((*image, 3)), jnp.float32),
        "attention": jnp.asarray(draw.random((*image, 1)), jnp.float32),
    }


@functools.cache
def compiled(config):
    """Terms by name and the discriminator's inputs, from batch and outputs."""
    task = RenderTask(config)

    @jax.jit
    def run(batch, outputs):
        seen = []

        def disc(x):
            seen.append(x)
            return [[x.mean(-1, keepdims=True)]]

        context = LossContext(outputs, batch, {"disc": disc}, {}, jnp.asarray(0))
        values = {t.name: t(context) for objective in task.objectives for t in objective.terms}
        return values, seen

    return run


def region_by_hand(points):
    centres = (np.arange(SIZE) + 0.5) / SIZE
    grid = np.stack(np.meshgrid(centres, centres), -1)
    away = np.linalg.norm(grid[None, :, :, None] - points[:, None, None, 36:], axis=-1).min(-1)
    return np.exp(-0.5 * (away / 0.05) ** 2)[..., None]


def test_terms_and_their_weights():
    batch, outputs = make_batch(), make_outputs()
    values, _ = compiled(CONFIG)(batch, outputs)
    generating, judging = RenderTask(CONFIG).objectives
    weights = {term.name: term.weight for term in generating.terms}
    assert weights == {"l1": 10.0, "adversarial": 1.0, "attention": 0.1, "variation": 0.1}
    assert [term.name for term in judging.terms] == ["lsgan"]
    error = np.abs(np.asarray(outputs["image"]) - batch["face"] / 255)
    weight = np.broadcast_to(1 + 4 * region_by_hand(batch["points"]), error.shape)
    expected = ((weight * error).mean((1, 2, 3)) / weight.mean((1, 2, 3))).mean()
    np.testing.assert_allclose(values["l1"], expected, rtol=1e-4)
    np.testing.assert_allclose(values["attention"], outputs["attention"].mean(), rtol=1e-5)
    plain = RenderTask(dataclasses.replace(CONFIG, region_weight=0.0)).objectives[0].terms[0]
    context = LossContext(outputs, batch, {}, {}, jnp.asarray(0))
    np.testing.assert_allclose(plain(context), error.mean(), rtol=1e-4)


def test_discriminator_judges_both_images_given_identity_and_landmarks():
    batch, outputs = make_batch(), make_outputs()
    values, (fake, real) = jax.device_get(compiled(CONFIG)(batch, outputs))
    assert fake.shape == real.shape == (2, SIZE // 2, SIZE // 2, 3 + 3 + 9)

    def halved(x):
        return np.asarray(x).reshape(2, SIZE // 2, 2, SIZE // 2, 2, -1).mean((2, 4))

    np.testing.assert_allclose(fake[..., :3], halved(outputs["image"]), atol=1e-5)
    np.testing.assert_allclose(real[..., :3], halved(batch["face"] / 255), atol=1e-5)
    np.testing.assert_allclose(fake[..., 3:6], halved(batch["identity"] / 255), atol=1e-5)
    np.testing.assert_array_equal(fake[..., 3:], real[..., 3:])
    judged = 0.5 * ((real.mean(-1) - 1) ** 2).mean() + 0.5 * (fake.mean(-1) ** 2).mean()
    np.testing.assert_allclose(values["lsgan"], judged, rtol=1e-4)
    np.testing.assert_allclose(values["adversarial"], ((fake.mean(-1) - 1) ** 2).mean(), rtol=1e-4)
    moved = {**batch, "points": batch["points"] + np.float32(0.1)}
    _, (other, _) = compiled(CONFIG)(moved, outputs)
    assert np.abs(other[..., 6:] - fake[..., 6:]).max() > 0.3
    np.testing.assert_allclose(other[..., :6], fake[..., :6], atol=1e-6)


def test_metrics_tell_a_saturated_attention():
    batch = {**make_batch(), "mask": np.array([1, 0], np.float32)}
    outputs = make_outputs()
    attention = np.full((2, SIZE, SIZE, 1), 0.5, np.float32)
    attention[0, :8], attention[0, 8:12], attention[1] = 0.99, 0.01, 0.97
    outputs["attention"] = jnp.asarray(attention)
    merged = jax.jit(RenderTask(CONFIG).metrics)(outputs, batch)
    found = {name: metric.compute() for name, metric in merged.items()}
    assert found["attention_high"] == pytest.approx(8 / SIZE)
    assert found["attention_low"] == pytest.approx(4 / SIZE)
    assert found["attention_mean"] == pytest.approx(attention[0].mean(), rel=1e-5)
    region = region_by_hand(batch["points"])[:1]
    for name, image in (("l1_moving", outputs["image"]), ("l1_moving_identity", None)):
        image = batch["identity"] / 255 if image is None else np.asarray(image)
        error = np.abs(image - batch["face"] / 255)[:1]
        expected = (error * region).sum() / region.sum() / 3
        assert found[name] == pytest.approx(expected, rel=1e-3)


def test_previews_show_every_map_in_a_row():
    batch, outputs = make_batch(), make_outputs()
    picture = previews.render(outputs, batch).images["faces"]
    assert picture.shape == (2 * SIZE, 6 * SIZE, 3) and picture.dtype == np.uint8
    cells = picture.reshape(2, SIZE, 6, SIZE, 3).transpose(0, 2, 1, 3, 4)
    np.testing.assert_array_equal(cells[:, 0], batch["identity"])
    np.testing.assert_array_equal(cells[:, 5], batch["face"])
    for place, name in ((2, "colour"), (3, "attention"), (4, "image")):
        expected = np.broadcast_to(np.rint(np.asarray(outputs[name]) * 255), cells[:, 2].shape)
        np.testing.assert_allclose(cells[:, place], expected, atol=1)
    assert (cells[:, 1] < 100).any() and (cells[:, 1] == 255).any()


def test_a_perceptual_network_without_weight_is_not_asked_for():
    """The published one needs a file."""
    task = RenderTask(RenderConfig(perceptual_weight=0.0))
    assert task.frozen() == {}
    assert "perceptual" not in [term.name for term in task.objectives[0].terms]
    with pytest.raises(WeightsError, match="needs VGG-19"):
        RenderTask(RenderConfig()).frozen()


def test_full_discriminator_and_mistakes_of_the_config():
    published = RenderTask(RenderConfig())
    batch = published.view.spec(1)
    variables = jax.eval_shape(published.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
    kernel = variables["disc"]["params"]["scale_0"]["conv_0"]["kernel"]
    assert kernel.shape == (4, 4, 15, 64)
    assert set(variables["disc"]["params"]) == {"scale_0"}
    for changed, words in (
        ({"perceptual": "none"}, "perceptual is none but perceptual_weight is not 0"),
        ({"net": dataclasses.replace(NET, size=36)}, "size 36 is no multiple of 8"),
        ({"net": dataclasses.replace(NET, attention_start=1.0)}, "attention_start must lie"),
        ({"net": dataclasses.replace(NET, kernel=4)}, "kernel must be odd, not 4"),
        ({"net": dataclasses.replace(NET, size=0)}, r"net\.size must be at least 1, not 0"),
        ({"closed_share": 25.0}, r"closed_share must be from 0 to 1, not 25\.0"),
        ({"perceptual_layers": 6}, "perceptual_layers must be from 1 to 5, not 6"),
        ({"disc_scales": 0}, "disc_scales must be at least 1, not 0"),
        ({"disc_halvings": 6}, "disc_halvings 6 and disc_scales 1 the images are 4 pixels wide"),
    ):
        with pytest.raises(ConfigError, match=words):
            RenderTask(dataclasses.replace(RenderConfig(), **changed))
