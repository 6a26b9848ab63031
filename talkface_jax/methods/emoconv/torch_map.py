"""The public releases that become working directories of the generator stage.

The unofficial face-vid2vid is released as one training checkpoint, LivePortrait as a folder.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from talkface_jax.interop.torch_network import TorchNetwork, require
from talkface_jax.interop.torch_release import TorchRelease
from talkface_jax.methods.emoconv import torch_map_facevid2vid, torch_map_liveportrait
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig, LivePortraitConfig


def _facevid2vid(config: GeneratorConfig) -> FaceVid2VidConfig:
    published = {"family": "facevid2vid"}
    require("generator: task.", config, published, code="the unofficial face-vid2vid")
    return config.facevid2vid


def _liveportrait(config: GeneratorConfig) -> LivePortraitConfig:
    require("generator: task.", config, {"family": "liveportrait"}, code="LivePortrait")
    return config.liveportrait


NETWORKS: Mapping[str, TorchNetwork | TorchRelease] = MappingProxyType(
    {
        "facevid2vid": TorchRelease(
            {
                name: network.within(GeneratorConfig, _facevid2vid)
                for name, network in torch_map_facevid2vid.NETWORKS.items()
            },
            # The discriminator belongs to that code's training, with its optimisers and counter.
            ignored=("discriminator", r"optimizer_\w+", r"epoch\w*"),
        ),
        "liveportrait": TorchRelease(
            {
                name: network.within(partial(GeneratorConfig, family="liveportrait"), _liveportrait)
                for name, network in torch_map_liveportrait.NETWORKS.items()
            }
        ),
    }
)
"""By the names that `talkface convert --stage` gives them; the config is a `GeneratorConfig`."""
