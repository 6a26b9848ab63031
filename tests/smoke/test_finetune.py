"""What fine-tuning on one picture does to a trained bundle: to the picture, to other faces, and to
the inside of their mouths.

Slow: without TALKFACE_DEMO=DIR (output of `talkface demo`, of the methods that lie there) the demo
of every method runs here first.
"""

import dataclasses
import time

import cv2
import jax
import numpy as np
import pytest

from talkface_jax import api, config
from talkface_jax.data import pipeline
from talkface_jax.data.picture import picture_segment
from talkface_jax.data.reader import SegmentReader
from talkface_jax.emotions import NEUTRAL
from talkface_jax.export import load
from talkface_jax.export.bundle import CONFIG
from talkface_jax.landmarks import measures
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.methods import registry
from talkface_jax.metrics.lpips import load_lpips
from talkface_jax.train.step import make_forward

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SCHEME = get_scheme("ibug68")
INNER = np.arange(60, 68)
HELD_OUT = 64
OPEN = 0.08
"""Mouths that are open further than this, in distances of the eyes' outer corners, are open."""
GAIN, LOSS = 0.8, 1.1
"""LPIPS of the picture, and of held-out faces, over that of the parent."""
INTERIOR = 6.0
"""Levels of 255 by which the inside of open mouths may differ from the parent's, on average."""


@dataclasses.dataclass
class Measured:
    """LPIPS of the picture and of held-out faces, and what was painted of these."""

    picture: float
    others: float
    images: np.ndarray


def samples(task, folder):
    """Held-out faces, spread over the test split, as evaluation sees them."""
    dataset = pipeline.open_dataset(folder, "test")
    batches = pipeline.eval_batches(dataset, task.view, batch_size=8, batches=HELD_OUT // 8)
    return list(batches)


def measure(bundle, task, picture, others):
    """Paints the picture and the held-out faces with the bundle's weights."""
    variables = {"renderer": load.read_variables(bundle, "renderer")}
    forward = jax.jit(make_forward(task))
    lpips = load_lpips()

    def paint(batch):
        image = np.asarray(forward(variables, {}, batch)["image"])
        return np.rint(image * 255).clip(0, 255).astype(np.uint8)

    own = lpips(paint(picture), picture["face"])[0]
    images = np.concatenate([paint(batch) for batch in others])
    truth = np.concatenate([batch["face"] for batch in others])
    return Measured(float(own), float(lpips(images, truth).mean()), images)


def interior(one, two, points):
    """Mean difference of two sets of images inside of open mouths, in levels; and how many."""
    opened = measures.mouth_opening(points, SCHEME) > OPEN
    found = []
    for a, b, own in zip(one[opened], two[opened], points[opened], strict=True):
        mask = np.zeros(a.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(own[INNER] * len(a)).astype(np.int32)], 1)
        found.append(np.abs(a.astype(float) - b)[mask > 0].mean())
    return float(np.mean(found)), len(found)


def compare(parent, data, portrait, out):
    """Fine-tunes on a portrait; the numbers, before and after."""
    method = load.check_bundle(parent).method
    tuning = registry.fine_tuning(method)
    kind = registry.get_method(method).config_classes[tuning.stage]
    values = load.load_bundle(parent).configs[tuning.stage]
    settings = dataclasses.replace(config.build(kind, values, where=CONFIG), adversarial_weight=0.0)
    task = registry.build_task(method, tuning.stage, settings)
    others = samples(task, data)
    segment = picture_segment(portrait, frames=1)
    info = dataclasses.replace(segment.info, emotion=NEUTRAL, level=1)
    reader = SegmentReader.of(dataclasses.replace(segment, info=info))
    alone = task.view.sample(reader, 0, np.random.default_rng(0), train=False)
    picture = {name: np.asarray(value)[None] for name, value in alone.items()}
    before = measure(parent, task, picture, others)
    start = time.monotonic()
    tuned = api.finetune(parent, face=portrait, out=out)
    seconds = time.monotonic() - start
    after = measure(out, task, picture, others)
    points = np.concatenate([batch["points"] for batch in others])
    inside, count = interior(before.images, after.images, points)
    print(
        f"{tuned}\npicture {before.picture:.4f} -> {after.picture:.4f}, held-out faces "
        f"{before.others:.4f} -> {after.others:.4f}, inside of {count} open mouths {inside:.2f} "
        f"levels from the parent's, {seconds:.0f} s"
    )
    return before, after, inside, count


def test_the_picture_gets_better_and_other_faces_hardly_worse(walked, data_dir, tmp_path):
    method, demo = walked
    if not registry.declaration(method).finetuning:
        pytest.skip(f"{method} cannot be fine-tuned")
    before, after, inside, count = compare(
        demo / method / "bundle", demo / "data", data_dir / "astronaut.jpg", tmp_path / "mine"
    )
    assert after.picture <= GAIN * before.picture
    assert after.others <= LOSS * before.others
    assert count >= 10 and inside <= INTERIOR
