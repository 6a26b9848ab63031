"""The tracker's 52 blendshapes: their names, in its order, and their mirror images.

The order is mediapipe's (ARKit's names, "_neutral" before them). "Left" and "right" are the
pictured person's own.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

_ORDER = """
_neutral browDown* browInnerUp browOuterUp* cheekPuff cheekSquint* eyeBlink* eyeLookDown* eyeLookIn*
eyeLookOut* eyeLookUp* eyeSquint* eyeWide* jawForward jawLeft jawOpen jawRight mouthClose
mouthDimple* mouthFrown* mouthFunnel mouthLeft mouthLowerDown* mouthPress* mouthPucker mouthRight
mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmile* mouthStretch*
mouthUpperUp* noseSneer*
"""
NAMES: tuple[str, ...] = tuple(
    item.replace("*", side)
    for item in _ORDER.split()
    for side in (("Left", "Right") if item.endswith("*") else ("",))
)
"""All 52; a name with * above stands for its left and its right."""
POSITION: Mapping[str, int] = {name: position for position, name in enumerate(NAMES)}


def _mirrored(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


FLIP = np.array([POSITION[_mirrored(name)] for name in NAMES])
"""Position of each blendshape's mirror image."""


def mirror(scores: Float[np.ndarray, "*t 52"]) -> Float[np.ndarray, "*t 52"]:
    """The scores of the mirrored face."""
    return scores[..., FLIP]
