import pickle

import numpy as np

from talkface_jax.data.cache import Cache, size_of


def test_the_least_recently_used_goes_first():
    cache, made = Cache(250), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.full(100, key, np.uint8))

    assert [get(key)[0] for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    assert cache.size == 200 and len(cache) == 2


def test_what_is_too_large_is_not_kept():
    cache = Cache(10)
    assert cache.get("a", lambda: b"x" * 11) == b"x" * 11
    assert cache.size == 0 and len(cache) == 0


def test_a_pickled_cache_is_empty():
    cache = Cache(1000)
    cache.get("a", lambda: b"abc")
    copy = pickle.loads(pickle.dumps(cache))
    assert len(copy) == 0 and copy.limit == 1000


def test_sizes():
    assert size_of((np.zeros((2, 3), np.float32), b"abcd", [b"x"])) == 24 + 4 + 1
