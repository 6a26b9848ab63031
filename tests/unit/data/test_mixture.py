import json

import numpy as np
import pytest
from reading import WhereView, interleaved, take

from talkface_jax.data import pipeline
from talkface_jax.data.mixture import Mixture, Shares
from talkface_jax.errors import RecordError

# Speakers 1 to 4 are in one directory, 11 and 12 in the other; windows of 5 frames.
WINDOWS = {"one": 26 + 11 + 5 + 8, "two": 16 + 6}
WEIGHTS = (0.3, 0.7)


@pytest.fixture(scope="module")
def directories(prepared, tmp_path_factory, make_segment, write):
    folder = tmp_path_factory.mktemp("two")
    segments = [make_segment(seed=11, frames=20), make_segment(seed=12, frames=10)]
    return prepared, write(folder, {"train-0": segments})


def opened(directories, weights=WEIGHTS):
    return Mixture(tuple(pipeline.open_dataset(d, "train") for d in directories), weights)


def iterator(mixture, batch_size, **options):
    return pipeline.train_iterator(mixture, WhereView(), batch_size=batch_size, seed=4, **options)


@pytest.mark.parametrize("weights", [(1, 1), (0.3, 0.7), (5, 1, 3, 0.01), (1e-3, 1, 1e3)])
def test_every_part_gets_its_share_at_once_and_counts_its_own_samples(weights):
    shares = Shares(weights, seed=7)
    given = [shares[position] for position in range(20_000)]
    parts = np.array([part for part, _ in given])
    wanted = np.asarray(weights) / np.sum(weights)
    for part, share in enumerate(wanted):
        np.testing.assert_array_equal(
            [number for owner, number in given if owner == part], np.arange((parts == part).sum())
        )
        strayed = np.cumsum(parts == part) - share * np.arange(1, len(parts) + 1)
        assert np.abs(strayed).max() <= len(weights)


def test_a_position_is_of_each_part_with_its_share_over_the_seeds():
    hits = np.array([[Shares((2, 1, 1), seed=s)[p][0] for p in (0, 5, 12345)] for s in range(3000)])
    for part, share in enumerate((0.5, 0.25, 0.25)):
        np.testing.assert_allclose((hits == part).mean(0), share, atol=0.03)


def test_shares_are_exact_far_out():
    shares = Shares((0.3, 0.7), seed=1)
    first = 10**15
    given = [shares[first + k] for k in range(1000)]
    for part, share in ((0, 0.3), (1, 0.7)):
        numbers = [number for owner, number in given if owner == part]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        # Weights are kept to 2^-33: a drift of 1e5 in 1e15.
        assert abs(numbers[0] / first - share) < 1e-9


def test_each_data_set_has_epochs_of_its_own(directories):
    samples = take(iterator(opened(directories), 50), 12)
    for windows, own in (
        (WINDOWS["one"], [row[:2] for row in samples if row[0] < 10]),
        (WINDOWS["two"], [row[:2] for row in samples if row[0] > 10]),
    ):
        epochs = [own[k : k + windows] for k in range(0, len(own) - windows, windows)]
        assert len(epochs) > 2
        assert all(len(set(epoch)) == windows for epoch in epochs)
        assert epochs[0] != epochs[1]
    share = np.mean([row[0] < 10 for row in samples])
    assert abs(share - 0.3) < 2 / 600
    assert len({row[2] for row in samples}) == len(samples), "draws repeat"


def test_one_part_alone_is_the_plain_data_set(prepared):
    dataset = pipeline.open_dataset(prepared, "train")
    plain = take(iterator(dataset, 7), 10)
    assert take(iterator(Mixture((dataset,)), 7), 10) == plain


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (4, 2)])
def test_a_mixture_goes_on_with_another_number_of_processes(directories, before, after):
    whole = iterator(opened(directories), 12)
    expected = take(whole, 5)

    def spread(count, state=None):
        parts = [
            iterator(opened(directories), 12 // count, process_index=k, process_count=count)
            for k in range(count)
        ]
        for part in parts:
            if state is not None:
                part.set_state(state)
        return parts

    parts = spread(before)
    assert interleaved(parts, 2) == expected[:24]
    states = {json.dumps(part.get_state()) for part in parts}
    assert len(states) == 1
    assert interleaved(spread(after, json.loads(states.pop())), 3) == expected[24:]


def test_a_position_of_another_mixture_is_refused(directories):
    state = iterator(opened(directories), 4).get_state()
    for other in (opened(directories, (0.4, 0.6)), opened(directories).parts[0]):
        with pytest.raises(RecordError, match="does not belong to this data set and seed"):
            iterator(other, 4).set_state(state)


def test_evaluation_goes_through_all_parts(directories):
    mixture = opened(directories)
    batches = list(pipeline.eval_batches(mixture, WhereView(), batch_size=4))
    seen = [
        tuple(row[:2])
        for batch in batches
        for row, mask in zip(batch["row"].tolist(), batch["mask"], strict=True)
        if mask
    ]
    assert len(seen) == len(set(seen)) == 6 + 4 + 2 + 4 + 2
    assert [row[0] for row in seen][-6:] == [11, 11, 11, 11, 12, 12]


def test_what_makes_no_mixture_is_refused(prepared):
    dataset = pipeline.open_dataset(prepared, "train")
    with pytest.raises(RecordError, match=r"2 data sets and 1 weights make no mixture; give"):
        Mixture((dataset, dataset), (1.0,))
    with pytest.raises(RecordError, match=r"weights \(1.0, 0.0\) of a mixture are not all above 0"):
        Mixture((dataset, dataset), (1.0, 0.0))
