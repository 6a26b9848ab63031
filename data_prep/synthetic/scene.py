"""Camera, light and background of a clip."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float32

SIZE = 256


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that stays fixed through a clip except the person.

    Attributes:
      fov: vertical field of view in degrees.
      camera: position in head units; it looks along -z.
      directions: unit vectors towards the key and fill lights.
      lights: linear colours of key, fill, sky and ground.
      background: linear colours.
    """

    fov: float
    camera: Float32[np.ndarray, "3"]
    directions: Float32[np.ndarray, "2 3"]
    lights: Float32[np.ndarray, "4 3"]
    background: Float32[np.ndarray, "h w 3"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        height, width = self.background.shape[:2]
        return height, width

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in head units to pixels: x right, y down, depth."""
        height, width = self.size
        focal = 0.5 * height / np.tan(np.radians(self.fov) / 2)
        view = points - self.camera
        depth = -view[..., 2]
        x = view[..., 0] * focal / depth + width / 2
        y = height / 2 - view[..., 1] * focal / depth
        return np.stack([x, y, depth], axis=-1).astype(np.float32)


def _unit(yaw: float, pitch: float) -> np.ndarray:
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    warm = rng.uniform(-spread, spread)
    return np.array([1 + warm, 1.0, 1 - warm])


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A gradient with soft blobs of light, as of a blurred room."""
    hue = rng.random(3) * 0.35 + 0.35
    first, second = hue * rng.uniform(0.45, 1.1), hue[rng.permutation(3)] * rng.uniform(0.45, 1.1)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    ramp = np.clip(0.5 + 0.8 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)[..., None]
    blobs = cv2.resize(rng.random((5, 5)), (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    image = (first * (1 - ramp) + second * ramp) * (0.85 + 0.3 * np.clip(blobs, 0, 1))
    image *= 1 - 0.35 * (x**2 + y**2)[..., None]
    grain = rng.normal(0, 0.006, (size, size, 1))
    return np.clip(image + grain, 0, 1).astype(np.float32) ** np.float32(2.2)


def sample_scene(rng: np.random.Generator, *, size: int = SIZE) -> Scene:
    """Draws a scene: 15-16 degrees, small shifts, a key light from above and either side."""
    fov = rng.uniform(15.0, 16.0)
    visible = rng.uniform(2.05, 2.30)
    distance = visible / 2 / np.tan(np.radians(fov) / 2)
    camera = np.array([rng.uniform(-0.08, 0.08), -0.16 + rng.uniform(-0.04, 0.04), distance])
    side = rng.choice([-1.0, 1.0])
    key = _unit(side * rng.uniform(8, 55), rng.uniform(15, 50))
    fill = _unit(-side * rng.uniform(40, 80), rng.uniform(-10, 25))
    strength = rng.uniform(0.75, 1.1)
    lights = np.stack(
        [
            strength * _tint(rng, 0.06),
            rng.uniform(0.10, 0.28) * _tint(rng, 0.10),
            rng.uniform(0.42, 0.58) * _tint(rng, 0.05),
            rng.uniform(0.20, 0.32) * _tint(rng, 0.05),
        ]
    )
    return Scene(
        fov=float(fov),
        camera=camera.astype(np.float32),
        directions=np.stack([key, fill]).astype(np.float32),
        lights=lights.astype(np.float32),
        background=_background(rng, size),
    )
