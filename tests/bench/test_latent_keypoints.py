"""The networks of the public latent-keypoint generators at their published sizes, beside the
official code where `--torch-root` names a checkout of it.

Inference, random weights, the same number of threads, float32 (and bfloat16 on a GPU), in turns.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import measure
import pytest
from code_bases import FACEVID2VID, LIVEPORTRAIT, CodeBase

from talkface_jax.models import counts
from talkface_jax.models.render.latent_keypoints import generator
from talkface_jax.models.render.latent_keypoints.appearance import Appearance
from talkface_jax.models.render.latent_keypoints.generator import LatentGenerator
from talkface_jax.models.render.latent_keypoints.head_pose import HeadPose
from talkface_jax.models.render.latent_keypoints.keypoints import KeypointDetector
from talkface_jax.models.render.latent_keypoints.motion_extractor import MotionExtractor
from talkface_jax.models.render.latent_keypoints.retargeting import Retargeting
from talkface_jax.models.render.latent_keypoints.spade_decoder import SpadeDecoder
from talkface_jax.models.render.latent_keypoints.warping import Warping

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

GPU = jax.default_backend() == "gpu"
COMPUTE = ("float32", "bfloat16") if GPU else ("float32",)
IMAGE, VOLUME, FEATURES = (256, 256, 3), (16, 64, 64, 32), (64, 64, 256)


@dataclasses.dataclass(frozen=True)
class Network:
    """One network: of what code, its name there, ours, and what it takes for each picture.

    `calls` are timed as one, where a single call is too short.
    """

    base: CodeBase
    name: str
    net: nn.Module
    inputs: tuple[tuple[int, ...], ...] = (IMAGE,)
    calls: int = 1


NETWORKS = (
    Network(FACEVID2VID, "kp_detector", KeypointDetector()),
    Network(FACEVID2VID, "he_estimator", HeadPose()),
    Network(FACEVID2VID, "generator", LatentGenerator(), (IMAGE, (15, 3), (15, 3))),
    Network(
        LIVEPORTRAIT,
        "appearance_feature_extractor",
        Appearance(generator.LIVEPORTRAIT.appearance),
    ),
    Network(LIVEPORTRAIT, "motion_extractor", MotionExtractor()),
    Network(
        LIVEPORTRAIT,
        "warping_module",
        Warping(generator.LIVEPORTRAIT.warping),
        (VOLUME, (21, 3), (21, 3)),
    ),
    Network(
        LIVEPORTRAIT, "spade_generator", SpadeDecoder(generator.LIVEPORTRAIT.decoder), (FEATURES,)
    ),
    Network(LIVEPORTRAIT, "stitching", Retargeting(), ((21, 3), (21, 3)), calls=100),
)


def _repeated(run, calls):
    def repeat():
        for _ in range(calls - 1):
            run()
        return run()

    return repeat


@pytest.mark.parametrize("compute", COMPUTE)
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("network", NETWORKS, ids=[f"{x.base.name}-{x.name}" for x in NETWORKS])
def test_network(board, officials, network, batch, compute):
    spec = {
        str(i): jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
        for i, shape in enumerate(network.inputs)
    }
    given = list(jax.device_put(measure.inputs(spec)).values())
    shapes = jax.eval_shape(network.net.init, jax.random.key(0), *given)
    variables = measure.weights(shapes, compute)
    function = jax.jit(network.net.apply)
    rivals = officials(network.base, compute)
    board.against(
        f"{network.base.name} {network.name}, batch {batch}",
        _repeated(lambda: function(variables, *given), network.calls),
        {
            title: _repeated(rival.forward(network.name, batch), network.calls)
            for title, rival in rivals.items()
        },
        items=network.calls,
        their_items=network.calls,
        repeats=10 if GPU else 3,
        flops=counts.count_flops(function, variables, *given),
        compute=compute,
        detail=f"published size, forward, {compute}",
    )
