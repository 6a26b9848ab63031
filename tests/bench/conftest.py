"""What the measurements share: the board that prints them, and inputs made for them."""

import functools
import importlib.util
import os
import pathlib
import sys

import jax
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
# Test files are imported by path, so a helper beside them is found only if its folder is named.
sys.path.insert(0, str(HERE))


def pytest_addoption(parser):
    """`--torch-root`: official code to time beside ours."""
    parser.addoption(
        "--torch-root",
        metavar="PATH",
        type=pathlib.Path,
        action="append",
        default=[],
        help="a checkout of IP_LAP, face-vid2vid or LivePortrait, timed too; repeatable",
    )


@pytest.fixture(scope="session")
def officials(request):
    """A function: a code base and a number format -> its official networks, by what they are called
    in the table; none of what `--torch-root` does not name.

    On a GPU eager and compiled, in TF32 and bfloat16; on a CPU eager float32.
    """
    import code_bases

    given = request.config.getoption("--torch-root", default=[])
    try:
        roots = code_bases.by_code_base(given)
    except ValueError as error:
        pytest.exit(str(error), 2)
    if roots and importlib.util.find_spec("torch") is None:
        pytest.exit("--torch-root needs torch beside this package: pip install torch", 2)

    @functools.cache
    def load(base, compute):
        return _rivals(base, roots[base], compute) if base in roots else {}

    return load


def _rivals(base, root, compute):
    import code_bases
    import official_iplap
    import official_latent
    import torch

    torch.set_num_threads(os.cpu_count())
    make = {
        code_bases.IP_LAP: official_iplap.IpLap,
        code_bases.FACEVID2VID: official_latent.FaceVid2Vid,
        code_bases.LIVEPORTRAIT: official_latent.LivePortrait,
    }[base]
    if jax.default_backend() != "gpu":
        return {"official, eager": make(root, device="cpu")}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return {
        f"official, {'torch.compile' if compiled else 'eager'}": make(
            root, device="cuda", compiled=compiled, half=compute == "bfloat16"
        )
        for compiled in (False, True)
    }


@pytest.fixture(scope="session")
def board(repository):
    """Rows from all measurements; printed and written when the last one is done."""
    import measure

    found = measure.Board()
    yield found
    found.publish(repository / "out" / "bench" / "bench.json")


@pytest.fixture(scope="session", autouse=True)
def real_compilation():
    """First calls are to show what compilation costs, not what a disk cache gives back."""
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def actor():
    """A synthetic person, a scene, and 24 frames of shape weights and head angles."""
    from data_prep.synthetic import identity, renderer, scene
    from data_prep.synthetic.mesh import load_head

    model = load_head()
    weights = np.zeros((24, len(model.shapes.names)), np.float32)
    phase = np.linspace(0, 6, 24)
    weights[:, model.shapes.names.index("jawOpen")] = 0.25 * (1 - np.cos(phase))
    angles = 0.1 * np.stack([np.sin(phase), np.cos(phase), 0 * phase], -1)
    head = renderer.make_head(identity.CAST[0], model)
    place = scene.sample_scene(np.random.default_rng(5))

    def render():
        return [
            renderer.render(head, renderer.deform(head, w, a), place)
            for w, a in zip(weights, angles, strict=True)
        ]

    return render


@pytest.fixture(scope="session")
def frames(actor):
    """The actor's frames; making them also compiles the renderer's kernels."""
    return actor()


@pytest.fixture(scope="session")
def prepared_faces(tmp_path_factory, frames):
    """A small prepared directory whose images are the actor's: 8 segments of 125 frames."""
    import dataclasses

    from talkface_jax.media.images import crop_resize, encode_jpeg
    from talkface_jax.records import RECORD_SIZE

    unit = _unit_conftest()
    whole = np.array([0, 0, frames[0].shape[1], frames[0].shape[0]], np.float32)
    size = (RECORD_SIZE, RECORD_SIZE)
    images = tuple(encode_jpeg(crop_resize(frame, whole, size)) for frame in frames)
    segments = []
    for seed in range(8):
        segment = unit.build_segment(seed=seed, frames=125)
        info = dataclasses.replace(segment.info, text="a blue moon")
        shown = (images * 125)[:125]
        segments.append(dataclasses.replace(segment, info=info, frames=shown))
    return unit.write_prepared(tmp_path_factory.mktemp("faces"), {"train-0": segments})


def _unit_conftest():
    """The unit tests' makers of segments and shards."""
    path = HERE.parent / "unit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("bench_unit_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
