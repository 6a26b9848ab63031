"""Networks of a parity case, run with what lies on their way."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.interop.cases import MANIFEST, Case
from talkface_jax.interop.torch_network import TorchNetwork
from talkface_jax.models.render.latent_keypoints.placement import Pose


def case_variables(case: Case, name: str, network: TorchNetwork, config: Any) -> Any:
    """A network's variables from the state_dict that the case was made with.

    Args:
      case: the case.
      name: of the network in its manifest.
      network: how it is read.
      config: of its family.
    """
    source = f"{name} in {case.folder / MANIFEST}"
    return network.read(case.state_dict(name), config, source=source)[0]


def run_tapped(
    net: nn.Module, variables: Any, *inputs: Any, taps: Mapping[str, str]
) -> tuple[Any, dict[str, np.ndarray]]:
    """The network's output, and outputs of modules in it in PyTorch's layout.

    Args:
      net: in evaluation mode.
      variables: its own.
      inputs: arrays, taken in float32.
      taps: names -> paths of modules, joined by slashes.

    Returns:
      The output, as it is; the modules' outputs by name, channels before space.
    """
    paths = set(taps.values())

    def wanted(module: nn.Module, method: str) -> bool:
        return method == "__call__" and "/".join(module.path) in paths

    @jax.jit
    def run(variables: Any, *inputs: jax.Array) -> Any:
        return net.apply(
            variables, *inputs, capture_intermediates=wanted, mutable=["intermediates"]
        )

    output, state = run(variables, *(jnp.asarray(x, jnp.float32) for x in inputs))
    found = {}
    for name, path in taps.items():
        values: Any = state["intermediates"]
        for part in (*path.split("/"), "__call__"):
            values = values[part]
        found[name] = channels_first(values[0])
    return output, found


def channels_first(x: Any) -> np.ndarray:
    """(b, *space, c) -> (b, c, *space)."""
    return np.moveaxis(np.asarray(x), -1, 1)


def pictures(u8: np.ndarray) -> np.ndarray:
    """Bytes (b, 3, h, w) -> (b, h, w, 3) in [0, 1]."""
    return np.moveaxis(u8, 1, -1).astype(np.float32) / 255


def pose_outputs(
    pose: Pose, *, degrees: Callable[[jax.Array], jax.Array], rotation: Callable[..., jax.Array]
) -> dict[str, np.ndarray]:
    """What the cases hold of a pose, under their names.

    Args:
      pose: of the network.
      degrees: an angle of its bins.
      rotation: of yaw, pitch and roll in degrees.
    """
    logits = {name: getattr(pose, name) for name in ("yaw", "pitch", "roll")}
    angles = {name: degrees(bins) for name, bins in logits.items()}
    found = {
        **logits,
        **{f"{name}_degrees": angle for name, angle in angles.items()},
        "rotation": rotation(**angles),
        "t": pose.translation,
        "exp": pose.expression.reshape(len(pose.translation), -1),
    }
    return {name: np.asarray(array) for name, array in found.items()}
