"""The generator stage: its players and terms, that all are trained, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from talkface_jax.errors import ConfigError
from talkface_jax.losses import keypoint
from talkface_jax.methods.emoconv.generator.task import GeneratorTask
from talkface_jax.task import LAST, LossContext
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_train_step


def run(task, batch, *, train):
    variables = jax.jit(task.init)(jax.random.key(0), batch)
    step = jnp.asarray(0 if train else LAST)
    forward = jax.jit(
        lambda v: task.forward(v, {}, batch, jax.random.key(1), step=step, train=train)
    )
    return variables, *forward(variables)


def test_players_and_terms_of_detected_keypoints(detected):
    task = GeneratorTask(detected)
    assert set(task.nets) == {"detector", "pose", "generator", "disc"}
    making, judging = task.objectives
    assert making.players == ("detector", "pose", "generator") and judging.players == ("disc",)
    weights = {term.name: term.weight for term in making.terms}
    assert weights == {
        "adversarial": 1.0,
        "matching": 10.0,
        "equivariance": 10.0,
        "keypoint": 10.0,
        "head_pose": 20.0,
        "expression": 5.0,
    }


def test_players_and_terms_of_tracked_keypoints(tracked):
    task = GeneratorTask(tracked)
    assert set(task.nets) == {"generator", "disc"}
    assert [term.name for term in task.objectives[0].terms] == ["l1", "adversarial", "matching"]
    alone = dataclasses.replace(tracked, adversarial_weight=0.0, matching_weight=0.0)
    assert set(GeneratorTask(alone).nets) == {"generator"}


def test_terms_are_those_of_the_outputs(detected, batch):
    """Each term against its function on what the networks made."""
    task = GeneratorTask(detected)
    _, outputs, _ = run(task, batch, train=True)
    context = LossContext(outputs, batch, {}, {}, jnp.asarray(0))
    terms = {term.name: float(term(context)) for term in task.objectives[0].terms[2:]}
    apart = np.abs(outputs["driving"][..., :2] - outputs["returned"]).mean()
    turned = np.abs(outputs["degrees"] - batch["angles"]).sum(-1).mean()
    wanted = {
        "equivariance": apart,
        "keypoint": np.mean(keypoint.spread(outputs["driving"])),
        "head_pose": turned,
        "expression": np.abs(outputs["expression"]).sum((1, 2)).mean(),
    }
    assert terms == pytest.approx({key: float(value) for key, value in wanted.items()}, rel=1e-4)


def test_keypoints_are_made_alike_of_both_frames(detected, batch):
    """A target that is the picture itself has the picture's keypoints."""
    same = {**batch, "face": batch["identity"]}
    _, outputs, _ = run(GeneratorTask(detected), same, train=False)
    np.testing.assert_allclose(outputs["driving"], outputs["source"], atol=1e-6)
    assert "returned" not in outputs


def test_an_untrained_generator_shows_the_picture(tracked, batch):
    """Nothing moves and next to nothing is painted, so what moves later was learned."""
    _, outputs, _ = run(GeneratorTask(tracked), batch, train=False)
    picture = batch["identity"] / np.float32(255)
    np.testing.assert_allclose(outputs["image"], picture, atol=0.01)
    np.testing.assert_array_equal(outputs["driving"], batch["keypoints"])


@pytest.mark.parametrize("kind", ["detected", "tracked"])
def test_every_parameter_is_trained(kind, batch, request):
    task = GeneratorTask(request.getfixturevalue(kind))
    optimisers = {player: optax.sgd(1e6) for player in task.nets}
    state = jax.jit(lambda: create_state(task, optimisers, seed=0, batch=batch))()
    before = jax.device_get(state)
    step = jax.jit(make_train_step(task, optimisers, task.objectives))
    after, metrics = step(state, {}, batch)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    for player in task.nets:
        old, new = (
            jax.tree_util.tree_leaves_with_path(jax.device_get(item.nets[player].params))
            for item in (before, after)
        )
        still = [
            jax.tree_util.keystr(path)
            for (path, was), (_, now) in zip(old, new, strict=True)
            if np.array_equal(was, now)
        ]
        # Within the hinge's margins scores of both kinds pull the last bias alike.
        hinge = task.config.gan == "hinge" and player == "disc"
        known = ["['scale_0']['conv_4']['bias']"] if hinge else []
        assert still == known, f"no gradient reaches {player}'s {still}"


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("detected", {"family": "liveportrait"}, "talkface convert"),
        ("detected", {"size": 36}, "no multiple of"),
        ("detected", {"mouth_weight": 1.0}, "perceptual is none but mouth_weight"),
        ("detected", {"disc_scales": 4}, "give smaller ones"),
        ("tracked", {"head_pose_weight": 1.0}, "head_pose_weight is 1"),
        ("tracked", {"keypoints": "detected"}, "78"),
        ("tracked", {"l1_weight": -1.0}, "l1_weight"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind, changes, words, request):
    config = dataclasses.replace(request.getfixturevalue(kind), **changes)
    with pytest.raises(ConfigError, match=words):
        GeneratorTask(config)


def test_a_correction_needs_tracked_keypoints(detected):
    decoder = dataclasses.replace(detected.facevid2vid.generator.decoder, paint="correction")
    net = dataclasses.replace(detected.facevid2vid.generator, decoder=decoder)
    sizes = dataclasses.replace(detected.facevid2vid, generator=net)
    with pytest.raises(ConfigError, match="set keypoints to 'tracked'"):
        GeneratorTask(dataclasses.replace(detected, facevid2vid=sizes))


@pytest.mark.slow
@pytest.mark.timeout(3600)  # Compiling alone takes more than five minutes on two cores.
def test_a_step_at_full_size():
    """The published networks, all losses but the perceptual one, on one pair of frames."""
    from talkface_jax.methods.emoconv.generator.config import GeneratorConfig

    task = GeneratorTask(GeneratorConfig(perceptual="none", perceptual_weight=0.0))
    rng = np.random.default_rng(0)
    batch = {
        key: rng.integers(0, 255, leaf.shape).astype(leaf.dtype)
        if leaf.dtype == np.uint8
        else rng.uniform(-0.5, 0.5, leaf.shape).astype(leaf.dtype)
        for key, leaf in task.view.spec(1).items()
    }
    optimisers = {player: optax.adam(2e-4) for player in task.nets}
    state = jax.jit(lambda: create_state(task, optimisers, seed=0, batch=batch))()
    before = np.asarray(state.nets["generator"].params["decoder"]["colour"]["kernel"])
    step = jax.jit(make_train_step(task, optimisers, task.objectives))
    after, metrics = step(state, {}, batch)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    now = np.asarray(after.nets["generator"].params["decoder"]["colour"]["kernel"])
    assert not np.array_equal(before, now)
