"""IP-LAP's two networks as the paper's code runs them, from the variables of ours, by name.

Nothing is shared, merged or batched over references: every frame encodes its references again,
every reference has its own modulation, SPADE is three 3x3 convolutions, and every window of the
landmark generator encodes each of its five frames. Written from the method alone, on plain lax
operations, with no code of the package.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

EPSILON = 1e-5
MEL_STRIDES = (
    ((1, 1),) * 3 + ((3, 1), (1, 1), (1, 1), (3, 3), (1, 1), (1, 1), (3, 2)) + ((1, 1),) * 3
)
MEL_RESIDUAL = (1, 2, 4, 5, 7, 8, 10)
# Stage by stage: a strided block, then residual ones.
REFERENCE_STRIDES = (1,) + (2, 1, 1) * 5 + (2, 1) + (1, 1)
REFERENCE_RESIDUAL = tuple(i for i in range(1, 18) if (i - 1) % 3)
POSE_STRIDES = (1,) + (1, 1, 1) + (2, 1, 1) * 5 + (1, 1)
POSE_RESIDUAL = (*(i for i in range(1, 19) if (i - 1) % 3), 20)


def conv(x, p, stride=1, pad=1):
    """A convolution over all but the first and last axes of x."""
    rank = x.ndim - 2
    strides = (stride,) * rank if isinstance(stride, int) else stride
    dimensions = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}[rank]
    y = jax.lax.conv_general_dilated(
        x, p["kernel"], strides, [(pad, pad)] * rank, dimension_numbers=dimensions
    )
    return y + p["bias"] if "bias" in p else y


def batch_norm(x, p, s):
    return (x - s["mean"]) / jnp.sqrt(s["var"] + EPSILON) * p["scale"] + p["bias"]


def layer_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * p["scale"] + p["bias"]
    )


def instance_norm(x):
    centred = x - x.mean((1, 2), keepdims=True)
    return centred / jnp.sqrt((centred**2).mean((1, 2), keepdims=True) + EPSILON)


def leaky(x, slope):
    return jnp.where(x > 0, x, slope * x)


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def relu(x):
    return jnp.maximum(x, 0)


def shuffle(x):
    """Pixel shuffle by 2: each group of four channels becomes a 2x2 block."""
    rows = []
    for dy in range(2):
        columns = [x[..., 2 * dy + dx :: 4] for dx in range(2)]
        rows.append(jnp.stack(columns, 3).reshape(x.shape[0], x.shape[1], -1, x.shape[3] // 4))
    return jnp.stack(rows, 2).reshape(x.shape[0], -1, rows[0].shape[2], rows[0].shape[3])


def encoder(x, p, s, strides, residual, last):
    """A stack of convolution, BatchNorm, skip and activation that ends at one place."""
    for index, stride in enumerate(strides):
        block, stats = p[f"block_{index}"], s[f"block_{index}"]
        y = conv(x, block["conv"], stride, int(index < len(strides) - 2))
        y = batch_norm(y, block["norm"], stats["norm"])
        y = y + x if index in residual else y
        x = relu(y) if index < len(strides) - 1 else last(y)
    return x.reshape(x.shape[0], -1)


def spade(x, condition, p):
    for half in ("1", "2"):
        layer = p[f"modulation_{half}"]
        hidden = conv(condition, layer["shared"])
        normal = instance_norm(x)
        x = normal + normal * conv(hidden, layer["scale"]) + conv(hidden, layer["offset"])
        x = conv(leaky(x, 0.2), p[f"conv_{half}"])
    return x


def adain(x, audio, p):
    for half in ("1", "2"):
        layer = p[f"modulation_{half}"]
        hidden = relu(dense(audio, layer["shared"]))
        scale, offset = (dense(hidden, layer[n])[:, None, None] for n in ("scale", "offset"))
        x = conv(leaky(instance_norm(x) * (1 + scale) + offset, 0.2), p[f"conv_{half}"])
    return x


def stem(x, p, s):
    kernel = p["conv_1"]["kernel"].shape[0]
    h1 = relu(batch_norm(conv(x, p["conv_1"], 1, kernel // 2), p["norm_1"], s["norm_1"]))
    return h1, relu(batch_norm(conv(h1, p["conv_2"], 2), p["norm_2"], s["norm_2"]))


def grid_sample(image, grid):
    """torch's, align_corners off, zeros outside: image (1, h, w, c), grid (1, h, w, 2) in [-1, 1].

    A grid of another size is first resized by half, bilinearly: means of 2x2.
    """
    h, w = image.shape[1:3]
    if grid.shape[1] != h:
        grid = (
            grid[:, ::2, ::2] + grid[:, 1::2, ::2] + grid[:, ::2, 1::2] + grid[:, 1::2, 1::2]
        ) / 4
    x, y = ((grid[0, ..., 0] + 1) * w - 1) / 2, ((grid[0, ..., 1] + 1) * h - 1) / 2
    planes = [map_coordinates(image[0, ..., c], [y, x], order=1) for c in range(image.shape[-1])]
    return jnp.stack(planes, -1)[None]


@jax.jit
def moved_reference(p, s, image, drawn, sketch):
    """One reference (1, h, w, 3) on one frame's sketches (1, h, w, 15): three maps and a weight."""
    h1, h2 = stem(jnp.concatenate([image, drawn], -1), p["stem"], s["stem"])
    half = sketch[:, ::2, ::2]
    x = spade(spade(h2, half, p["spade_1"]), half, p["spade_2"])
    x = spade(shuffle(x), sketch, p["spade_3"])
    pad = p["flow"]["kernel"].shape[0] // 2
    flow = conv(x, p["flow"], 1, pad)
    weight = jax.nn.sigmoid(conv(relu(conv(x, p["weight_hidden"], 1, pad)), p["weight"], 1, pad))
    size = image.shape[1]
    line = 2 * (np.arange(size, dtype=np.float32) / np.float32(size - 1)) - 1
    base = np.stack(np.meshgrid(line, line), -1)[None]
    grid = base + 2 * flow / (size - 1)
    return grid_sample(h1, grid), grid_sample(h2, grid), grid_sample(image, grid), weight


@jax.jit
def translated(p, s, masked, sketch, h1, h2, image, mel):
    """The translation network on one frame."""
    audio = encoder(
        mel[..., None], p["audio_encoder"], s["audio_encoder"], MEL_STRIDES, MEL_RESIDUAL, relu
    )
    _, x = stem(jnp.concatenate([masked, sketch], -1), p["stem"], s["stem"])
    x = shuffle(adain(spade(x, h2, p["spade_1"]), audio, p["adain_1"]))
    x = adain(spade(x, h1, p["spade_2"]), audio, p["adain_2"])
    x = leaky(spade(x, image, p["spade_3"]), 0.01)
    return jax.nn.sigmoid(conv(x, p["to_rgb"], 1, p["to_rgb"]["kernel"].shape[0] // 2))


def rendered(variables, masked, sketches, images, drawn, mel):
    """One frame: (h, w, 3), (5, h, w, 3), (r, h, w, 3) twice, (80, 16) -> image and warped."""
    p, s = variables["params"], variables["batch_stats"]
    sketch = jnp.concatenate(list(sketches), -1)[None]
    h1 = h2 = image = total = 0.0
    for index in range(len(images)):
        found = moved_reference(
            p["alignment"], s["alignment"], images[index][None], drawn[index][None], sketch
        )
        weight = found[3]
        total = total + weight
        h1, image = h1 + found[0] * weight, image + found[2] * weight
        h2 = h2 + found[1] * weight[:, ::2, ::2]
    total = total + EPSILON
    h1, h2, image = h1 / total, h2 / total[:, ::2, ::2], image / total
    parts = (p["translation"], s["translation"])
    return translated(*parts, masked[None], sketch, h1, h2, image, mel[None])[0], image[0]


def positions(length, width):
    table = np.zeros((length, width))
    for place in range(length):
        for pair in range(0, width, 2):
            angle = place / 10_000 ** (pair / width)
            table[place, pair], table[place, pair + 1] = np.sin(angle), np.cos(angle)
    return table.astype(np.float32)


def attention(x, p):
    """Self-attention of tokens (n, width), head by head."""
    out = p["out"]["bias"]
    for head in range(p["query"]["kernel"].shape[1]):
        q, k, v = (
            x @ p[name]["kernel"][:, head] + p[name]["bias"][head]
            for name in ("query", "key", "value")
        )
        scores = jax.nn.softmax(q @ k.T / np.sqrt(q.shape[-1]), -1)
        out = out + scores @ v @ p["out"]["kernel"][head]
    return out


def transformer_layer(x, p):
    x = layer_norm(x + attention(x, p["attention"]), p["norm_1"])
    return layer_norm(x + dense(relu(dense(x, p["mlp_in"])), p["mlp_out"]), p["norm_2"])


@jax.jit
def window_points(variables, mel, pose, ref_pose, ref_content):
    """One window: (5, 80, 16), (5, 74, 2), (r, 74, 2), (r, 57, 2) -> content points (5, 57, 2)."""
    p, s = variables["params"], variables["batch_stats"]

    def tokens(name, items, strides, residual):
        found = [
            encoder(item[None], p[name], s[name], strides, residual, jnp.tanh) for item in items
        ]
        return layer_norm(jnp.concatenate(found), p["token_norm"])

    points = jnp.concatenate([ref_pose, ref_content], 1)
    reference = tokens("reference_encoder", points, REFERENCE_STRIDES, REFERENCE_RESIDUAL)
    audio = tokens("mel_encoder", mel[..., None], MEL_STRIDES, MEL_RESIDUAL)
    seen = tokens("pose_encoder", pose, POSE_STRIDES, POSE_RESIDUAL)
    place, modality = positions(len(mel), audio.shape[1]), p["modality"]
    x = [reference + modality[3], audio + place + modality[2], seen + place + modality[1]]
    x = jnp.concatenate(x)
    index = 0
    while f"layer_{index}" in p:
        x = transformer_layer(x, p[f"layer_{index}"])
        index += 1
    first, last = len(points), len(points) + len(mel)
    lips, jaw = dense(x[first:last], p["lips"]), dense(x[last:], p["jaw"])
    return jnp.concatenate([jaw, lips], -1).reshape(len(mel), -1, 2)
