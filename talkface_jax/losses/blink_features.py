"""What of closure curves the MMD compares: position, shape, frequency, duration, interval.

Kernels on whole curves say little about when blinks come, for two curves with a blink each at
different times are as far apart as any two. The moments of frequency, duration and interval that
Sinha et al. (IJCNN 2020) match are in these sets of numbers, all differentiable. A *curve* is
`landmarks.blinks.closure` of a window: (b, t).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from talkface_jax.losses.terms import per_item_mean

# Half closed, and how gradually a frame counts as closed: the noise of open eyes counts nothing.
_HALF = 0.45
_SOFTNESS = 0.08
PATCH = 13
"""Frames of a patch: a blink with the moments before and after it."""
PATCH_STRIDE = 24
"""Frames between patches; windows begin anywhere, so all moments are seen."""
SMOOTHING = 3.0
"""Deviation in frames of the Gaussian over curves."""
LAG_SMOOTHING = 1.5
"""Deviation in frames of the Gaussian before lagged products."""
SHORT_LAGS = 10
"""Lags below this tell a blink's length, the others the time between blinks."""
LONG_LAG_WEIGHT = 3.0
"""How much more lags between blinks count."""
# In such units the closed frames of a blink and its onset are of one size.
_FRAMES_UNIT, _ONSETS_UNIT = 3.0, 0.5
PAUSES = (12, 25, 37, 50, 62)
"""Frames of the stretches that may be free of blinks."""


def closed(curve: jax.Array) -> jax.Array:
    """Whether the eyes are closed, 0 to 1: (b, t) -> (b, t)."""
    return jax.nn.sigmoid((curve - _HALF) / _SOFTNESS)


def smoothed(curve: jax.Array, *, deviation: float) -> jax.Array:
    """Gaussian smoothing where the kernel, cut at three deviations, fits: (b, t) -> (b, t - 2r)."""
    return curve @ _smoothing(curve.shape[-1], deviation)


def positions(curve: jax.Array) -> jax.Array:
    """The smoothed curve at every third frame: when eyes are closed."""
    return smoothed(closed(curve), deviation=SMOOTHING)[:, ::3]


def patches(curve: jax.Array) -> jax.Array:
    """Stretches of `PATCH` frames: (b, t) -> (b·k, PATCH), how blinks look."""
    starts = range(0, curve.shape[-1] - PATCH + 1, PATCH_STRIDE)
    return jnp.concatenate([curve[:, start : start + PATCH] for start in starts])


def lagged_products(curve: jax.Array) -> jax.Array:
    """Sums over time of closed(t) · closed(t + lag), lag = 0 … : (b, t) -> (b, lags).

    Between blinks they are the histogram of intervals that lie within the window.
    """
    smooth = smoothed(closed(curve), deviation=LAG_SMOOTHING)
    frames = smooth.shape[-1]
    spectrum = jnp.fft.rfft(smooth, 2 * frames, axis=-1)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    products = jnp.fft.irfft(power, axis=-1)[:, :frames]
    weights = np.where(np.arange(frames) < SHORT_LAGS, 1.0, LONG_LAG_WEIGHT)
    return products * weights.astype(np.float32)


def onsets(curve: jax.Array) -> jax.Array:
    """How often the eyes close: (b, t) -> (b,)."""
    return jnp.sum(jax.nn.relu(jnp.diff(closed(curve))), -1)


def counts(curve: jax.Array) -> jax.Array:
    """How many frames eyes are closed and how often they close, in about one unit:
    (b, t) -> (b, 2); a blink that is broken in two is far from every real window."""
    frames = jnp.sum(closed(curve), -1)
    return jnp.stack([frames / _FRAMES_UNIT, onsets(curve) / _ONSETS_UNIT], -1)


def pauses(curve: jax.Array) -> jax.Array:
    """Share of the stretches of each length in `PAUSES` that hold a blink, the whole window last:
    (b, t) -> (b, k); what they miss are pauses of at least that length."""
    shut = closed(curve)
    lengths = [length for length in PAUSES if length < shut.shape[-1]]
    highest = [
        jax.lax.reduce_window(shut, -jnp.inf, jax.lax.max, (1, length), (1, 1), "VALID")
        for length in lengths
    ]
    return jnp.stack([*(jnp.mean(item, -1) for item in highest), jnp.max(shut, -1)], -1)


def shape(track: jax.Array, curve: jax.Array) -> jax.Array:
    """Mean displacement while closed, 0 without a blink: (b, t, 22, 2), (b, t) -> (b, 44)."""
    shut = closed(curve)
    total = jnp.einsum("bt,btpd->bpd", shut, track)
    return (total / (1.0 + jnp.sum(shut, -1))[:, None, None]).reshape(len(track), -1)


def out_of_range(track: jax.Array, real: jax.Array) -> jax.Array:
    """Mean squared excess of a track beyond the range of the real ones, in that range:
    (b, t, 22, 2) twice -> (b,)."""
    low, high = jnp.min(real, (0, 1)), jnp.max(real, (0, 1))
    excess = jax.nn.relu(track - high) + jax.nn.relu(low - track)
    return per_item_mean(jnp.square(excess / jax.lax.stop_gradient(high - low + 1e-6)))


def _smoothing(frames: int, deviation: float) -> Float32[np.ndarray, "t k"]:
    """The matrix of a Gaussian filter without padding."""
    reach = int(3 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    matrix = np.zeros((frames, frames - 2 * reach), np.float32)
    for column in range(matrix.shape[1]):
        matrix[column : column + len(kernel), column] = kernel / kernel.sum()
    return matrix
