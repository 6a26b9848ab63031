"""Mean and deviation of what a network hears, computed from samples before training."""

import numpy as np

# A feature that hardly varies in the samples is not blown up.
_MIN_DEVIATION = 1e-3


class FeatureMoments:
    """Running mean and deviation of the columns of feature windows (…, f)."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, np.zeros(1), np.zeros(1)

    def add(self, windows: np.ndarray) -> None:
        """Takes further windows in."""
        wide = np.asarray(windows, np.float64).reshape(-1, windows.shape[-1])
        self._count += len(wide)
        self._sum = self._sum + wide.sum(0)
        self._squares = self._squares + np.square(wide).sum(0)

    def constants(self) -> dict[str, np.ndarray]:
        """`feature_mean` and `feature_deviation` (f,), as motion networks take them."""
        mean = self._sum / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0))
        return {
            "feature_mean": mean.astype(np.float32),
            "feature_deviation": np.maximum(deviation, _MIN_DEVIATION).astype(np.float32),
        }
