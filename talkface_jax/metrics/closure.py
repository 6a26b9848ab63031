"""Whether the lips meet where p, b and m are spoken.

The moments come from phoneme times where these are known, else from the letters p, b and m that the
packaged recogniser (`features.ctc29`) hears, so that any footage can be scored. Measured on 122
synthetic clips, whose voice the recogniser knows (in brackets: the 32 test clips, whose sentences
it does not): 92 % (84 %) of the 298 heard moments lie within 0.1 s of a spoken p, b or m, half of
them within 0.015 s (after a random shift 12 % do), and 86 % (85 %) of the 292 spoken ones are
heard. By the defaults the lips of the tracked truth meet at 92 % (98 %) of the spoken and 86 % (81
%) of the heard ones, and at 31 to 34 % of moments that are shifted by a random time. So read the
number beside the truth's and beside that of shifted audio. Of recorded voices the recogniser misses
most (in 8.8 s of a real speech it hears two): give phoneme times where there are any.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from talkface_jax.features import alphabet, ctc29
from talkface_jax.records import AUDIO_RATE, FPS

LETTERS = ("p", "b", "m")
BOUND = 20.0
"""Per cent of the clip's 95th percentile of mouth opening, below which lips have met."""
WINDOW = 0.06
"""Seconds before and after a moment in which that may happen: three frames."""
LEAST = 2.0
"""A mouth whose 95th percentile is below this, in per cent of the eye distance, never opens."""
_WIDE = 95
_NUMBERS = tuple(int(alphabet.encode(letter)[0]) for letter in LETTERS)
_ROW_SECONDS = ctc29.ROW_SAMPLES / AUDIO_RATE
CONVENTION = (
    "share of the spoken p, b, m, as the packaged recogniser ctc29 hears them in the true sound, "
    f"within {WINDOW:g} s of which the mouth's opening falls below {BOUND:g} % of its own "
    f"{_WIDE}th percentile in the clip; a mouth that never opens ({LEAST:g} % of the eye distance) "
    "closes on nothing; by chance about a third"
)


@dataclasses.dataclass(frozen=True)
class Closures:
    """At how many of the moments the lips met; moments without a face nearby are left out."""

    closed: int
    moments: int

    @property
    def share(self) -> float:
        """0 to 1; NaN without moments."""
        return self.closed / self.moments if self.moments else float("nan")

    def merge(self, other: "Closures") -> "Closures":
        """Over both clips."""
        return Closures(self.closed + other.closed, self.moments + other.moments)


def spoken(phonemes: Sequence[str], times: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, " m"]:
    """The moments in seconds, the middles of the phonemes p, b and m.

    Args:
      phonemes: IPA symbols.
      times: begin and end of each, in seconds of the clip.
    """
    chosen = np.isin(np.asarray(phonemes, str), LETTERS)
    return np.asarray(times, np.float64).reshape(-1, 2)[chosen].mean(1)


def heard(logits: Float[np.ndarray, "m 29"]) -> Float[np.ndarray, " m"]:
    """The moments in seconds: middles of the runs of p, b or m on CTC's best path.

    Args:
      logits: rows of `features.ctc29`, row i about samples 320 i to 320 i + 320.
    """
    best = np.asarray(logits).argmax(-1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    runs = [(a, b) for a, b in itertools.pairwise(edges) if best[a] in _NUMBERS]
    return np.array([(a + b) / 2 * _ROW_SECONDS for a, b in runs], np.float64)


def closures(
    opening: Float[np.ndarray, " t"],
    moments: Float[np.ndarray, " k"],
    *,
    valid: Bool[np.ndarray, " t"] | None = None,
    bound: float = BOUND,
    window: float = WINDOW,
) -> Closures:
    """Counts the moments at which a mouth is shut.

    A frame counts for a moment where its middle lies within `window`.

    Args:
      opening: inner-lip gap over the eye distance (`landmarks.measures.mouth_opening`), frame 0
        from second 0 on; NaN in frames that do not count.
      moments: `spoken` or `heard`, in seconds.
      valid: frames with a face; all by default.
      bound: per cent of the opening's 95th percentile; relative to the clip's own motion, because a
        still mouth would else be shut at every moment, or a surprised one at none.
      window: seconds to either side.

    Raises:
      ValueError: `opening` and `valid` differ in length.
    """
    seen = np.isfinite(opening)
    if valid is not None:
        if len(valid) != len(opening):
            raise ValueError(f"{len(opening)} openings for {len(valid)} frames")
        seen = seen & valid
    if not seen.any():
        return Closures(0, 0)
    wide = float(np.percentile(opening[seen], _WIDE))
    shut = seen & (opening < bound / 100 * wide) & (100 * wide >= LEAST)
    middles = (np.arange(len(opening)) + 0.5) / FPS
    near = np.abs(middles - np.asarray(moments, np.float64)[:, None]) <= window
    counted = (near & seen).any(1)
    return Closures(int((near & shut).any(1).sum()), int(counted.sum()))
