"""Numba kernels of the software renderer: normals, z-buffer, shadow map, shading. Single-threaded.

The kernels take plain arrays so that numba's on-disk cache is valid across processes; `renderer` is
the typed interface. A z-buffer needs no OpenGL, driver or display.
"""

import math

import numba
import numpy as np

FAR = 1e9
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_CREVICE = np.float32(0.35)  # key light that still reaches a fully occluded point that it sees
_SOFT = np.float32(0.35)  # wrap of green and blue relative to red


@numba.njit(cache=True, nogil=True)
def blend_shapes(points, weights, offsets, indices, deltas):
    """`points` (n, 3) plus the weighted sparse displacement fields, as a new array."""
    moved = points.copy()
    for s in range(len(weights)):
        w = weights[s]
        if w != 0.0:
            for e in range(offsets[s], offsets[s + 1]):
                i = indices[e]
                moved[i, 0] += w * deltas[e, 0]
                moved[i, 1] += w * deltas[e, 1]
                moved[i, 2] += w * deltas[e, 2]
    return moved


@numba.njit(cache=True, nogil=True)
def vertex_normals(points, triangles):
    """Area-weighted unit vertex normals (n, 3)."""
    normals = np.zeros_like(points)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        vx, vy, vz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(len(points)):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2)
        if length > 0:
            normals[i] /= length
    return normals


@numba.njit(cache=True, nogil=True)
def fill_triangles(view, triangles, depth, ids, weights, cull):
    """Z-buffers triangles given in pixel coordinates `view` (n, 3: x right, y down, z away).

    Writes depth (h, w), triangle index (h, w; untouched where nothing is nearer) and the first two
    barycentric weights (h, w, 2). `cull` drops triangles facing away (clockwise on screen).
    """
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = view[a, 0], view[a, 1], view[a, 2]
        x1, y1, z1 = view[b, 0], view[b, 1], view[b, 2]
        x2, y2, z2 = view[c, 0], view[c, 1], view[c, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (cull and area > 0):
            continue
        left = max(0, math.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.5))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        inverse = 1.0 / area
        for row in range(top, bottom + 1):
            py = row + 0.5
            for column in range(left, right + 1):
                px = column + 0.5
                w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
                if w0 < 0:
                    continue
                w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                w2 = 1.0 - w0 - w1
                if w1 < 0 or w2 < 0:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z < depth[row, column]:
                    depth[row, column] = z
                    ids[row, column] = t
                    weights[row, column, 0] = w0
                    weights[row, column, 1] = w1


@numba.njit(cache=True, nogil=True)
def fill_depth(view, triangles, depth):
    """Depth-only `fill_triangles` without culling: shadow and occlusion maps."""
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1 = view[a, 0], view[a, 1], view[b, 0], view[b, 1]
        x2, y2 = view[c, 0], view[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        inverse = 1.0 / area
        for row in range(
            max(0, math.ceil(min(y0, y1, y2) - 0.5)),
            min(height - 1, math.floor(max(y0, y1, y2) - 0.5)) + 1,
        ):
            py = row + 0.5
            for column in range(
                max(0, math.ceil(min(x0, x1, x2) - 0.5)),
                min(width - 1, math.floor(max(x0, x1, x2) - 0.5)) + 1,
            ):
                px = column + 0.5
                w0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
                w1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                if w0 < 0 or w1 < 0 or w0 + w1 > 1:
                    continue
                z = w0 * view[a, 2] + w1 * view[b, 2] + (1 - w0 - w1) * view[c, 2]
                depth[row, column] = min(depth[row, column], z)


@numba.njit(cache=True, nogil=True)
def vertex_light(view, depth, bias, radius):
    """Share of light (n,) that reaches each vertex, by (2 radius + 1)^2 taps into a shadow map."""
    size = depth.shape[0]
    light = np.ones(len(view), np.float32)
    taps = (2 * radius + 1) ** 2
    for i in range(len(view)):
        x, y = int(view[i, 0]), int(view[i, 1])
        if x < radius or y < radius or x >= size - radius or y >= size - radius:
            continue
        blocked = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if depth[y + dy, x + dx] < view[i, 2] - bias:
                    blocked += 1
        light[i] = 1.0 - blocked / taps
    return light


@numba.njit(inline="always", cache=True, nogil=True)
def _channel(k, atlas, corner, lip, blend, key, wrap, fill, up, occlusion, visible, shine, lights):
    """One linear colour channel: hemisphere ambient, wrapped key light, fill light, highlight."""
    x, y, fx, fy = corner
    above = atlas[y, x, k] + (atlas[y, x + 1, k] - atlas[y, x, k]) * fx
    below = atlas[y + 1, x, k] + (atlas[y + 1, x + 1, k] - atlas[y + 1, x, k]) * fx
    albedo = above + (below - above) * fy
    albedo += (lip[k] - albedo) * blend
    direct = max((key + wrap) / (_ONE + wrap), _ZERO) * visible
    sky = lights[3, k] + (lights[2, k] - lights[3, k]) * up
    ambient = (sky + fill * lights[1, k]) * occlusion
    crevice = _CREVICE + (_ONE - _CREVICE) * occlusion
    return albedo * (ambient + direct * lights[0, k] * crevice) + shine * lights[0, k] * occlusion


@numba.njit(inline="always", cache=True, nogil=True)
def _light(value, atlas, material, lights, directions, lip):
    """Colour of one sample; red wraps further round the terminator than the rest, as in skin."""
    nx, ny, nz = value[0], value[1], value[2]
    scale = _ONE / np.float32(math.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-9)))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    column = min(max(value[3], _ZERO), np.float32(atlas.shape[1] - 2))
    row = min(max(value[4], _ZERO), np.float32(atlas.shape[0] - 2))
    x, y = int(column), int(row)
    corner = (x, y, column - np.float32(x), row - np.float32(y))
    blend, occlusion, visible = value[5], value[6], value[7]
    lx, ly, lz = directions[0, 0], directions[0, 1], directions[0, 2]
    key = nx * lx + ny * ly + nz * lz
    fill = max(nx * directions[1, 0] + ny * directions[1, 1] + nz * directions[1, 2], _ZERO)
    up = _HALF + _HALF * ny
    shine = _ZERO
    if key > _ZERO:
        # The eye is far away, so the half vector is (light + z) / |light + z|.
        shine = max((key + nz) / np.float32(math.sqrt(_TWO + _TWO * lz)), _ZERO)
        for _ in range(int(material[1])):
            shine *= shine
        shine *= material[0] * (atlas[y, x, 3] + blend) * visible
    wrap = material[2]
    soft = _SOFT * wrap
    return (
        _channel(
            0, atlas, corner, lip, blend, key, wrap, fill, up, occlusion, visible, shine, lights
        ),
        _channel(
            1, atlas, corner, lip, blend, key, soft, fill, up, occlusion, visible, shine, lights
        ),
        _channel(
            2, atlas, corner, lip, blend, key, soft, fill, up, occlusion, visible, shine, lights
        ),
    )


@numba.njit(inline="always", cache=True, nogil=True)
def _add_sample(value, weights, y, x, corner, attributes, share):
    """Adds the interpolated attributes of one sample, times `share`, to `value`."""
    w0, w1 = weights[y, x, 0], weights[y, x, 1]
    w2 = _ONE - w0 - w1
    w0, w1, w2 = w0 * share, w1 * share, w2 * share
    for k in range(8):
        value[k] += (
            w0 * attributes[corner[0], k]
            + w1 * attributes[corner[1], k]
            + w2 * attributes[corner[2], k]
        )


@numba.njit(cache=True, nogil=True)
def shade(
    ids,
    weights,
    triangles,
    attributes,
    parts,
    atlas,
    materials,
    lights,
    directions,
    lip,
    background,
):
    """Linear colour (h, w, 3) from a z-buffer of twice the height and width.

    A pixel whose four samples show one part is shaded once from their mean attributes; at edges
    each sample is shaded. attributes (n, 8): normal 3, atlas column and row, lip mask, occlusion,
    key-light visibility. atlas (rows, columns, 4): linear albedo and gloss. materials (parts, 3):
    highlight strength, log2 of its exponent, wrap. lights (4, 3): colours of key, fill, sky and
    ground. directions (2, 3): towards key and fill.
    """
    height, width = background.shape[:2]
    image = np.empty((height, width, 3), np.float32)
    value = np.empty(8, np.float32)
    quarter = np.float32(0.25)
    for row in range(height):
        for column in range(width):
            y, x = 2 * row, 2 * column
            a, b, c, d = ids[y, x], ids[y, x + 1], ids[y + 1, x], ids[y + 1, x + 1]
            if a < 0 and b < 0 and c < 0 and d < 0:
                image[row, column] = background[row, column]
                continue
            one = a >= 0 and b >= 0 and c >= 0 and d >= 0
            one = one and parts[a] == parts[b] and parts[a] == parts[c] and parts[a] == parts[d]
            if one:
                value[:] = _ZERO
                for t, dy, dx in ((a, 0, 0), (b, 0, 1), (c, 1, 0), (d, 1, 1)):
                    _add_sample(value, weights, y + dy, x + dx, triangles[t], attributes, quarter)
                colour = _light(value, atlas, materials[parts[a]], lights, directions, lip)
                image[row, column, 0] = colour[0]
                image[row, column, 1] = colour[1]
                image[row, column, 2] = colour[2]
                continue
            image[row, column] = _ZERO
            for t, dy, dx in ((a, 0, 0), (b, 0, 1), (c, 1, 0), (d, 1, 1)):
                if t < 0:
                    colour = (
                        background[row, column, 0],
                        background[row, column, 1],
                        background[row, column, 2],
                    )
                else:
                    value[:] = _ZERO
                    _add_sample(value, weights, y + dy, x + dx, triangles[t], attributes, _ONE)
                    colour = _light(value, atlas, materials[parts[t]], lights, directions, lip)
                image[row, column, 0] += quarter * colour[0]
                image[row, column, 1] += quarter * colour[1]
                image[row, column, 2] += quarter * colour[2]
    return image
