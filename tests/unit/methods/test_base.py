"""What methods share: how a stage draws its variables, and what a session is asked to draw."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.methods import base
from talkface_jax.methods.base import Faces, PatchSession, StageTask, inputs
from talkface_jax.ranges import AT_LEAST_1, ranged


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = ranged(3, AT_LEAST_1)
    size: int = 16
    unused: str = "no view has it"


class Generator(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, scale=1.0, *, train=False):
        x = nn.Dense(self.width, name="dense")(scale * x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(x)
        return nn.Dropout(0.5, deterministic=not train)(x)


class Judge(nn.Module):
    @nn.compact
    def __call__(self, image):
        return nn.Dense(1, name="dense")(image)


class One(StageTask):
    """A player that takes an argument and an option."""

    config_class = Config
    name = "toy/one"
    generators = ("maker",)

    def networks(self, config):
        return {"maker": Generator(config.width)}

    def inputs_of(self, batch):
        return {"maker": inputs(batch["x"] / 2, scale=batch["scale"])}


class Two(One):
    name = "toy/two"

    def networks(self, config):
        return {**super().networks(config), "disc": Judge()}

    def inputs_of(self, batch):
        return {**super().inputs_of(batch), "disc": inputs(batch["y"])}

    def check(self, config):
        if config.size == 13:
            raise ConfigError("config.task: 13 is no good; give another")


BATCH = {
    "x": np.full((4, 6), np.nan, np.float32),
    "scale": np.full((4, 1), np.nan, np.float32),
    "y": jax.ShapeDtypeStruct((4, 2), jnp.float32),
}
FIRST = {"x": jnp.zeros((1, 6)), "scale": jnp.zeros((1, 1)), "y": jnp.zeros((1, 2))}


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_one_player_draws_from_the_whole_key():
    key = jax.random.key(3)
    found = One(Config()).init(key, BATCH)
    assert_same(found, {"maker": Generator(3).init(key, FIRST["x"], scale=FIRST["scale"])})
    assert np.isfinite(found["maker"]["params"]["dense"]["kernel"]).all()


def test_two_players_draw_from_halves_of_the_key_in_their_order():
    key = jax.random.key(3)
    first, second = jax.random.split(key, 2)
    expected = {
        "maker": Generator(3).init(first, FIRST["x"], scale=FIRST["scale"]),
        "disc": Judge().init(second, FIRST["y"]),
    }
    found = Two(Config()).init(key, BATCH)
    assert list(found) == ["maker", "disc"]
    assert_same(found, expected)


def test_method_and_stage_are_those_of_the_registered_name():
    assert (One(Config()).method, One(Config()).stage) == ("toy", "one")
    other = One(Config(), name="other/chained")
    assert (other.method, other.stage) == ("other", "chained")
    assert One.name == "toy/one"


def test_ranges_are_checked_before_what_contradicts():
    with pytest.raises(ConfigError, match=r"^config\.task\.width must be at least 1, not 0; give"):
        Two(Config(width=0, size=13))
    with pytest.raises(ConfigError, match="13 is no good"):
        Two(Config(size=13))


def test_run_gives_new_statistics_in_training_alone():
    task = One(Config())
    x = np.random.default_rng(0).normal(2, 3, (50, 6)).astype(np.float32)
    variables = task.init(jax.random.key(0), {**BATCH, "x": x})
    given = inputs(x, scale=2.0)
    plain, stats = task.run("maker", variables, given)
    hidden = 2 * x @ np.asarray(variables["maker"]["params"]["dense"]["kernel"])
    np.testing.assert_allclose(plain, hidden / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-4)
    assert_same(stats, {"maker": variables["maker"]["batch_stats"]})
    noisy, stats = task.run("maker", variables, given, rng=jax.random.key(1), train=True)
    np.testing.assert_allclose(
        stats["maker"]["norm"]["mean"], hidden.mean(0) / 2, rtol=1e-4, atol=1e-4
    )
    assert 30 < np.sum(np.asarray(noisy) == 0) < 120
    # A network without statistics gives none.
    assert (
        Two(Config()).run("disc", {"disc": Judge().init(jax.random.key(0), x)}, inputs(x))[1] == {}
    )


@dataclasses.dataclass(frozen=True)
class View:
    size: int = 1
    window: int = 5
    flip: bool = False


def test_a_view_takes_the_fields_that_it_shares_with_the_config():
    assert base.view_of(View, Config(size=9)) == View(size=9)
    assert base.view_of(View, Config(size=9), flip=True) == View(size=9, flip=True)
    # What is given stands above the config's own.
    assert base.view_of(View, Config(size=9), size=2, window=7) == View(size=2, window=7)


@pytest.mark.parametrize(("count", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2]), (0, [])])
def test_parts_are_all_numbers_in_order(count, sizes):
    found = list(base.parts(count, 3))
    assert [len(part) for part in found] == sizes
    np.testing.assert_array_equal(np.concatenate([*found, []]), np.arange(count))


def test_in_parts_puts_the_results_together():
    asked = []

    def square(numbers):
        asked.append(numbers.tolist())
        return jnp.asarray(numbers)[:, None] ** 2

    found = base.in_parts(square, 5, size=2)
    assert asked == [[0, 1], [2, 3], [4]]
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, [[0], [1], [4], [9], [16]])


def test_bytes_are_rounded_and_cut():
    found = base.as_bytes(jnp.asarray([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 7.0]))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 255, 255])


def test_a_program_of_one_player_hands_it_its_own_variables():
    made = base.program(
        "double",
        player="maker",
        stage="one",
        function=lambda variables, arrays: {"y": variables["w"] * arrays["x"]},
        inputs={"x": (("b", 2), jnp.float32)},
        variables=lambda: {"w": jax.ShapeDtypeStruct((), jnp.float32)},
    )
    assert dict(made.players) == {"maker": "one"} and not made.frozen and not made.state
    assert list(made.variables()) == ["maker"]
    variables = {"other": {"w": 5}, "maker": {"w": 2}}
    np.testing.assert_array_equal(made.function(variables, {"x": np.arange(2)})["y"], [0, 2])


class Session(PatchSession):
    """Records what it is asked; a face's picture is its output frame's number, and 100 more than
    the colour of the frame below."""

    def __init__(self, sources, valid):
        super().__init__(sources, valid)
        self.advanced, self.drawn = [], []

    def advance(self, start, stop):
        self.advanced.append((start, stop))

    def draw(self, wanted, frames):
        assert self.advanced
        self.drawn.append((wanted.tolist(), [int(frame[0, 0, 0]) for frame in frames]))
        images = np.stack([np.full((2, 2, 3), k, np.uint8) for k in wanted])
        boxes = np.stack([np.full(4, 10 * k, np.float32) for k in wanted])
        return Faces(images, boxes, (np.full((3, 2), -k, np.float32) for k in wanted))


def shown(sources):
    return [np.full((4, 4, 3), source, np.uint8) for source in sources]


def test_a_session_draws_the_frames_that_show_a_face_and_no_others():
    sources = np.array([4, 3, 2, 1, 0, 1, 2])
    session = Session(sources, np.array([True, False, True, True, False]))
    found = session.patches(0, shown(sources[:3])) + session.patches(3, shown(sources[3:]))
    assert session.advanced == [(0, 3), (3, 7)]
    assert session.drawn == [([1, 2], [3, 2]), ([4, 6], [0, 2])]
    assert [patch is None for patch in found] == [True, False, False, True, False, True, False]
    for k in (1, 2, 4, 6):
        assert (found[k].image == k).all() and found[k].image.shape == (2, 2, 3)
        assert (found[k].box == 10 * k).all() and (found[k].contour == -k).all()


def test_without_any_face_nothing_is_drawn():
    session = Session(np.array([0, 1, 1]), np.array([False, False]))
    assert session.patches(0, shown([0, 1, 1])) == [None] * 3
    assert session.advanced == [(0, 3)] and not session.drawn
