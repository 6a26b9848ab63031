"""What ours and the official IP-LAP code must agree on, file by file of a parity case.

The published sizes, in evaluation mode but for `predict_train`, the losses and the gradients (batch
statistics, no dropout). Batch, number of references and lengths are the case's. Arrays come in
PyTorch's layouts and images in BGR; both are brought to ours here, the weights by `torch_map`.
Source: github.com/Weizhi-Zhong/IP-LAP. The tolerances are for float32 throughout.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from talkface_jax.errors import RecordError
from talkface_jax.features.mel import log_mel
from talkface_jax.interop.cases import MANIFEST, Case, Check, Shape, compare
from talkface_jax.interop.suites import Suite
from talkface_jax.interop.torch_rules import from_torch, to_torch
from talkface_jax.landmarks.schemes import get_scheme
from talkface_jax.losses.landmark import landmark_l1, landmark_velocity
from talkface_jax.media.sketch import SKETCH_SIZE, draw_lines
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.iplap.render.config import RenderConfig
from talkface_jax.methods.iplap.torch_map import NETWORKS
from talkface_jax.models.discriminators import (
    MultiscaleDiscriminator,
    MultiscaleDiscriminatorConfig,
)
from talkface_jax.models.motion.landmark_transformer import (
    LandmarkTransformer,
    LandmarkTransformerConfig,
)
from talkface_jax.models.render.reference_warping import ReferenceWarping
from talkface_jax.models.warp import warp

MOTION = "landmark_generator.npz"
GRADIENTS = "landmark_generator_grad_norms.json"
RENDERER = "renderer.npz"
DISCRIMINATOR = "discriminator.npz"
WARP = "warp.npz"
MEL = "mel.npz"
SKETCH = "sketch.npz"

# Of each file's tensors: absolute, but for the gradients (relative) and the sketch (share).
TOLERANCES = {
    MOTION: 1e-4,
    GRADIENTS: 1e-3,
    RENDERER: 1e-3,
    DISCRIMINATOR: 1e-3,
    WARP: 1e-5,
    MEL: 1e-3,
    SKETCH: 0.01,
}

_CONFIGS = {"motion": MotionConfig(), "render": RenderConfig(), "discriminator": RenderConfig()}
"""The published sizes."""
_CONTENT: Shape = ("b*t", 2, 57)
_IMAGE: Shape = ("b", 3, 128, 128)
_BEFORE_BATCH_NORM = ".conv_block.0.bias"
# What float32 leaves uncertain of activations of about 1, and how often that is tried.
_ROUNDING = 5e-7
_NUDGES = 16


def _last(x: np.ndarray) -> np.ndarray:
    """Channels before height and width -> channels last."""
    return np.moveaxis(x, -3, -1)


def _rgb(x: np.ndarray) -> np.ndarray:
    """BGR images, channels before height and width -> RGB, channels last."""
    return _last(x)[..., ::-1]


def _variables(case: Case, network: str, stage: str) -> Any:
    """The case's weights of a network of the official code, as variables of ours."""
    found, config = NETWORKS[stage], _CONFIGS[stage]
    return from_torch(
        case.state_dict(network),
        found.rules(config),
        found.template(config),
        source=f"{network} in {case.folder / MANIFEST}",
    )


def _motion_case(case: Case) -> tuple[dict[str, np.ndarray], tuple[jax.Array, ...]]:
    """The arrays of the landmark generator's file, and its inputs in our layout."""
    arrays = case.arrays(
        MOTION,
        {
            "T_mels": ("b", "t", 1, 80, 16),
            "T_pose": ("b", "t", 2, 74),
            "Nl_pose": ("b", "r", 2, 74),
            "Nl_content": ("b", "r", 2, 57),
            **dict.fromkeys(("gt_content", "predict_eval", "predict_train"), _CONTENT),
            **dict.fromkeys(("l1", "velocity"), ()),
        },
    )
    points = (arrays[name].swapaxes(-1, -2) for name in ("T_pose", "Nl_pose", "Nl_content"))
    inputs = (arrays["T_mels"][:, :, 0], *points)
    return arrays, tuple(jnp.asarray(x, jnp.float32) for x in inputs)


@dataclasses.dataclass(frozen=True)
class _Training:
    """The landmark generator in training mode on a case.

    Attributes:
      params: the case's weights.
      outputs: what the generator's file holds of training mode, by name.
      norms: of the gradient of l1 + velocity for every parameter, by PyTorch key.
      norms_at: the same at other weights.
    """

    params: Any
    outputs: Mapping[str, Any]
    norms: Mapping[str, float]
    norms_at: Callable[[Any], Mapping[str, float]]


@functools.lru_cache(maxsize=1)  # Two files of a case are checked against one run.
def _train(case: Case) -> _Training:
    arrays, inputs = _motion_case(case)
    variables = _variables(case, "landmark_generator", "motion")
    net = LandmarkTransformer(LandmarkTransformerConfig(dropout=0.0, inner_dropout=0.0))
    lead = inputs[1].shape[:2]
    target = arrays["gt_content"].swapaxes(1, 2).reshape(*lead, 57, 2)
    rules = NETWORKS["motion"].rules(_CONFIGS["motion"])

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params: Any, stats: Any, target: jax.Array) -> Any:
        out, _ = net.apply(
            {"params": params, "batch_stats": stats}, *inputs, train=True, mutable=["batch_stats"]
        )
        l1, velocity = landmark_l1(out, target).mean(), landmark_velocity(out, target).mean()
        return l1 + velocity, {"predict_train": out, "l1": l1, "velocity": velocity}

    def run(params: Any) -> tuple[Any, dict[str, float]]:
        (_, outputs), gradients = step(
            params, variables["batch_stats"], jnp.asarray(target, jnp.float32)
        )
        tensors = to_torch({"params": gradients}, rules, partial=True)
        return outputs, {key: float(np.linalg.norm(tensor)) for key, tensor in tensors.items()}

    params = variables["params"]
    return _Training(params, *run(params), lambda params: run(params)[1])


def _nudged(params: Any, seed: int) -> Iterator[Any]:
    """The parameters with every bias moved by rounding, at random up or down; then the reverse."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, array: np.ndarray) -> np.ndarray:
        signs = rng.choice([-_ROUNDING, _ROUNDING], array.shape)
        return np.asarray(signs if path[-1].key == "bias" else 0, np.float32)

    for _ in range(_NUDGES // 2):
        steps = jax.tree_util.tree_map_with_path(draw, params)
        # Whatever the first leaves on its side of zero the second takes across.
        for sign in (1, -1):
            yield jax.tree.map(lambda array, step, sign=sign: array + sign * step, params, steps)


def _as_torch(content: Any) -> np.ndarray:
    """(b, t, 57, 2) -> (b t, 2, 57)."""
    return np.asarray(content).reshape(-1, 57, 2).swapaxes(1, 2)


def _check_motion(case: Case) -> Iterator[Check]:
    arrays, inputs = _motion_case(case)
    variables = _variables(case, "landmark_generator", "motion")
    evaluated = jax.jit(LandmarkTransformer().apply)(variables, *inputs)
    found = {"predict_eval": evaluated, **_train(case).outputs}
    for name, array in found.items():
        ours = _as_torch(array) if name.startswith("predict") else array
        yield compare(MOTION, name, ours, arrays[name], tolerance=TOLERANCES[MOTION])


def _check_gradients(case: Case) -> Iterator[Check]:
    """Norm of the gradient of l1 + velocity for every parameter, relative to the stored norm.

    A bias before BatchNorm has no gradient but rounding noise; its error counts in units of the
    gradient of the weight that it belongs to.

    Where a ReLU's input is zero up to rounding, the gradient jumps, and so does PyTorch's own
    between float32 and float64. Tensors that are over are therefore compared once more, with the
    range of the norms that ours takes as its biases move by rounding. They pass where the stored
    norm lies within the same tolerance of that range, and say "kink" beside it.
    """
    expected = case.numbers(GRADIENTS)
    if not case.has(MOTION):
        raise RecordError(
            f"{case.folder / GRADIENTS} needs the inputs in {MOTION}, which is not there; add it"
        )
    training = _train(case)
    different = sorted(set(training.norms) ^ set(expected))
    if different:
        raise RecordError(
            f"{case.folder / GRADIENTS} does not name this network's parameters: {different[0]} is"
            " on one side only; copy the case again, or leave the file out"
        )
    checks = {
        key: Check(GRADIENTS, key, error, TOLERANCES[GRADIENTS], "relative")
        for key, error in _norm_errors(expected, [training.norms]).items()
    }
    runs, nudged = [training.norms], _nudged(training.params, case.seed)
    while not all(check.ok for check in checks.values()) and (params := next(nudged, None)):
        runs.append(training.norms_at(params))
        for key, error in _norm_errors(expected, runs).items():
            near = Check(GRADIENTS, key, error, TOLERANCES[GRADIENTS], "relative (kink)")
            if near.ok and not checks[key].ok:
                checks[key] = near
    yield from checks.values()


def _norm_errors(
    expected: Mapping[str, float], runs: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """How far each norm is from the range that the runs span; relative, as described above."""
    errors = {}
    for key, norm in expected.items():
        noise = key.endswith(_BEFORE_BATCH_NORM)
        unit = expected[key.removesuffix("bias") + "weight"] if noise else norm
        found = [run[key] for run in runs]
        distance = max(min(found) - norm, norm - max(found), 0.0)
        errors[key] = distance / unit if unit else math.inf
    return errors


def _check_renderer(case: Case) -> Iterator[Check]:
    images = ("target_sketches", "ref_N_frame_img", "ref_N_frame_sketch", "face_frame_img")
    counts = (5, "r", "r", 1)
    arrays = case.arrays(
        RENDERER,
        {
            **{name: ("b", n, 3, 128, 128) for name, n in zip(images, counts, strict=True)},
            "audio_mels": ("b", 1, 1, 80, 16),
            "generated_face": _IMAGE,
            "wrapped_ref": _IMAGE,
            "flow": ("b", "r", 2, 128, 128),
        },
    )
    # The official network zeroes the lower half itself.
    face = _rgb(arrays["face_frame_img"])[:, 0].copy()
    face[:, face.shape[1] // 2 :] = 0
    inputs = (
        face,
        _last(arrays["target_sketches"]),
        _rgb(arrays["ref_N_frame_img"]),
        _last(arrays["ref_N_frame_sketch"]),
        arrays["audio_mels"][:, 0, 0],
    )
    variables = _variables(case, "renderer", "render")
    out = jax.jit(ReferenceWarping().apply)(
        variables, *(jnp.asarray(x, jnp.float32) for x in inputs)
    )
    found = {
        "flow": (out.aligned.flow, _last),
        "wrapped_ref": (out.aligned.image, _rgb),
        "generated_face": (out.image, _rgb),
    }
    for name, (ours, layout) in found.items():
        yield compare(RENDERER, name, ours, layout(arrays[name]), tolerance=TOLERANCES[RENDERER])


def _check_discriminator(case: Case) -> Iterator[Check]:
    """Last map of every scale, full size first; mean and deviation of every layer."""
    config = MultiscaleDiscriminatorConfig()
    layers = range(config.layers + 2)
    shapes: dict[str, Shape] = {"image": ("b", 3, "h", "w")}
    for scale in range(config.scales):
        shapes[f"scale{scale}_out"] = ("b", 1, f"h{scale}", f"w{scale}")
        shapes |= {f"scale{scale}_layer{layer}_mean_std": (2,) for layer in layers}
    arrays = case.arrays(DISCRIMINATOR, shapes)
    variables = _variables(case, "discriminator", "discriminator")
    image = jnp.asarray(_rgb(arrays["image"]), jnp.float32)
    out = jax.jit(MultiscaleDiscriminator(config).apply)(variables, image)
    check = functools.partial(compare, DISCRIMINATOR, tolerance=TOLERANCES[DISCRIMINATOR])
    for scale, features in enumerate(out):
        yield check(f"scale{scale}_out", features[-1], _last(arrays[f"scale{scale}_out"]))
        for layer, values in enumerate(features):
            name, values = f"scale{scale}_layer{layer}_mean_std", np.asarray(values, np.float64)
            yield check(name, [values.mean(), values.std(ddof=1)], arrays[name])


def _check_warp(case: Case) -> Iterator[Check]:
    """The warp alone, at the flow's size, at half of it, and without flow."""
    full, half = ("b", "c", 128, 128), ("b", "c", 64, 64)
    arrays = case.arrays(
        WARP,
        {
            **dict.fromkeys(("src128", "out128", "out128_zero_flow"), full),
            **dict.fromkeys(("src64", "out64"), half),
            "flow": ("b", 2, 128, 128),
        },
    )
    ours = {name: jnp.asarray(_last(array), jnp.float32) for name, array in arrays.items()}
    sources = {
        "out128": ("src128", ours["flow"]),
        "out64": ("src64", ours["flow"]),
        "out128_zero_flow": ("src128", jnp.zeros_like(ours["flow"])),
    }
    for name, (source, flow) in sources.items():
        found = warp(ours[source], flow, grid="released")
        yield compare(WARP, name, found, _last(arrays[name]), tolerance=TOLERANCES[WARP])


def _check_mel(case: Case) -> Iterator[Check]:
    arrays = case.arrays(MEL, {"wav": ("s",), "mel": (80, "m")})
    found = log_mel(arrays["wav"]).T
    yield compare(MEL, "mel", found, arrays["mel"], tolerance=TOLERANCES[MEL])


def _check_sketch(case: Case) -> Iterator[Check]:
    """The drawing, by the share of pixels that differ in the worst of them; and the point lists.

    The point lists are compared where the file holds them. The points are in the order of the
    official code: pose, then content.
    """
    arrays = case.arrays(
        SKETCH,
        {
            "landmarks": ("n", 2, 131),
            "hw": ("n", 2),
            "sketch128": ("n", SKETCH_SIZE, SKETCH_SIZE, 3),
        },
        optional={
            "ori_sequence_idx": (131,),
            "full_face_sequence": (131,),
            "connections": ("e", 2),
        },
    )
    if arrays["hw"].min() < 1:
        raise RecordError(
            f"{case.folder / SKETCH} holds crops (hw) without height or width; copy the case again,"
            " or leave the file out"
        )
    scheme = get_scheme("iplap131")
    order = np.concatenate([scheme.groups["pose"], scheme.groups["content"]])
    shares = []
    for points, size, stored in zip(
        arrays["landmarks"], arrays["hw"], arrays["sketch128"], strict=True
    ):
        ordered = np.empty((131, 2), np.float32)
        ordered[order] = points.T
        shares.append(_differing(draw_lines(ordered, tuple(size)), stored))
    yield Check(SKETCH, "sketch128", max(shares), TOLERANCES[SKETCH], "of pixels")
    for name, ours in (("ori_sequence_idx", scheme.indices), ("full_face_sequence", order)):
        if name in arrays:
            yield Check(SKETCH, name, float(np.sum(arrays[name] != ours)), 0, "entries")
    if "connections" in arrays:
        ours = {frozenset(pair) for pair in scheme.indices[scheme.edges].tolist()}
        theirs = {frozenset(pair) for pair in arrays["connections"].tolist()}
        yield Check(SKETCH, "connections", float(len(ours ^ theirs)), 0, "entries")


def _differing(lines: np.ndarray, stored: np.ndarray) -> float:
    """Share of pixels in which a drawing is not the stored one.

    Stored are bytes of the drawing in 0..255, rounded or cut off, or of 255 times that, modulo 256:
    values in 0..255 that were multiplied once more when they were saved. Both readings are tried
    and the nearer one counts, since a wrong drawing is near to neither.
    """
    exact = lines.astype(np.float64)[..., None]
    once = np.abs(stored - exact) >= 1
    twice = np.rint(255 * exact) % 256 != stored
    return min(float(np.mean(np.any(different, -1))) for different in (once, twice))


CHECKS: Suite = {
    MOTION: _check_motion,
    GRADIENTS: _check_gradients,
    RENDERER: _check_renderer,
    DISCRIMINATOR: _check_discriminator,
    WARP: _check_warp,
    MEL: _check_mel,
    SKETCH: _check_sketch,
}
"""By file of a parity case."""
