"""What the training path may load: no decoder, no tracker, no data-set library, no torch, no
tensorflow."""

import subprocess
import sys

HEAVY = ("av", "librosa", "mediapipe", "tensorflow_datasets", "tensorflow", "torch", "matplotlib")


def test_training_path_imports_nothing_heavy():
    program = (
        "import sys, talkface_jax.methods.iplap.tasks, talkface_jax.train.loop, "
        "talkface_jax.data.pipeline\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_help_needs_no_jax():
    program = (
        "import sys\n"
        "from talkface_jax.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print('jax' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "False"
