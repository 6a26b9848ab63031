"""IP-LAP's stages: their loss terms, and their steps in bfloat16 and with rematerialisation."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend import core

from talkface_jax.errors import ConfigError
from talkface_jax.losses import perceptual
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.motion.task import MotionTask
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.render.task import RenderTask
from talkface_jax.models import linear_convs
from talkface_jax.models.frozen.vgg import VGG16, Vgg
from talkface_jax.models.motion import landmark_transformer
from talkface_jax.models.motion.landmark_transformer import LandmarkTransformerConfig
from talkface_jax.models.render.reference_warping import ReferenceWarpingConfig
from talkface_jax.task import LossContext
from talkface_jax.train.gradients import PLAIN, Policy, run_forward
from talkface_jax.train.state import create_state
from talkface_jax.train.step import make_eval_step, make_train_step

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
MOTION = LandmarkTransformerConfig(
    width=16, layers=1, heads=2, mlp=16, mel_channels=(4,) * 4, point_channels=(4,) * 7
)
SMALL_MOTION = dataclasses.replace(
    landmark_transformer.SMALL, width=16, layers=1, heads=2, mlp=32, dropout=0.0
)
BF16 = Policy(compute="bfloat16")


def make_batch(task, rows):
    rng = np.random.default_rng(0)
    batch = {}
    for name, leaf in task.view.spec(rows).items():
        if np.issubdtype(leaf.dtype, np.integer):
            batch[name] = rng.integers(0, 256, leaf.shape).astype(leaf.dtype)
        else:
            low, high = (-4, 4) if name == "mel" else (0, 1)
            batch[name] = rng.uniform(low, high, leaf.shape).astype(leaf.dtype)
    return batch


def fill(shapes, seed=0):
    """Values by NumPy, for a jitted init costs seconds; kernels keep activations at unit size."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        names = [getattr(key, "key", getattr(key, "name", "")) for key in path]
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        if "opt_state" in names or names[-1] in ("step", "mean"):
            return np.zeros(leaf.shape, leaf.dtype)
        if names[-1] in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        fan = max(np.prod(leaf.shape[:-1]), 1) if names[-1] == "kernel" else 100
        return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A task with everything that a step takes."""

    task: object
    batch: dict
    transforms: dict
    state: object
    frozen: dict

    def step(self, policy=PLAIN):
        return make_train_step(self.task, self.transforms, self.task.objectives, policy=policy)

    def arguments(self):
        return self.state, self.frozen, self.batch


def make_stage(task, rows=4, **frozen):
    batch = make_batch(task, rows)
    transforms = {player: optax.adam(1e-4) for player in task.nets}
    shapes = jax.eval_shape(
        lambda: create_state(task, transforms, seed=1, batch=batch, ema_players=())
    )
    return Stage(task, batch, transforms, fill(shapes), frozen)


@pytest.fixture(scope="module")
def vgg():
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    net = Vgg(VGG16, ("relu2_1",))
    return fill(jax.eval_shape(net.init, jax.random.key(0), image))["params"]


@pytest.fixture(scope="module")
def render(vgg):
    return make_stage(RenderTask(RENDER), vgg=vgg)


@pytest.fixture(scope="module", params=[MOTION, SMALL_MOTION], ids=["published", "small"])
def motion(request):
    return make_stage(MotionTask(MotionConfig(net=request.param, references=3)))


def context_of(stage, outputs):
    discs = {"disc": lambda x: stage.task.nets["disc"].apply(variables_of(stage)["disc"], x)}
    return LossContext(outputs, stage.batch, discs, stage.frozen, jnp.zeros((), jnp.int32))


def variables_of(stage):
    return {player: net.variables for player, net in stage.state.nets.items()}


def terms_of(objective):
    return {term.name: term for term in objective.terms}


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
            outputs, _ = stage.task.forward(variables, {}, stage.batch, stage.state.rng, train=True)
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


def test_perceptual_warp_loss_without_a_network_is_refused():
    none = dataclasses.replace(
        RENDER, perceptual="none", perceptual_weight=0.0, style_weight=0.0, warp_loss="l1"
    )
    assert RenderTask(none).frozen() == {}
    with pytest.raises(ConfigError, match=r"warp_loss is perceptual; set .* warp_loss to l1"):
        RenderTask(dataclasses.replace(none, warp_loss="perceptual"))


def equations(jaxpr):
    """Those of a jaxpr and of all jaxprs within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
        ):
            if isinstance(inner, core.ClosedJaxpr):
                yield from equations(inner.jaxpr)
            elif isinstance(inner, core.Jaxpr):
                yield from equations(inner)


def products(function, *arguments):
    """(scopes, formats of both factors) of every convolution and matrix product."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    return [
        (str(equation.source_info.name_stack), {str(x.aval.dtype) for x in equation.invars})
        for equation in equations(jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]


def mark(monkeypatch, module, name):
    """Calls of a function leave their name on the equations that they and their gradients trace."""
    monkeypatch.setattr(module, name, jax.named_call(getattr(module, name), name=f"marked_{name}"))


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


def test_every_product_of_the_motion_step_is_bfloat16_but_for_geometry(motion, monkeypatch):
    for name in ("fit_affine", "apply_affine"):
        mark(monkeypatch, landmark_transformer, name)
    found = products(motion.step(BF16), *motion.arguments())
    others = [formats for scopes, formats in found if "affine" not in scopes]
    assert len(others) > 30 and all(formats == {"bfloat16"} for formats in others)
    residual = motion.task.config.net.head == "residual"
    assert (len(others) < len(found)) == residual


def test_evaluation_and_plain_steps_stay_float32(render, motion):
    for stage in (render, motion):
        evaluate = make_eval_step(stage.task)
        batch = {**stage.batch, "mask": np.ones(4, np.float32)}
        for found in (
            products(evaluate, variables_of(stage), batch),
            products(stage.step(), *stage.arguments()),
        ):
            assert found and all(formats == {"float32"} for _, formats in found)


def test_state_stays_float32_under_bfloat16(render, motion):
    for stage in (render, motion):
        after, metrics = jax.eval_shape(stage.step(BF16), *stage.arguments())
        before = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), stage.state)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == before
        assert all(leaf.dtype == jnp.float32 for leaf in metrics.values())


def slope(state, player):
    """The gradient of one step of Adam, from its first moment; flat."""
    moment = state.nets[player].opt_state[0].mu
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(moment)])


@pytest.mark.slow
def test_bfloat16_step_is_near_the_float32_one():
    """The small net, for conv stacks take a minute to compile in this format on a CPU."""
    stage = make_stage(MotionTask(MotionConfig(net=SMALL_MOTION, references=3)))
    exact, expected = jax.jit(stage.step())(*stage.arguments())
    rounded, metrics = jax.jit(stage.step(BF16))(*stage.arguments())
    for name in ("position", "velocity", "total"):
        value = expected[f"loss/motion/{name}"]
        np.testing.assert_allclose(metrics[f"loss/motion/{name}"], value, rtol=0.02)
    a, b = slope(exact, "motion"), slope(rounded, "motion")
    assert a.dtype == b.dtype == np.float32 and (a != b).any()
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


@pytest.mark.slow
def test_remat_keeps_less_of_the_renderer(render):
    def bytes_kept(remat, compute="float32"):
        def pull(params):
            nets = dict(render.state.nets)
            nets["renderer"] = nets["renderer"].replace(params=params)
            policy = Policy(compute=compute, remat=remat)
            return run_forward(render.task, nets, render.batch, render.state.rng, policy).pull

        kept = jax.eval_shape(pull, render.state.nets["renderer"].params)
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))

    none, products, everything = (bytes_kept(r) for r in ("none", "products", "everything"))
    assert none > 1.5 * products and products > 1.5 * everything
    assert bytes_kept("none", "bfloat16") < 0.8 * none
