import numpy as np

from talkface_jax.landmarks import blendshapes


def test_names_are_in_the_trackers_order():
    from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

    theirs = [item.name.replace("_", "").lower() for item in Blendshapes]
    assert [name.lstrip("_").lower() for name in blendshapes.NAMES] == theirs
    assert blendshapes.POSITION["mouthSmileLeft"] == 44


def test_mirror_swaps_sides_and_nothing_else():
    scores = np.arange(2 * 52, dtype=np.float32).reshape(2, 52)
    found = blendshapes.mirror(scores)
    at = blendshapes.POSITION
    assert found[1, at["mouthSmileLeft"]] == scores[1, at["mouthSmileRight"]]
    assert found[0, at["jawRight"]] == scores[0, at["jawLeft"]]
    assert found[0, at["browInnerUp"]] == scores[0, at["browInnerUp"]]
    np.testing.assert_array_equal(blendshapes.mirror(found), scores)
