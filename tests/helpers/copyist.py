"""A method of one stage that copies a picture, a little wrong: what fine-tuning is tested with."""

import dataclasses
from functools import cached_property

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from talkface_jax import config as c
from talkface_jax.capabilities import Declaration
from talkface_jax.methods import base
from talkface_jax.methods.stages.portrait.config import PortraitConfig
from talkface_jax.methods.stages.portrait.task import PortraitTask
from talkface_jax.methods.stages.portrait.view import PortraitView

SIZE = 64
DECLARATION = Declaration(
    name="copyist",
    paper="none: a copy",
    stages={"lines": f"{__name__}:LinesTask", "render": f"{__name__}:RenderTask"},
    chain=f"{__name__}:METHOD",
    finetuning=f"{__name__}:FINETUNING",
)


@dataclasses.dataclass(frozen=True)
class NetConfig:
    size: int = SIZE


@dataclasses.dataclass(frozen=True)
class RenderConfig(PortraitConfig):
    net: NetConfig = NetConfig()
    adversarial_weight: float = 0.0
    perceptual_weight: float = 0.0
    perceptual: str = "none"
    measure_lpips: bool = True


LinesConfig = dataclasses.make_dataclass("LinesConfig", [], frozen=True)


@flax.struct.dataclass
class Painted:
    image: jax.Array


class Net(nn.Module):
    """The picture in other colours; how bright, the landmarks say."""

    @nn.compact
    def __call__(self, identity, identity_points, points):
        moved = (points - identity_points).reshape(points.shape[0], 136)
        light = nn.Dense(1, name="motion")(moved)[:, None, None]
        wrong = nn.initializers.constant(0.4)
        colours = nn.Conv(3, (1, 1), name="texture", bias_init=wrong)(identity)
        return Painted(jnp.clip(colours + light, 0, 1))


class RenderTask(PortraitTask):
    config_class, name, outputs = RenderConfig, "copyist/render", ("image",)

    def renderer(self, config):
        return Net()

    @cached_property
    def view(self):
        return base.view_of(PortraitView, self.config, size=SIZE, name=self.name)


class LinesTask(base.StageTask):
    config_class, name, generators = LinesConfig, "copyist/lines", ("lines",)

    def networks(self, config):
        return {"lines": nn.Dense(2)}


class Copyist(base.ChainMethod):
    declaration = DECLARATION
    config_classes = {"lines": LinesConfig, "render": RenderConfig}  # noqa: RUF012

    def programs(self, configs):
        points = {"identity_points": ("b", 68, 2), "points": ("b", 68, 2)}
        given = {"identity": ("b", SIZE, SIZE, 3), **points}

        def paint(variables, arrays):
            return {"image": Net().apply(variables, *(arrays[key] for key in given)).image}

        shapes = [(1, *dims[1:]) for dims in given.values()]
        return (
            base.network_program(
                "lines",
                nn.Dense(2),
                player="lines",
                stage="lines",
                inputs={"x": ("b", 3)},
                output="y",
            ),
            base.program(
                "render",
                player="renderer",
                stage="render",
                function=paint,
                inputs={key: (dims, jnp.float32) for key, dims in given.items()},
                variables=lambda: base.shapes_of(Net(), *shapes),
            ),
        )


class CopyTuning:
    stage = "render"

    def experiment(self, task, *, seed, steps):
        return c.ExperimentConfig(
            method="copyist",
            stage="render",
            task=task,
            seed=seed,
            data=c.DataConfig(batch_size=4),
            optim=c.OptimConfig(lr=1e-2, only=("texture",)),
            train=c.TrainConfig(
                steps=steps,
                eval_every=10,
                preview_every=0,
                checkpoint_every=0,
                best_metric="lpips",
                patience=3,
            ),
        )


METHOD, FINETUNING = Copyist(), CopyTuning()
