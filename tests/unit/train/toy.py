"""Toy stages for the tests of the training code: one player with L1, and a GAN with BatchNorm."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.methods.base import StageTask, inputs
from talkface_jax.metrics.base import Average
from talkface_jax.task import Objective, Previews, Update

FEATURES = 6


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Width of the toy's networks."""

    width: int = 8


@dataclasses.dataclass(frozen=True)
class Term:
    name: str
    function: Callable[[Any], jax.Array]
    weight: float = 1.0

    def weight_at(self, step):
        return self.weight

    def __call__(self, context):
        return self.function(context)


class Generator(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(self.width)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.Dropout(0.1, deterministic=not train)(nn.relu(x))
        return nn.Dense(FEATURES)(x)


class Judge(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.width)(x)
        x = nn.BatchNorm(use_running_average=False, momentum=0.9)(x)
        return nn.Dense(1)(nn.leaky_relu(x, 0.2))


@dataclasses.dataclass(frozen=True)
class View:
    name: str = "toy"
    window: int = 1
    faces: bool = True

    def spec(self, batch_size):
        shape = jax.ShapeDtypeStruct((batch_size, FEATURES), jnp.float32)
        return {"x": shape, "y": shape}

    def sample(self, segment, start, rng, *, train):
        raise NotImplementedError


def l1(context):
    return jnp.abs(context.outputs["image"] - context.batch["y"]).mean()


def fool(context):
    return ((context.apply["disc"](context.outputs["image"]) - 1) ** 2).mean()


def judge(context):
    real = context.apply["disc"](context.batch["y"])
    fake = context.apply["disc"](context.outputs["image"])
    return 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())


class L1Task(StageTask):
    """One player, one term."""

    config_class = ToyConfig
    name = "toy/l1"
    generators = ("net",)
    view = View()

    def __init__(self, config=ToyConfig(), *, name=""):
        super().__init__(config, name=name)
        self.objectives = (Objective(("net",), (Term("l1", l1),)),)

    def networks(self, config):
        return {"net": Generator(config.width)}

    def init(self, rng, batch):
        return {
            "net": self.nets["net"].init({"params": rng}, batch["x"], train=False),
            **{
                name: self.nets[name].init({"params": rng}, batch["y"])
                for name in self.nets
                if name != "net"
            },
        }

    def forward(self, variables, frozen, batch, rng, *, step, train):
        image, stats = self.run("net", variables, inputs(batch["x"]), rng=rng, train=train)
        count = jnp.zeros((len(batch["x"]),), jnp.int32)
        return {"image": image, "count": count}, stats

    def metrics(self, outputs, batch, frozen):
        error = jnp.abs(outputs["image"] - batch["y"]).mean(-1)
        return {"l1": Average.of(error, batch["mask"])}

    def previews(self, outputs, batch):
        strip = np.zeros((3, 8, 8, 3), np.uint8)
        strip[1:, 2:6] = 255
        return Previews(
            images={"grid": strip[1]},
            videos={"strip": strip},
            audio={"tone": np.sin(np.arange(1600, dtype=np.float32))},
        )


class GanTask(L1Task):
    """A generator with L1 and LSGAN terms against a judge with BatchNorm."""

    name = "toy/gan"

    def __init__(
        self, config=ToyConfig(), *, name="", update=Update.SIMULTANEOUS, every=1, first="net"
    ):
        super().__init__(config, name=name)
        generator = Objective(("net",), (Term("l1", l1), Term("fool", fool, 0.3)), update=update)
        critic = Objective(("disc",), (Term("judge", judge),), update=update, every=every)
        self.objectives = (generator, critic) if first == "net" else (critic, generator)

    def networks(self, config):
        return {**super().networks(config), "disc": Judge(config.width)}


class ToySource:
    """Batches that depend on the seed and the position alone; the position is the state.

    The targets of batch `poison` are NaN; `on_draw(position)` is called before each draw.
    """

    def __init__(self, *, poison=None, on_draw=None):
        self.poison, self.on_draw = poison, on_draw
        self.lineage = {"dataset": "toy", "licence": "none", "manifest": "0"}

    def train(self, view, *, batch_size, seed):
        return _Batches(batch_size, seed, self.poison, self.on_draw)

    def evaluation(self, view, *, batch_size):
        for index in range(2):
            yield {**make_batch(batch_size, 1000 + index), "mask": np.ones(batch_size, np.float32)}

    def spread(self, view, *, limit):
        batch = make_batch(min(limit, 32), 2000)
        for row in range(len(batch["x"])):
            yield {name: array[row] for name, array in batch.items()}


class _Batches:
    def __init__(self, batch_size, seed, poison, on_draw):
        self.batch_size, self.seed = batch_size, seed
        self.poison, self.on_draw = poison, on_draw
        self.position = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.on_draw:
            self.on_draw(self.position)
        batch = make_batch(self.batch_size, self.seed * 7919 + self.position)
        if self.poison == self.position:
            batch["y"] = np.full_like(batch["y"], np.nan)
        self.position += 1
        return batch

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]

    def close(self):
        pass


def make_batch(batch_size, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch_size, FEATURES), np.float32)
    return {"x": x, "y": np.tanh(x[:, ::-1]).copy()}
