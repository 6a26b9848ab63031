"""A picture and replay faces as data: the parts of a batch, and where a run goes on."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.data import replay
from talkface_jax.errors import RecordError
from talkface_jax.methods.finetuning import replay_faces
from talkface_jax.train.picture import PictureSource


class WhoView:
    """Which data set a sample is of, one number of its picture, and a draw."""

    name, window, faces, labels = "who", 1, True, True

    def spec(self, batch_size):
        raise NotImplementedError

    def sample(self, segment, start, rng, *, train):
        info = segment.segment.info
        other = segment.other_clip(rng)
        number = len(segment.frames[start])
        draw = rng.random() if train else -1
        return {"row": np.array([info.dataset == "replay", other is not None, number, draw])}


@pytest.fixture(scope="module")
def faces():
    return replay.unpack(replay_faces(), where="the package")


def source(faces, *, picture=0, seed=0):
    """The first face in the place of the user's."""
    pair = faces[picture]
    rows = {name: getattr(pair, name)[:1] for name in ("landmarks", "head", "blendshapes", "box")}
    info = dataclasses.replace(pair.info, dataset="picture")
    own = replay._segment(info, pair.frames[:1], rows)
    return PictureSource(own, faces[1:], seed=seed, lineage={"parent": "abc"})


def rows(iterator, count):
    return np.stack([next(iterator)["row"] for _ in range(count)])


def test_a_quarter_of_every_batch_is_the_picture(faces):
    batches = source(faces).train(WhoView(), batch_size=4, seed=3)
    found = rows(batches, 40)
    assert (found[..., 0].sum(1) == 3).all()
    own = found[found[..., 0] == 0]
    assert not own[:, 1].any(), "no variant stands beside another"
    assert found[found[..., 0] == 1][:, 1].all(), "everybody else has other pictures"
    assert len(np.unique(own[:, 2])) > 15
    batches.close()


def test_a_run_goes_on_where_it_was(faces):
    made = source(faces)
    whole = made.train(WhoView(), batch_size=4, seed=3)
    expected = rows(whole, 9)
    first = made.train(WhoView(), batch_size=4, seed=3)
    rows(first, 4)
    state = first.get_state()
    again = source(faces).train(WhoView(), batch_size=4, seed=3)
    again.set_state(state)
    np.testing.assert_array_equal(rows(again, 5), expected[4:])
    for other in (source(faces, picture=5), source(faces, seed=1)):
        batches = other.train(WhoView(), batch_size=4, seed=3)
        with pytest.raises(RecordError, match="does not belong to this data set"):
            batches.set_state(state)


def test_evaluation_is_of_the_picture_as_it_is(faces):
    (batch,) = source(faces).evaluation(WhoView(), batch_size=4)
    np.testing.assert_array_equal(batch["mask"], [1, 0, 0, 0])
    assert batch["row"][0].tolist() == [0, 0, len(faces[0].frames[0]), -1]
    assert source(faces).lineage == {"parent": "abc"}
    assert len(list(source(faces).spread(WhoView(), limit=10))) == 10
