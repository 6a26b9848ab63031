import dataclasses
import json
import shutil
import types
from typing import Any

import numpy as np
import pytest

from talkface_jax import config as c
from talkface_jax.errors import ConfigError, RecordError
from talkface_jax.methods.iplap.motion.view import MotionView
from talkface_jax.train.source import PreparedSource

VIEW = MotionView(references=2)


def mixture(prepared, **options):
    both = (str(prepared), str(prepared))
    options = {"mixture": both, "weights": (1.0, 3.0), "eval_split": "test", **options}
    return c.DataConfig(batch_size=4, threads=0, **options)


def test_a_mixture_of_the_config_is_read(prepared):
    source = PreparedSource(mixture(prepared))
    batches = source.train(VIEW, batch_size=4, seed=0)
    assert next(batches)["pose"].shape == (4, 5, 74, 2)
    state = json.loads(json.dumps(batches.get_state()))
    assert state["mixture"] == [[50, 1.0], [50, 3.0]] and state["global_next_index"] == 4
    masks = [batch["mask"].sum() for batch in source.evaluation(VIEW, batch_size=4)]
    assert sum(masks) == 2 * 4
    batches.close()


def test_a_split_without_windows_is_refused_before_training(prepared):
    """Training has 30 frames with a face on end, the test split 24."""
    view: Any = types.SimpleNamespace(window=26, faces=True)
    one = c.DataConfig(directory=str(prepared), eval_split="test", threads=0)
    PreparedSource(one, evaluates=False).train(view, batch_size=4, seed=0).close()
    with pytest.raises(RecordError, match=r"split test of .* has no 26 consecutive frames with a"):
        PreparedSource(one).train(view, batch_size=4, seed=0)


def test_lineage_names_every_manifest(prepared):
    one = PreparedSource(c.DataConfig(directory=str(prepared), eval_split="test")).lineage
    assert one["dataset"] == "fake" and one["shards"][0]["sha256"]
    lineage = PreparedSource(mixture(prepared)).lineage
    assert lineage == {"mixture": [{**one, "weight": 1.0}, {**one, "weight": 3.0}]}


def test_a_remote_directory_is_refused_by_its_name(prepared):
    remote = "gs://bucket/mead"
    for data in (
        c.DataConfig(directory=remote),
        mixture(prepared, mixture=(str(prepared), remote)),
    ):
        with pytest.raises(
            RecordError, match=r"gs://bucket/mead is not on this machine.*; copy it"
        ):
            PreparedSource(data)


class KeptView:
    name, window, faces = "kept", 5, True

    def spec(self, batch_size):
        raise NotImplementedError

    def sample(self, segment, start, rng, *, train):
        return {"row": segment.stored("length", lambda s: (np.array([len(s)]),))[0]}


def test_the_folder_of_features_is_that_of_the_config(prepared, tmp_path):
    folder = tmp_path / "runs" / "features"
    source = PreparedSource(mixture(prepared, features_dir=str(folder)))
    batches = source.train(KeptView(), batch_size=40, seed=0)
    next(batches)
    batches.close()
    # Of both parts, which are the same set.
    assert len(list(folder.glob("length/*/*.safetensors"))) == 3
    assert len(list(source.evaluation(KeptView(), batch_size=4))) > 0
    assert len(list(folder.glob("length/*/*.safetensors"))) == 4
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data\.features_dir .*file cannot be made"):
        PreparedSource(mixture(prepared, features_dir=str(tmp_path / "file")))


def test_every_directory_needs_the_split(prepared):
    with pytest.raises(RecordError, match="has no split 'dev'; use one of: test, train"):
        PreparedSource(mixture(prepared, eval_split="dev"))
    with pytest.raises(ConfigError, match=r"data.directory is empty; set --config.data.directory"):
        PreparedSource(c.DataConfig())


def _with_manifest(prepared, folder, **fields):
    shutil.copytree(prepared, folder)
    values = json.loads((folder / "manifest.json").read_text())
    assert set(fields) <= set(values)
    (folder / "manifest.json").write_text(json.dumps({**values, **fields}))
    return str(folder)


def test_a_set_without_val_is_refused_with_what_to_do(prepared, tmp_path):
    """Nothing takes its place in silence: the test split is what scores are reported of."""
    with pytest.raises(ConfigError) as refused:
        PreparedSource(c.DataConfig(directory=str(prepared)))
    assert str(refused.value) == (
        f"{prepared} has no split 'val' to choose checkpoints by (it has: test, train); prepare it "
        "into another folder with --val-share=0.1 (two speakers or more), or evaluate nothing in "
        "training "
        "(--config.train.eval_every=0 --config.train.preview_every=0 --config.train.best_metric=), "
        "or, only to go on with an older run as it was, give --config.data.eval_split=test"
    )
    shards = json.loads((prepared / "manifest.json").read_text())["shards"]
    training = [shard for shard in shards if shard["split"] == "train"]
    only_training = _with_manifest(prepared, tmp_path / "set", shards=training)
    with pytest.raises(ConfigError, match=r"\(it has: train\)") as refused:
        PreparedSource(c.DataConfig(directory=only_training))
    assert "eval_split" not in str(refused.value), "no split of it may choose"
    assert PreparedSource(c.DataConfig(directory=str(prepared)), evaluates=False).lineage
    assert PreparedSource(c.DataConfig(directory=str(prepared), eval_split="test")).lineage


@pytest.mark.parametrize(
    ("dataset", "remedy"),
    [
        ("synthetic", "--val-clips=8"),
        ("speech", "--val-clips=8"),
        (
            "folder",
            "--val-share=0.1 (two speakers or more) or clips of split val in its metadata.csv",
        ),
        ("hdtf", "--val-share=0.1 (two speakers or more)"),
    ],
)
def test_the_remedy_for_a_set_without_val_is_one_its_preparation_takes(
    prepared, tmp_path, dataset, remedy
):
    made = _with_manifest(prepared, tmp_path / "set", dataset=dataset)
    with pytest.raises(ConfigError) as refused:
        PreparedSource(c.DataConfig(directory=made))
    assert f"; prepare it into another folder with {remedy}, or evaluate nothing" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"directory": "d"}, r"data.directory is 'd' and data.mixture is not empty; give only one"),
        ({"weights": (1.0,)}, r"data.mixture has 2 directories and data.weights 1 numbers; give"),
        ({"weights": (1.0, 0.0)}, r"data.weights must be above 0 and finite, not \(1.0, 0.0\);"),
        ({"weights": (1.0, float("nan"))}, r"data.weights must be above 0 and finite"),
        (
            {"workers": -1},
            r"config.data.workers must be at least 0, not -1; give another --config.data.workers",
        ),
        ({"max_corrupt": -2}, r"config.data.max_corrupt must be at least 0, not -2; give another"),
    ],
)
def test_contradictions_are_refused_with_the_field(wrong, message):
    data = dataclasses.replace(c.DataConfig(mixture=("a", "b"), weights=(1.0, 1.0)), **wrong)
    with pytest.raises(ConfigError, match=message):
        c.validate(c.ExperimentConfig("iplap", "motion", None, data=data))


def test_a_mixture_is_given_on_the_command_line(repository):
    values = c.parse_flags(
        [
            f"--config={repository}/configs/iplap/motion.py:tiny",
            '--config.data.mixture=("a","b")',
            "--config.data.weights=(0.5,2)",
        ]
    )
    from talkface_jax.methods.iplap.motion.config import MotionConfig

    data = c.freeze(values, task_class=MotionConfig).data
    assert data.mixture == ("a", "b") and data.weights == (0.5, 2.0)
    assert c.build(c.DataConfig, json.loads(c.dumps(data))) == data
