"""The official networks of face-vid2vid and LivePortrait, run from checkouts (`--torch-root`).

Nothing of that code is copied here: its own modules are loaded, unmodified, with the sizes of its
own configuration, and called as its inference scripts call them. torch must be installed.
"""

import contextlib
import importlib
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from rival import Rival

SIDE = 256
_MAP = (SIDE // 4, SIDE // 4)


class _Latent(Rival):
    """Networks by the names that they have there."""

    _networks: Mapping[str, Any]
    _keypoints: int

    def _ready(self, networks: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            name: self._wrap(network.to(self._device).eval()) for name, network in networks.items()
        }

    def _inputs(self, name: str, batch: int) -> tuple[Any, ...]:
        """Of a network's forward, in its order."""
        raise NotImplementedError

    def forward(self, name: str, batch: int) -> Callable[[], None]:
        """One forward of a network, as at inference."""
        network, inputs = self._networks[name], self._inputs(name, batch)
        return self._timed(lambda: network(*inputs), gradients=False)


class FaceVid2Vid(_Latent):
    """The unofficial face-vid2vid as `config/vox-256.yaml` has it.

    Args:
      root: the checkout.
      about: see `Rival`.
    """

    def __init__(self, root: pathlib.Path, **about: Any) -> None:
        super().__init__(**about)
        sizes = _sizes(root / "config" / "vox-256.yaml")
        common = sizes["common_params"]
        self._keypoints = common["num_kp"]
        with self._running(), _importable(root, "modules", "sync_batchnorm"):
            detectors = importlib.import_module("modules.keypoint_detector")
            generators = importlib.import_module("modules.generator")
            classes = {
                "kp_detector": detectors.KPDetector,
                "he_estimator": detectors.HEEstimator,
                "generator": generators.OcclusionAwareSPADEGenerator,
            }
            networks = {
                name: kind(**sizes[f"{name}_params"], **common) for name, kind in classes.items()
            }
        self._networks = self._ready(networks)

    def _inputs(self, name: str, batch: int) -> tuple[Any, ...]:
        image = self._random(batch, 3, SIDE, SIDE)
        if name != "generator":
            return (image,)
        points = self._random(batch, self._keypoints, 3)
        return image, {"value": points.flip(1)}, {"value": points}


class LivePortrait(_Latent):
    """LivePortrait as `src/config/models.yaml` has it.

    Args:
      root: the checkout.
      about: see `Rival`.
    """

    def __init__(self, root: pathlib.Path, **about: Any) -> None:
        super().__init__(**about)
        sizes = _sizes(root / "src" / "config" / "models.yaml")
        self._keypoints = sizes["warping_module_params"]["num_kp"]
        stitching = sizes.pop("stitching_retargeting_module_params")["stitching"]
        classes = {
            "appearance_feature_extractor": "AppearanceFeatureExtractor",
            "motion_extractor": "MotionExtractor",
            "warping_module": "WarpingNetwork",
            "spade_generator": "SPADEDecoder",
        }
        files = {"warping_module": "warping_network"}
        with self._running(), _importable(root, "src"):
            networks = {
                name: getattr(_module(files.get(name, name)), kind)(**sizes[f"{name}_params"])
                for name, kind in classes.items()
            }
            retargeting = _module("stitching_retargeting_network")
        networks["stitching"] = retargeting.StitchingRetargetingNetwork(**stitching)
        self._networks = self._ready(networks)

    def _inputs(self, name: str, batch: int) -> tuple[Any, ...]:
        if name == "spade_generator":
            return (self._random(batch, 256, *_MAP),)
        if name == "stitching":
            return (self._random(batch, 2 * 3 * self._keypoints),)
        if name == "warping_module":
            points = self._random(batch, self._keypoints, 3)
            return self._random(batch, 32, 16, *_MAP), points.flip(1), points
        return (self._random(batch, 3, SIDE, SIDE),)


def _sizes(path: pathlib.Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["model_params"]


def _module(name: str) -> Any:
    return importlib.import_module(f"src.modules.{name}")


@contextlib.contextmanager
def _importable(root: pathlib.Path, *packages: str) -> Iterator[None]:
    """A checkout's own packages can be imported; afterwards their names are free again."""
    before = set(sys.modules)
    sys.path.insert(0, str(root.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(root.resolve()))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in packages:
                del sys.modules[name]
