"""Image metrics on the host: PSNR and SSIM of aligned uint8 crops.

Conventions, to be stated with every number: RGB, range 255; PSNR over all pixels and channels of a
frame, capped at 100 dB (reached by identical frames, where the ratio is infinite); SSIM with an 11
x 11 Gaussian window (sigma 1.5), K1 = 0.01, K2 = 0.03, population covariance, the mean over
channels and over the pixels whose window lies inside the crop. Both are per frame; a clip's value
is the mean over its valid frames.
"""

import numpy as np
from jaxtyping import Float64, UInt8

RANGE = 255.0
MAX_PSNR = 100.0
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
CONVENTION = (
    f"RGB, range 255; PSNR per frame, capped at {MAX_PSNR:g} dB for identical frames; SSIM with an "
    f"{SSIM_WINDOW}x{SSIM_WINDOW} Gaussian window (sigma {SSIM_SIGMA}), mean over channels"
)


def _check(pred: np.ndarray, truth: np.ndarray) -> None:
    if pred.shape != truth.shape or pred.shape[-1:] != (3,):
        raise ValueError(f"images must be RGB of one shape, not {pred.shape} and {truth.shape}")
    if pred.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(f"images must be uint8, not {pred.dtype} and {truth.dtype}")


def psnr(
    pred: UInt8[np.ndarray, "*t h w 3"], truth: UInt8[np.ndarray, "*t h w 3"]
) -> Float64[np.ndarray, "*t"]:
    """Peak signal-to-noise ratio in dB of each frame, 10 log10(255^2 / MSE), at most 100.

    Raises:
      ValueError: the arrays are not uint8 RGB of one shape.
    """
    _check(pred, truth)
    error = pred.astype(np.float32) - truth.astype(np.float32)
    mse = np.mean(np.square(error), axis=(-3, -2, -1), dtype=np.float64)
    floor = RANGE**2 / 10 ** (MAX_PSNR / 10)
    return 10 * np.log10(RANGE**2 / np.maximum(mse, floor))


def ssim(
    pred: UInt8[np.ndarray, "*t h w 3"], truth: UInt8[np.ndarray, "*t h w 3"]
) -> Float64[np.ndarray, "*t"]:
    """Structural similarity of each frame (Wang et al. 2004), 1 for identical frames.

    Raises:
      ValueError: the arrays are not uint8 RGB of one shape, or smaller than the 11 x 11 window.
    """
    from skimage.metrics import structural_similarity

    _check(pred, truth)
    if min(pred.shape[-3:-1]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels")
    frames = pred.reshape(-1, *pred.shape[-3:]), truth.reshape(-1, *truth.shape[-3:])
    values = [
        structural_similarity(
            a.astype(np.float32),
            b.astype(np.float32),
            gaussian_weights=True,
            sigma=SSIM_SIGMA,
            use_sample_covariance=False,
            data_range=RANGE,
            channel_axis=-1,
        )
        for a, b in zip(*frames, strict=True)
    ]
    return np.asarray(values, np.float64).reshape(pred.shape[:-3])
