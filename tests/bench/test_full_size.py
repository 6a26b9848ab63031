"""The published networks: synthesis, training and starting up; beside the official code where
`--torch-root` names a checkout of it.

Same sizes, random weights, the same number of threads, float32 (and bfloat16 on a GPU), in turns.
"""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import measure
import numpy as np
import pytest
from code_bases import IP_LAP

from talkface_jax import config as c
from talkface_jax.methods.iplap import programs as iplap
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask
from talkface_jax.models import counts
from talkface_jax.models.frozen.vgg import VGG19, Vgg
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

GPU = jax.default_backend() == "gpu"
COMPUTE = ("float32", "bfloat16") if GPU else ("float32",)
REPEATS = 10 if GPU else 3


def _measure(board, name, run, rivals, *, their, **about):
    """One row for ours alone, or two for each of the official variants."""
    theirs = {title: their(rival) for title, rival in rivals.items()}
    board.against(name, run, theirs, repeats=REPEATS, **about)


@pytest.mark.parametrize("compute", COMPUTE)
@pytest.mark.parametrize("references", [3, 25])
def test_renderer(board, officials, references, compute):
    """Frames in batches of 8 with the references encoded once a clip, as `synthesize` does."""
    config, frames = RenderConfig(), 8
    encode, render = iplap.references_program(config), iplap.render_program(config)
    variables = {"renderer": measure.weights(render.variables()["renderer"], compute)}
    dims = {"b": frames, "r": references}

    def inputs(program, names):
        spec = {
            name: jax.ShapeDtypeStruct([dims.get(dim, dim) for dim in shape], dtype)
            for name, (shape, dtype) in program.inputs.items()
            if name in names
        }
        return jax.device_put(measure.inputs(spec))

    features = jax.jit(encode.function)(variables, inputs(encode, encode.inputs))
    given = {**inputs(render, set(render.inputs) - set(features)), **features}
    function = jax.jit(render.function)
    _measure(
        board,
        f"renderer, a frame, {references} references",
        lambda: function(variables, given),
        officials(IP_LAP, compute),
        their=lambda rival: rival.frame(references),
        items=frames,
        flops=counts.count_flops(function, variables, given) / frames,
        compute=compute,
        detail=f"published size, batches of {frames}, {compute}",
    )


@pytest.mark.parametrize("compute", COMPUTE)
def test_landmark_generator(board, officials, compute):
    """The whole network on 32 windows, every window with references of its own."""
    batch, net = 32, LandmarkTransformer()
    shapes = ((5, 80, 16), (5, 74, 2), (15, 74, 2), (15, 57, 2))
    spec = {str(i): jax.ShapeDtypeStruct((batch, *s), jnp.float32) for i, s in enumerate(shapes)}
    given = list(jax.device_put(measure.inputs(spec)).values())
    variables = measure.weights(jax.eval_shape(net.init, jax.random.key(0), *given), compute)
    function = jax.jit(net.apply)
    _measure(
        board,
        "landmark generator, batch 32",
        lambda: function(variables, *given),
        officials(IP_LAP, compute),
        their=lambda rival: rival.landmarks(batch),
        flops=counts.count_flops(function, variables, *given),
        compute=compute,
        detail=f"published size, forward, {compute}",
    )


def test_landmarks_of_a_clip(board, officials):
    """32 windows at stride 1 as synthesis makes them: references once, encoders once a frame, then
    the windows. The official script gives all of these to the whole network."""
    config, windows = MotionConfig(), 32
    programs = (
        iplap.motion_references_program(config),
        iplap.motion_frames_program(config),
        iplap.motion_program(config),
    )
    variables = {"motion": measure.weights(programs[0].variables()["motion"], "float32")}
    window = np.arange(windows)[:, None] + np.arange(5)

    def make(program, batch):
        spec = {
            name: jax.ShapeDtypeStruct([{"b": batch}.get(dim, dim) for dim in shape], dtype)
            for name, (shape, dtype) in program.inputs.items()
        }
        return jax.jit(program.function), jax.device_put(measure.inputs(spec))

    (refer, known), (encode, seen), (predict, given) = (
        make(program, batch)
        for program, batch in zip(programs, (0, windows + 4, windows), strict=True)
    )

    def run():
        tokens = encode(variables, seen)
        spread = {key: jnp.asarray(leaf)[window] for key, leaf in tokens.items()}
        return predict(variables, {**given, **spread, **refer(variables, known)})

    _measure(
        board,
        "landmarks of 32 windows of a clip",
        run,
        officials(IP_LAP, "float32"),
        their=lambda rival: rival.landmarks(windows),
        flops=counts.count_flops(run),
        detail="published size, stride 1, float32",
    )


def _stepper(config, task, batch_size, compute, frozen):
    """A closure that trains; the state is donated from call to call."""
    from talkface_jax.train import sharding
    from talkface_jax.train.programs import Programs

    experiment = c.ExperimentConfig(
        method="iplap",
        stage=task.stage,
        task=config,
        data=c.DataConfig(batch_size=batch_size),
        train=c.TrainConfig(compute=compute),
    )
    mesh = sharding.make_mesh(experiment.mesh, devices=jax.devices()[:1])
    programs = Programs(task, experiment, mesh)
    step, frozen = programs.step_at(0), programs.put_frozen(frozen)
    batch = sharding.put_batch(measure.inputs(task.view.spec(batch_size)), mesh)
    held = [jax.device_put(measure.filled(programs.state_shapes), programs.state_shardings)]

    def update():
        held[0], metrics = step(held[0], frozen, batch)
        return metrics

    return update, counts.count_flops(step, programs.state_shapes, frozen, batch)


@pytest.mark.parametrize("compute", COMPUTE)
def test_gan_step(board, officials, compute):
    """Renderer and discriminator with every loss term; VGG-19 untrained on both sides."""
    batch = 16 if GPU else 2
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    vgg = jax.eval_shape(Vgg(VGG19).init, jax.random.key(0), image)["params"]
    config = RenderConfig()
    frozen = {"vgg": measure.filled(vgg)}
    update, flops = _stepper(config, RenderTask(config), batch, compute, frozen)
    _measure(
        board,
        f"GAN training step, batch {batch}",
        update,
        officials(IP_LAP, compute),
        their=lambda rival: rival.gan_step(batch),
        flops=flops,
        compute=compute,
        detail=f"published size, 3 references, {compute}",
    )


@pytest.mark.parametrize("compute", COMPUTE)
def test_landmark_step(board, officials, compute):
    batch = 128 if GPU else 16
    config = MotionConfig()
    update, flops = _stepper(config, MotionTask(config), batch, compute, {})
    _measure(
        board,
        f"landmark training step, batch {batch}",
        update,
        officials(IP_LAP, compute),
        their=lambda rival: rival.landmark_step(batch),
        flops=flops,
        compute=compute,
        detail=f"published size, {compute}",
    )


_START = """
import time; begin = time.perf_counter()
from talkface_jax import runtime; runtime.enable_compilation_cache()
import sys; sys.path.insert(0, sys.argv[1])
import jax, measure
from talkface_jax.methods.iplap import programs
from talkface_jax.methods.iplap.render.config import RenderConfig
config = RenderConfig()
for make, batch in ((programs.references_program, 3), (programs.render_program, 2)):
    program = make(config)
    spec = {
        name: jax.ShapeDtypeStruct([{"b": batch, "r": 3}.get(dim, dim) for dim in shape], dtype)
        for name, (shape, dtype) in program.inputs.items()
    }
    variables = measure.filled(program.variables())
    jax.block_until_ready(jax.jit(program.function)(variables, measure.inputs(spec)))
print(time.perf_counter() - begin, measure.peak_rss_mib())
"""


def test_start(board, tmp_path):
    """A process from its start to its first two frames, without and with a compilation cache."""
    here = pathlib.Path(__file__).parent
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    } | {"TALKFACE_CACHE": str(tmp_path)}
    for name in ("first start", "cached start"):
        done = subprocess.run(
            [sys.executable, "-c", _START, str(here)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, peak = map(float, done.stdout.split())
        detail = f"published renderer, 2 frames, 3 references, peak memory {peak:.0f} MiB"
        board.value(f"renderer, {name}", "s", seconds, detail=detail)
