"""Loading, overriding, validating and dumping of experiment configs."""

import dataclasses
import importlib.util
import itertools
import json
import sys

import pytest

from talkface_jax import config as config_module
from talkface_jax.errors import ConfigError, PackageError
from talkface_jax.methods import registry

MOTION = "configs/iplap/motion.py"


def _load(repository, *overrides, file=MOTION, arg="tiny"):
    values = config_module.parse_flags([f"--config={repository / file}:{arg}", *overrides])
    cls = registry.task_class(values["method"], values["stage"]).config_class
    return config_module.freeze(values, task_class=cls)


def test_overrides_reach_their_field(repository):
    config = _load(repository, "--config.optim.lr=3e-4", "--config.train.steps=7")
    assert (config.optim.lr, config.train.steps) == (3e-4, 7)


def test_frozen_after_load(repository):
    with pytest.raises(dataclasses.FrozenInstanceError):
        _load(repository).train.steps = 3


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("--config.optim.lrr=3e-4", "lrr"),
        ("--config.data.batch_size=many", "batch_size"),
        ("--config.task.net.head=sideways", "net.head"),
        (
            "--config.data.batch_size=0",
            r"config\.data\.batch_size must be from 1 to 16384, not 0; ",
        ),
        ("--config.optim.lr=0.0", r"config\.optim\.lr must be above 0.*--config\.optim\.lr"),
        ("--config.train.ema_decay=1.0", r"config\.train\.ema_decay must be from 0 to below 1, "),
        ("--config.task.references=0", r"config\.task\.references must .*--config\.task\.ref"),
        ("--config.data.batch_size=100000", r"config\.data\.batch_size must be from 1 to 16384, "),
        ("--config.seed=-1", r"config\.seed must be from 0 to 4e\+09, not -1; .*--config\.seed"),
        ("--config.optim.betas=(0.9, 1.0)", r"config\.optim\.betas must be from 0 to below 1, not"),
        ("--config.mesh.data=-2", r"config\.mesh\.data must be at least -1, not -2; give another"),
        ("--config.mesh.data=0", r"config\.mesh\.data must be -1 or at least 1, not 0; give an"),
        ("--config.mesh.min_shard_size=-1", r"config\.mesh\.min_shard_size must be at least 0, "),
        ("--config.optim.schedule=wsdd", "optim.schedule"),
        ("--config.optim.warmup_steps=-1", r"config\.optim\.warmup_steps must be at least 0"),
        ("--config.optim.decay_steps=-1", r"config\.optim\.decay_steps must be at least 0"),
    ],
)
def test_wrong_field_or_value_is_named(repository, override, field):
    with pytest.raises(ConfigError, match=field):
        _load(repository, override)


@pytest.mark.parametrize(
    ("schedule", "field"), [("inverse_sqrt", "warmup_steps"), ("wsd", "decay_steps")]
)
def test_schedule_needs_its_steps(repository, schedule, field):
    chosen = f"--config.optim.schedule={schedule}"
    config = _load(repository, chosen, f"--config.optim.{field}=1")
    assert config.optim.schedule == schedule
    with pytest.raises(
        ConfigError,
        match=rf"optim\.{field} must be at least 1 where optim\.schedule is '{schedule}'",
    ):
        _load(repository, chosen, f"--config.optim.{field}=0")


def test_optimiser_of_a_player_is_checked_by_its_name(repository):
    config = _load(repository)
    players = {"motion": dataclasses.replace(config.optim, lr=-1.0)}
    with pytest.raises(
        ConfigError,
        match=r"^config\.players\.motion\.lr must be above 0, not -1\.0; "
        r"give another --config\.players\.motion\.lr$",
    ):
        config_module.validate(dataclasses.replace(config, players=players))


def test_patterns_of_what_is_trained_are_given_on_the_command_line(repository):
    config = _load(repository, "--config.optim.only=('decoder', '*/norm_*')")
    assert config.optim.only == ("decoder", "*/norm_*")


@pytest.mark.parametrize("name", ["nowhere.py", "nowhere.py:tiny", ""])
def test_missing_file_is_named(tmp_path, name):
    """A folder is no file either."""
    place = tmp_path / name.partition(":")[0]
    with pytest.raises(
        ConfigError, match=rf"^there is no file {place}; run the command in the checkout, or give"
    ):
        config_module.parse_flags([f"--config={tmp_path / name}"])


def test_a_file_that_a_config_misses_is_not_the_config(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    open('absent.txt')\n")
    with pytest.raises(
        ConfigError, match=r"mine\.py cannot be loaded .*absent.*; correct the file"
    ):
        config_module.parse_flags([f"--config={tmp_path / 'mine.py'}"])


def test_a_package_that_a_config_misses_is_named_with_its_remedy(
    tmp_path, monkeypatch, own_metadata
):
    """If it is one of ours; the file is not at fault then."""
    (tmp_path / "mine.py").write_text("import safetensors.numpy\n")
    (tmp_path / "yours.py").write_text("import of_nobody\n")
    real = importlib.util.find_spec
    hidden = {name for name in sys.modules if name.partition(".")[0] == "safetensors"}
    for name in {*hidden, "safetensors"}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "safetensors" else real(name)
    )
    with pytest.raises(
        PackageError,
        match=r"^the package safetensors is not installed; pip install talkface-jax$",
    ):
        config_module.parse_flags([f"--config={tmp_path / 'mine.py'}"])
    with pytest.raises(
        ConfigError, match=r"yours\.py cannot be loaded \(ModuleNotFoundError: .*; c"
    ):
        config_module.parse_flags([f"--config={tmp_path / 'yours.py'}"])


def test_dump_and_load_give_the_same_config(repository):
    config = _load(repository)
    values = json.loads(config_module.dumps(config))
    assert config_module.freeze(values, task_class=type(config.task)) == config


def test_unknown_field_in_a_dump_is_named(repository):
    config = _load(repository)
    values = json.loads(config_module.dumps(config))
    values["task"]["net"]["wings"] = 2
    with pytest.raises(ConfigError, match="wings"):
        config_module.freeze(values, task_class=type(config.task))


def test_differences_names_only_what_differs(repository):
    old = config_module.to_dict(_load(repository))
    new = config_module.to_dict(_load(repository, "--config.optim.lr=0.5", "--config.seed=9"))
    assert config_module.differences(old, new) == ["optim.lr", "seed"]


def test_commands_of_config_headers_can_be_pasted(repository):
    """Each line of flags goes on where the line before ends in a backslash."""
    for path in sorted((repository / "configs").glob("*/*.py")):
        lines = path.read_text().split('"""')[1].splitlines()
        assert not [line for line in lines if line.strip() == "\\"], path
        for before, line in itertools.pairwise(lines):
            if line.startswith("    --"):
                assert before.endswith(" \\"), f"{path}: {line}"
