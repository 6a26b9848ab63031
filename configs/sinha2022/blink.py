"""Blinks of `sinha2022`, which its paper has none of: the stage of sinha2020 (Sinha et al., IJCNN
2020), from noise, learned without labels by MMD.

base: 75-frame windows and an LSTM of 128 units, sizes and schedule of our own (unverified
defaults). Not trained here:
  talkface train --config=configs/sinha2022/blink.py:base --workdir=DIR \
    --config.data.directory=SHARDS
tiny: an LSTM of 48 units; what `make demo METHOD=sinha2022` trains on two CPU cores in two to
four minutes. Its rate of blinks depends on the training seed (0.21 to 0.38 a second by five):
  talkface train --config=configs/sinha2022/blink.py:tiny --workdir=out/demo/sinha2022/blink \
    --config.data.directory=out/demo/data
"""

from talkface_jax import config as c
from talkface_jax.methods.stages.blink import presets


def get_config(size: str = ""):
    """The experiment of one size."""
    return c.to_config_dict(presets.sizes("sinha2022", size))
