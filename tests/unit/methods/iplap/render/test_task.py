"""The renderer as a stage: its terms, and its steps in bfloat16 and with rematerialisation."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stage_steps
from stage_steps import make_stage, mark, products, terms_of, variables_of

from talkface_jax.interop import weights
from talkface_jax.losses import perceptual
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask
from talkface_jax.models import linear_convs
from talkface_jax.models.frozen.vgg import VGG16, Vgg
from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig
from talkface_jax.task import LossContext
from talkface_jax.train.gradients import Policy, run_forward

NET = ReferenceWarpingConfig(
    size=16,
    channels=4,
    deep=16,
    kernel=3,
    spade_hidden=58,
    weight_hidden=4,
    audio_width=16,
    audio_hidden=8,
    mel_channels=(4, 4, 8, 8),
)
"""Merges its convolutions where the published network does."""
RENDER = RenderConfig(
    net=NET,
    references=2,
    perceptual="vgg16",
    perceptual_scales=2,
    perceptual_layers=2,
    disc_channels=4,
)


@pytest.fixture(scope="module")
def vgg():
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    net = Vgg(VGG16, ("relu4_1",))
    return stage_steps.fill(jax.eval_shape(net.init, jax.random.key(0), image))["params"]


@pytest.fixture(scope="module")
def render(vgg):
    return make_stage(RenderTask(RENDER), vgg=vgg)


def context_of(stage, outputs):
    discs = {"disc": lambda x: stage.task.nets["disc"].apply(variables_of(stage)["disc"], x)}
    return LossContext(outputs, stage.batch, discs, stage.frozen, jnp.zeros((), jnp.int32))


def pictures(stage, seed=0):
    rng = np.random.default_rng(seed)
    shape = stage.batch["face"].shape
    return {name: jnp.asarray(rng.random(shape, np.float32)) for name in ("image", "warped")}


def by_hand(params, ours, target):
    """Perceptual loss as released: relu1_1 and relu2_1, weight 1 each, at two scales."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    vgg = Vgg(VGG16, ("relu1_1", "relu2_1"))
    total = 0.0
    for _ in range(2):
        fed = [((x[..., ::-1] + 1) / 2 - mean) / deviation for x in (ours, target)]
        found = [vgg.apply({"params": params}, jnp.asarray(x, jnp.float32)) for x in fed]
        total += sum(float(jnp.abs(found[0][name] - found[1][name]).mean()) for name in found[0])
        b, h, w, c = ours.shape
        ours, target = (
            np.asarray(x).reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4)) for x in (ours, target)
        )
    return total


def test_warp_term_is_the_perceptual_loss_of_the_warped_references(render, vgg):
    outputs = pictures(render)
    warp = terms_of(render.task.objectives[0])["warp"]
    target = render.batch["face"].astype(np.float32) / 255.0
    assert warp.weight == 2.5
    expected = by_hand(vgg, np.asarray(outputs["warped"]), target)
    np.testing.assert_allclose(warp(context_of(render, outputs)), expected, rtol=1e-5)
    slopes = jax.grad(lambda outputs: warp(context_of(render, outputs)))(outputs)
    assert float(jnp.abs(slopes["warped"]).min(-1).max()) > 0
    assert not jnp.any(slopes["image"])


def test_warp_term_by_pixels_is_l1(render):
    task = RenderTask(dataclasses.replace(RENDER, warp_loss="l1"))
    outputs = pictures(render)
    value = terms_of(task.objectives[0])["warp"](context_of(render, outputs))
    target = render.batch["face"] / 255.0
    np.testing.assert_allclose(value, np.abs(outputs["warped"] - target).mean(), rtol=1e-5)


def test_terms_on_the_mouth_see_its_window_alone(render, vgg):
    config = dataclasses.replace(
        RENDER,
        net=dataclasses.replace(NET, window=8),
        mouth_weight=2.0,
        perceptual_region="mouth",
        style_weight=0.0,
        perceptual_range="imagenet",
    )
    terms = terms_of(RenderTask(config).objectives[0])
    assert terms["mouth"].weight == 2.0
    points = np.zeros((len(render.batch["points"]), 5, 131, 2), np.float32)
    points[:, 2, 91:] = (0.5, 0.75)  # The middle frame's lips: rows 8 to 16, columns 4 to 12.
    stage = dataclasses.replace(render, batch={**render.batch, "points": jnp.asarray(points)})
    outputs = pictures(stage)
    target = stage.batch["face"] / 255.0
    expected = np.abs(outputs["image"] - target)[:, 8:16, 4:12].mean()
    np.testing.assert_allclose(terms["mouth"](context_of(stage, outputs)), expected, rtol=1e-5)
    for name in ("mouth", "perceptual"):
        slopes = jax.grad(lambda outputs, name=name: terms[name](context_of(stage, outputs)))
        slope = np.array(slopes(outputs)["image"])
        assert slope[:, 8:16, 4:12].any(-1).all()
        slope[:, 8:16, 4:12] = 0
        assert not slope.any()


def test_without_terms_that_judge_there_is_no_discriminator():
    config = dataclasses.replace(RENDER, adversarial_weight=0.0, matching_weight=0.0)
    task = RenderTask(config)
    assert set(task.nets) == {"renderer"}
    assert [objective.players for objective in task.objectives] == [("renderer",)]
    assert set(RenderTask(dataclasses.replace(config, matching_weight=1.0)).nets) == {
        "renderer",
        "disc",
    }


def test_warming_up_moves_the_alignment_alone(vgg):
    """The first phase knows the warp term only, and it reaches the renderer's parameters."""
    stage = make_stage(RenderTask(dataclasses.replace(RENDER, warmup_steps=1)), rows=2, vgg=vgg)
    warming = [objective for objective in stage.task.objectives if objective.active(0)]
    assert [list(terms_of(objective)) for objective in warming] == [["warp"]]

    @jax.jit
    def slopes(params):
        def loss(params):
            variables = {**variables_of(stage)}
            variables["renderer"] = {**variables["renderer"], "params": params}
            outputs, _ = stage.task.forward(
                variables, {}, stage.batch, stage.state.rng, step=0, train=True
            )
            return terms_of(warming[0])["warp"](context_of(stage, outputs))

        return jax.grad(loss)(params)

    found = slopes(stage.state.nets["renderer"].params)
    for name in ("flow", "weight", "stem"):
        kernels = [x for x in jax.tree.leaves(found["alignment"][name]) if x.ndim == 4]
        assert kernels and all(jnp.any(kernel) for kernel in kernels), name
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(found["translation"]))


def test_features_are_computed_once_per_picture_and_scale(render, monkeypatch):
    seen = []

    class Counted(Vgg):
        def apply(self, variables, image, **options):
            seen.append(image)
            return super().apply(variables, image, **options)

    monkeypatch.setattr(perceptual, "Vgg", Counted)

    def applied(objective):
        seen.clear()

        def total(outputs):
            context = context_of(render, outputs)
            return sum(term(context) for term in objective.terms)

        jax.eval_shape(total, pictures(render))
        return collections.Counter(image.shape[1] for image in seen)

    full, judge = render.task.objectives
    assert {"warp", "perceptual", "style"} <= set(terms_of(full))
    assert applied(full) == {16: 3, 8: 3}
    assert applied(judge) == {}
    warming = RenderTask(dataclasses.replace(RENDER, warmup_steps=1)).objectives[0]
    assert applied(warming) == {16: 2, 8: 2}


@pytest.mark.parametrize("remat", ["none", "products"])
def test_every_product_of_the_gan_step_is_bfloat16_but_for_merged_kernels(
    render, monkeypatch, remat
):
    mark(monkeypatch, linear_convs, "merge")
    mark(monkeypatch, perceptual, "gram")
    found = products(render.step(Policy(compute="bfloat16", remat=remat)), *render.arguments())
    merging = [formats for scopes, formats in found if "marked_merge" in scopes]
    assert merging and all(formats == {"float32"} for formats in merging)
    # Gram matrices are summed in float32, and so are their gradients.
    grams = [formats for scopes, formats in found if "marked_gram" in scopes]
    assert {"bfloat16"} in grams and all("bfloat16" in formats for formats in grams)
    others = [formats for scopes, formats in found if "marked" not in scopes]
    assert len(others) > 300 and all(formats == {"bfloat16"} for formats in others)


def test_evaluation_and_plain_steps_stay_float32(render):
    stage_steps.assert_plain_is_float32(render)


def test_state_stays_float32_under_bfloat16(render):
    stage_steps.assert_state_stays_float32(render)


@pytest.mark.slow
def test_remat_keeps_less_of_the_renderer(render):
    def bytes_kept(remat, compute="float32"):
        def pull(params):
            nets = dict(render.state.nets)
            nets["renderer"] = nets["renderer"].replace(params=params)
            policy = Policy(compute=compute, remat=remat)
            return run_forward(
                render.task, nets, render.frozen, render.batch, render.state.rng, policy
            ).pull

        kept = jax.eval_shape(pull, render.state.nets["renderer"].params)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))

    none, products, everything = (bytes_kept(r) for r in ("none", "products", "everything"))
    assert none > 1.5 * products and products > 1.5 * everything
    assert bytes_kept("none", "bfloat16") < 0.8 * none


def test_what_chooses_the_checkpoint_is_seen_at_the_mouth_by_the_network(render):
    """It is 0 of the truth, and without a network there is no such metric."""
    frozen = {"vgg": weights.load_vgg16()}
    batch = {**render.batch, "mask": jnp.ones(len(render.batch["face"]))}
    truth = {name: jnp.asarray(batch["face"], jnp.float32) / 255 for name in ("image", "warped")}
    found = render.task.metrics(truth, batch, frozen)["mouth_perceptual"]
    assert found.compute() == pytest.approx(0, abs=1e-8)
    other = {**truth, "image": jnp.flip(truth["image"], 2)}
    found = render.task.metrics(other, batch, frozen)["mouth_perceptual"]
    assert 1e-4 < found.compute() < 4
    assert "mouth_perceptual" not in render.task.metrics(other, batch, {})
