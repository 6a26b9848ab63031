"""The resolved configs, field by field, so that a changed default is seen in review.

Where a change is meant, write the goldens anew and look at the difference:
  TALKFACE_UPDATE_GOLDENS=1 python -m pytest tests/golden && git diff tests/golden
"""

import json
import os
import pathlib

import pytest

from talkface_jax import api
from talkface_jax import config as config_module
from talkface_jax.methods import registry

HERE = pathlib.Path(__file__).parent
UPDATE = "TALKFACE_UPDATE_GOLDENS"
CONFIGS = [(*key, size) for key in registry.tasks() for size in ("base", "tiny")]


@pytest.mark.parametrize(("method", "stage", "size"), CONFIGS)
def test_resolved_config_is_as_recorded(method, stage, size, repository):
    path = HERE / f"{method}_{stage}_{size}.json"
    config = api.load_experiment(f"{repository}/configs/{method}/{stage}.py:{size}", [])
    dumped = config_module.dumps(config)
    if os.environ.get(UPDATE):
        path.write_text(dumped)
    changed = config_module.differences(json.loads(path.read_text()), json.loads(dumped))
    remedy = f"if that is meant: {UPDATE}=1 python -m pytest tests/golden"
    assert not changed, f"{path.name} differs in {', '.join(changed)}; {remedy}"
    assert path.read_text() == dumped


def test_every_config_file_has_its_goldens(repository):
    files = {path.relative_to(repository / "configs") for path in repository.glob("configs/*/*.py")}
    recorded = {pathlib.Path(method) / f"{stage}.py" for method, stage, _ in CONFIGS}
    assert files == recorded
    names = {f"{method}_{stage}_{size}.json" for method, stage, size in CONFIGS}
    assert {path.name for path in HERE.glob("*.json")} == names


def test_dump_of_a_golden_gives_it_back(repository):
    """What training writes to a working directory is read back to the same experiment."""
    for method, stage, size in CONFIGS:
        values = config_module.load_json(HERE / f"{method}_{stage}_{size}.json")
        experiment = api.load_experiment(f"{repository}/configs/{method}/{stage}.py:{size}", [])
        where = f"{method}/{stage}:{size}"
        frozen = config_module.freeze(values, task_class=type(experiment.task), where=where)
        assert frozen == experiment
