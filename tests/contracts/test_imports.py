"""What the training path may load: no decoder, no tracker, no data-set library, no torch, no
tensorflow."""

import subprocess
import sys

HEAVY = (
    "apache_beam",
    "av",
    "librosa",
    "matplotlib",
    "mediapipe",
    "tensorflow",
    "tensorflow_datasets",
    "torch",
)


def test_training_path_imports_nothing_heavy():
    program = (
        "import sys, talkface_jax.methods.iplap.motion.task, talkface_jax.train.loop, "
        "talkface_jax.data.pipeline\n"
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
