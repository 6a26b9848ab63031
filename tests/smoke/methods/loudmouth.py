"""A mouth that opens with loudness: the smallest method there is, all of it in this file.

It shows what a new method must give; the engine has no line about it.
"""

import dataclasses
from functools import cached_property

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax import config as c
from talkface_jax.capabilities import Aspect, Control, Declaration, Goal, Table
from talkface_jax.landmarks import boxes, measures
from talkface_jax.landmarks.references import spread
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses.terms import LossTerm, between
from talkface_jax.media.images import crop_resize
from talkface_jax.methods import base
from talkface_jax.metrics.base import Average
from talkface_jax.ranges import ABOVE_0, AT_LEAST_1, ranged
from talkface_jax.records import NO_CONTROLS, SAMPLES_PER_FRAME, Motion
from talkface_jax.task import Objective

SCHEME, SIZE = get_scheme("ibug68"), 64
LOWER = SCHEME.position(14)  # the middle of the lower lip's inner edge
GAIN = Control("gain", "how far the mouth opens (default: 1)", allowed=ABOVE_0)
DECLARATION = Declaration(
    name="loudmouth",
    paper="none: a level meter",
    stages={"mouth": f"{__name__}:MouthTask"},
    chain=f"{__name__}:METHOD",
    generates=(Aspect.MOUTH,),
    controls=(GAIN,),
    goals=(Goal("mouth-opening correlation", Table.LANDMARKS, "opening_correlation", least=0.2),),
)


def loudness(samples):
    """Root mean square of every frame's sound, (t, 1)."""
    frames = -(-len(samples) // SAMPLES_PER_FRAME)
    sound = np.pad(samples, (0, frames * SAMPLES_PER_FRAME - len(samples)))
    power = np.square(sound.reshape(frames, -1)).mean(1, keepdims=True)
    return np.sqrt(power).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class MouthConfig:
    width: int = ranged(4, AT_LEAST_1)


class Net(nn.Module):
    width: int

    @nn.compact
    def __call__(self, level):
        mean = self.variable("constants", "mean", jnp.zeros, (1,))
        hidden = jnp.tanh(nn.Dense(self.width)(10 * (level - mean.value)))
        return nn.softplus(nn.Dense(1)(hidden))[..., 0] / 10


@dataclasses.dataclass(frozen=True)
class MouthView:
    name: str = "loudmouth/mouth"
    window: int = 1
    faces: bool = True

    def spec(self, batch_size):
        shapes = {"level": (batch_size, 1), "opening": (batch_size,)}
        return {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in shapes.items()}

    def sample(self, segment, start, rng, *, train):
        mesh, sound = segment.segment.landmarks[start], segment.segment.audio / np.float32(32768)
        opening = measures.mouth_opening(mesh, get_scheme("mesh478"))
        return {"level": loudness(sound)[start], "opening": np.float32(opening)}


class MouthTask(base.StageTask):
    config_class, name, generators, view = MouthConfig, "loudmouth/mouth", ("mouth",), MouthView()

    def networks(self, config):
        return {"mouth": Net(config.width)}

    @cached_property
    def objectives(self):
        term = between(lambda made, true: jnp.abs(made - true), "opening")
        return (Objective(("mouth",), (LossTerm("l1", term),)),)

    def inputs_of(self, batch):
        return {"mouth": base.inputs(batch["level"])}

    def fitted(self, samples):
        mean = np.mean([sample["level"] for sample in samples()], 0)
        return {"mouth": {"constants": {"mean": mean.astype(np.float32)}}}

    def forward(self, variables, frozen, batch, rng, *, train):
        opening, stats = self.run("mouth", variables, self.inputs_of(batch)["mouth"])
        return {"opening": opening}, stats

    def metrics(self, outputs, batch):
        return {"l1": Average.of(jnp.abs(outputs["opening"] - batch["opening"]), batch["mask"])}


class Chain:
    def __init__(self, call):
        self.call = call

    def prepare(self, track):
        geometry = boxes.crop_geometry(
            track.landmarks, valid=track.valid, scheme=SCHEME.name, margin=0.2, smooth=12.0
        )
        opening = measures.mouth_opening(geometry.points, SCHEME)
        order = spread(opening, valid=track.valid, count=3)
        return dataclasses.make_dataclass("Face", ["geometry", "order", "valid"])(
            geometry, order, track.valid
        )

    def points(self, face, samples, sources, *, gain=1.0):
        """The stillest mouth of the references on every frame, its lower lip moved down."""
        opening = np.asarray(self.call("mouth", {"level": loudness(samples)})["opening"])
        points = face.geometry.points[sources].copy()
        eyes = measures.eye_distance(points, SCHEME)
        lower = [LOWER - 1, LOWER, LOWER + 1]
        upper = points[:, SCHEME.position(13), 1]
        points[:, lower, 1] = (upper + gain * opening[: len(points)] * eyes)[:, None]
        return points

    def predict_motion(self, track, *, samples):
        points = self.points(self.prepare(track), samples, np.arange(len(track)))
        return Motion(scheme=SCHEME.name, landmarks=points)

    def start(self, track, *, samples, sources, frame_at, controls=NO_CONTROLS):
        return Session(self, self.prepare(track), samples, sources, controls.get("gain", 1.0))


class Session(base.PatchSession):
    def __init__(self, chain, face, samples, sources, gain):
        super().__init__(sources, face.valid)
        self.face, self.points = face, chain.points(face, samples, sources, gain=gain)

    def draw(self, wanted, frames):
        """The source's own face, with a dark bar as high as the mouth is open."""
        places, points = self.face.geometry.boxes[self.sources[wanted]], self.points[wanted]
        images = [crop_resize(f, box, (SIZE, SIZE)) for f, box in zip(frames, places, strict=True)]
        for image, own in zip(images, points, strict=True):
            x, top = (own[SCHEME.position(13)] * SIZE).round().astype(int)
            bottom = int(np.ceil(own[LOWER, 1] * SIZE))
            image[top:bottom, x - 4 : x + 4] = 20
        lines = [boxes.from_box(own, box) for own, box in zip(points, places, strict=True)]
        return base.Faces(np.stack(images), places, lines)


class Method(base.ChainMethod):
    declaration, config_classes = DECLARATION, {"mouth": MouthConfig}

    def programs(self, configs):
        net = Net(configs["mouth"].width)
        made = base.program(
            "mouth",
            player="mouth",
            stage="mouth",
            function=lambda variables, given: {"opening": net.apply(variables, given["level"])},
            inputs={"level": (("b", 1), jnp.float32)},
            variables=lambda: base.shapes_of(net, (1, 1)),
        )
        return (made,)

    def chain(self, configs, programs):
        return Chain(programs.call)


METHOD = Method()


def get_config(size=""):
    plan = c.TrainConfig(steps=300, eval_every=150, preview_every=0, best_metric="l1")
    optim = c.OptimConfig(lr=1e-2)
    task = MouthConfig()
    return c.to_config_dict(c.ExperimentConfig("loudmouth", "mouth", task, optim=optim, train=plan))
