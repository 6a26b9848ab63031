import numpy as np

from talkface_jax.landmarks import align


def random_points(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 2))


def test_affine_is_recovered():
    maps = np.random.default_rng(1).normal(size=(4, 3, 2))
    source = random_points(4, 30)
    found = align.fit_affine(source, align.apply_affine(source, maps))
    np.testing.assert_allclose(found, maps, atol=1e-9)


def test_affine_equals_least_squares():
    source, target = random_points(25), random_points(25, seed=2)
    design = np.concatenate([source, np.ones((25, 1))], 1)
    expected = np.linalg.lstsq(design, target, rcond=None)[0]
    np.testing.assert_allclose(align.fit_affine(source, target), expected, atol=1e-9)


def test_similarity_is_recovered_and_never_reflects():
    angle, scale = 0.7, 1.6
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    source = random_points(3, 20)
    target = source @ linear + [3, -2]
    found = align.fit_similarity(source, target)
    np.testing.assert_allclose(found[:, :2], np.broadcast_to(linear, (3, 2, 2)), atol=1e-9)
    np.testing.assert_allclose(found[:, 2], np.tile([[3, -2]], (3, 1)), atol=1e-9)
    mirrored = align.fit_similarity(source, source * [-1, 1])
    assert (np.linalg.det(mirrored[:, :2]) >= 0).all()


def test_similarity_is_the_best_of_its_kind():
    source, target = random_points(20), random_points(20, seed=3)
    best = align.fit_similarity(source, target)

    def error(maps):
        return np.sum((align.apply_affine(source, maps) - target) ** 2)

    rng = np.random.default_rng(4)
    for _ in range(50):
        a, b = best[0] + rng.normal(0, 0.05, 2)
        other = np.array([[a, b], [-b, a], best[2] + rng.normal(0, 0.05, 2)])
        assert error(other) >= error(best)


def test_procrustes_removes_similarities():
    base = random_points(15)
    rng = np.random.default_rng(5)
    shapes = []
    for _ in range(6):
        angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.5, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shapes.append(scale * base @ turn + rng.normal(size=2))
    done = align.procrustes(np.stack(shapes))
    np.testing.assert_allclose(done.aligned, np.broadcast_to(done.mean, (6, 15, 2)), atol=1e-9)
    np.testing.assert_allclose(done.mean.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.sum(done.mean**2, -1)), 1)


def test_static_mouth_follows_the_head_and_ignores_the_mouth():
    pose, content = random_points(8, 74), random_points(8, 57, seed=6)
    maps = np.random.default_rng(7).normal(size=(5, 3, 2))
    moved = align.apply_affine(np.broadcast_to(pose.mean(0), (5, 74, 2)), maps)
    still = align.static_mouth(pose, content, moved)
    assert still.dtype == np.float32
    expected = align.apply_affine(np.broadcast_to(content.mean(0), (5, 57, 2)), maps)
    np.testing.assert_allclose(still, expected, atol=1e-5)
