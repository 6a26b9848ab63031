import jax
import numpy as np
import pytest
import toy

from talkface_jax.config import DataConfig, ExperimentConfig, MeshConfig, TrainConfig
from talkface_jax.errors import RecordError
from talkface_jax.train import loop, sharding
from talkface_jax.train.feed import DeviceBatches


class Numbers:
    """Batches that say how many were drawn before them; the one at `broken` cannot be read."""

    def __init__(self, broken=None):
        self.drawn, self.broken = 0, broken

    def __next__(self):
        if self.drawn == self.broken:
            raise RecordError("a record is damaged; prepare it again")
        self.drawn += 1
        return {"x": np.full((2, 3), self.drawn - 1, np.float32)}

    def get_state(self):
        return {"position": self.drawn}


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(MeshConfig())


def test_batches_come_in_order_where_the_step_wants_them(mesh):
    batches = DeviceBatches(Numbers(), mesh)
    for number in range(4):
        if number % 2:
            batches.prefetch()
        batch = next(batches)
        assert isinstance(batch["x"], jax.Array)
        assert batch["x"].sharding == sharding.batch_sharding(mesh)
        np.testing.assert_array_equal(batch["x"], number)


def test_one_batch_is_read_ahead_and_the_position_is_of_those_used(mesh):
    source = Numbers()
    batches = DeviceBatches(source, mesh)
    assert source.drawn == 0 and batches.get_state() == {"position": 0}
    batches.prefetch()
    batches.prefetch()
    assert source.drawn == 1 and batches.get_state() == {"position": 0}
    next(batches)
    assert source.drawn == 1 and batches.get_state() == {"position": 1}
    batches.prefetch()
    assert source.drawn == 2 and batches.get_state() == {"position": 1}


def test_the_time_of_waiting_is_that_of_the_batch_handed_out(mesh, monkeypatch):
    clock = iter([0.0, 0.5, 10.0, 12.0, 20.0, 20.25])
    batches = DeviceBatches(Numbers(), mesh)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    waited = [batches.waited]
    for _ in range(2):
        next(batches)
        batches.prefetch()
        waited.append(batches.waited)
    next(batches)
    assert [*waited, batches.waited] == [0.0, 0.5, 2.0, 0.25]


def test_an_error_waits_for_the_batch_that_it_stands_for(mesh):
    batches = DeviceBatches(Numbers(broken=2), mesh)
    for number in (1, 2):
        next(batches)
        batches.prefetch()
        assert batches.get_state() == {"position": number}
    with pytest.raises(RecordError, match="a record is damaged"):
        next(batches)
    assert batches.get_state() == {"position": 2}


def test_the_loop_reads_one_ahead_but_nothing_beyond_its_last_step(tmp_path):
    task, drawn = toy.L1Task(), []
    plan = TrainConfig(steps=3, eval_every=0, preview_every=0)
    config = ExperimentConfig("toy", "l1", task.config, data=DataConfig(batch_size=4), train=plan)
    source = toy.ToySource(on_draw=drawn.append)
    assert loop.train(task, config, workdir=tmp_path, source=source).step == 3
    assert drawn == [0, 1, 2]
