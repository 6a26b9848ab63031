"""A mouth that opens with loudness: a whole method in one file, the engine has no line about it."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from talkface_jax import config as c
from talkface_jax.capabilities import Aspect, Control, Declaration
from talkface_jax.landmarks import boxes, measures, schemes
from talkface_jax.losses.terms import LossTerm, between
from talkface_jax.methods import base
from talkface_jax.ranges import ABOVE_0
from talkface_jax.records import NO_CONTROLS, SAMPLES_PER_FRAME, Motion
from talkface_jax.task import Objective

SCHEME, SIZE = schemes.get_scheme("ibug68"), 64
UPPER, LOWER = SCHEME.position(13), SCHEME.position(14)  # the inner lips' middles
MouthConfig = dataclasses.make_dataclass("MouthConfig", [], frozen=True)
DECLARATION = Declaration(
    name="loudmouth",
    paper="none: a level meter",
    stages={"mouth": f"{__name__}:MouthTask"},
    chain=f"{__name__}:METHOD",
    generates=(Aspect.MOUTH,),
    controls=(Control("gain", "how far the mouth opens (default: 1)", allowed=ABOVE_0),),
)


def loudness(samples):
    sound = np.pad(samples, (0, -len(samples) % SAMPLES_PER_FRAME)).reshape(-1, SAMPLES_PER_FRAME)
    return np.sqrt(np.square(sound).mean(1, keepdims=True)).astype(np.float32)


class Net(nn.Module):
    @nn.compact
    def __call__(self, level):
        mean = self.variable("constants", "mean", jnp.zeros, (1,)).value
        return nn.softplus(nn.Dense(1)(10 * (level - mean)))[..., 0] / 10


class MouthView:
    name, window, faces = "loudmouth/mouth", 1, True

    def spec(self, batch_size):
        return base.batch_spec(batch_size, {"level": (1,), "opening": ()})

    def sample(self, segment, start, rng, *, train):
        mesh, sound = segment.segment.landmarks[start], segment.segment.audio / np.float32(32768)
        opening = measures.mouth_opening(mesh, schemes.get_scheme("mesh478"))
        return {"level": loudness(sound)[start], "opening": np.float32(opening)}


class MouthTask(base.StageTask):
    config_class, name, generators, view = MouthConfig, "loudmouth/mouth", ("mouth",), MouthView()
    entries, output = ("level",), "opening"
    l1 = LossTerm("l1", between(lambda made, true: jnp.abs(made - true), "opening"))
    objectives = (Objective(("mouth",), (l1,)),)

    def networks(self, config):
        return {"mouth": Net()}

    def fitted(self, samples):
        mean = np.mean([sample["level"] for sample in samples()], 0)
        return {"mouth": {"constants": {"mean": mean.astype(np.float32)}}}


class Chain(base.ChainMethod):
    declaration, config_classes = DECLARATION, {"mouth": MouthConfig}

    def programs(self, configs):
        ends = {"inputs": {"level": ("b", 1)}, "output": "opening"}
        return (base.network_program("mouth", Net(), player="mouth", stage="mouth", **ends),)

    def chain(self, configs, programs):
        self.call = programs.call
        return self

    def prepare(self, track, *, references=None):
        made = boxes.crop_geometry(track.landmarks, valid=track.valid, scheme=SCHEME.name)
        seen = track.valid if references is None else track.valid & references
        return base.TrackedFace(made, track.valid, np.flatnonzero(seen)[:3])

    def points(self, face, samples, sources, *, gain=1.0):
        """The source's points, the lower lip as far below the upper one as the sound is loud."""
        points = face.geometry.points[sources].copy()
        opening = np.asarray(self.call("mouth", {"level": loudness(samples)})["opening"])
        below = gain * opening[: len(points)] * measures.eye_distance(points, SCHEME)
        points[:, LOWER - 1 : LOWER + 2, 1] = (points[:, UPPER, 1] + below)[:, None]
        return points

    def predict_motion(self, track, *, samples, **known):
        return Motion("ibug68", self.points(self.prepare(track, **known), samples, slice(None)))

    def start(self, track, *, samples, sources, frame_at, controls=NO_CONTROLS):
        session = Session(sources, track.valid)
        session.face, gain = self.prepare(track), controls.get("gain", 1.0)
        session.points = self.points(session.face, samples, sources, gain=gain)
        return session


class Session(base.PatchSession):
    def draw(self, wanted, frames):
        """The source's own face, with a dark bar as high as the mouth is open."""
        places, points = self.face.geometry.boxes[self.sources[wanted]], self.points[wanted]
        images = [base.crop(f, box, SIZE) for f, box in zip(frames, places, strict=True)]
        for image, own in zip(images, points, strict=True):
            (x, top), bottom = (own[UPPER] * SIZE).astype(int), int(np.ceil(own[LOWER, 1] * SIZE))
            image[top:bottom, x - 4 : x + 4] = 20
        return base.Faces(np.stack(images), places, list(boxes.from_box(points, places)))


METHOD = Chain()


def get_config(size=""):
    plan, optim = c.TrainConfig(steps=300, eval_every=0, preview_every=0), c.OptimConfig(lr=1e-2)
    run = c.ExperimentConfig("loudmouth", "mouth", MouthConfig(), optim=optim, train=plan)
    return c.to_config_dict(run)
