"""Fine-tuning on one picture: what changes in a bundle, what does not, and what is refused."""

import json
import os
import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from talkface_jax import api
from talkface_jax.cli.main import main
from talkface_jax.errors import (
    ConfigError,
    FaceError,
    MediaError,
    StoppedError,
    TalkfaceError,
    WeightsError,
)
from talkface_jax.export import bundle, load
from talkface_jax.media.video import VideoWriter, open_visual
from talkface_jax.methods import registry
from talkface_jax.methods.finetuning import REPLAY, replay_faces
from talkface_jax.train import evaluation, loop


@pytest.fixture(scope="module", autouse=True)
def copyist():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.PACKAGES, "copyist", "copyist")
        import copyist

        yield copyist
    sys.modules.pop("copyist", None)


@pytest.fixture(scope="module")
def parent(tmp_path_factory, copyist):
    """A bundle whose renderer paints in wrong colours."""
    method = registry.get_method("copyist")
    configs = {"lines": copyist.LinesConfig(), "render": copyist.RenderConfig()}
    programs = method.programs(configs)
    rng = np.random.default_rng(0)
    variables = {}
    for program in programs:
        for player, tree in program.variables().items():
            variables[player] = jax.tree.map(
                lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), tree
            )
    kernel = variables["renderer"]["params"]["texture"]["kernel"]
    variables["renderer"]["params"]["texture"]["kernel"] = kernel + np.eye(3, dtype=np.float32) / 2
    lineage = {stage: {"lineage": {"licences": ["for tests"]}} for stage in configs}
    out = tmp_path_factory.mktemp("parent") / "bundle"
    bundle.write_bundle(
        method, programs, variables=variables, configs=configs, lineage=lineage, out=out
    )
    return out


@pytest.fixture(scope="module")
def picture(data_dir):
    return data_dir / "astronaut.jpg"


@pytest.fixture(scope="module")
def tuned(parent, picture, tmp_path_factory):
    seen = []
    out = tmp_path_factory.mktemp("tuned") / "bundle"
    found = api.finetune(
        parent, face=picture, out=out, steps=40, progress=lambda *row: seen.append(row)
    )
    assert seen[0] == ("copyist/render", 0, 40)
    return found


def test_a_bundle_of_such_a_method_brings_replay_faces(parent):
    manifest = load.check_bundle(parent)
    assert (parent / REPLAY).read_bytes() == replay_faces()
    assert REPLAY in manifest.files
    weights = [manifest.files[f"{name}.safetensors"] for name in ("lines", "renderer")]
    assert manifest.weight_id == bundle._weight_id(manifest.files, ("renderer", "lines"))
    assert len(set(weights)) == 2


def test_the_picture_is_painted_better(tuned):
    assert tuned.metric == "lpips" and 0 < tuned.steps <= 40
    assert tuned.after < 0.8 * tuned.before
    assert f"lpips of the picture {tuned.before:.4f} -> {tuned.after:.4f} (-" in str(tuned)


def test_all_else_is_carried_over_bit_for_bit(parent, tuned):
    old, new = load.check_bundle(parent), load.check_bundle(tuned.out)
    changed = {name for name in old.files if old.files[name] != new.files[name]}
    assert set(old.files) == set(new.files) and changed == {"renderer.safetensors"}
    before, after = (load.read_variables(place, "renderer") for place in (parent, tuned.out))
    np.testing.assert_array_equal(
        before["params"]["motion"]["kernel"], after["params"]["motion"]["kernel"]
    )
    assert (before["params"]["texture"]["kernel"] != after["params"]["texture"]["kernel"]).all()
    assert new.weight_id == tuned.manifest.weight_id != old.weight_id
    points = np.zeros((1, 68, 2), np.float32)
    given = {"identity": np.full((1, 64, 64, 3), 0.5, np.float32), "identity_points": points}
    images = [
        np.asarray(load.load_bundle(place).call("render", {**given, "points": points})["image"])
        for place in (parent, tuned.out)
    ]
    assert np.abs(images[0] - images[1]).max() > 0.01


def test_lineage_names_parent_and_picture(parent, tuned, picture):
    lineage = tuned.manifest.lineage["render"]
    assert lineage["lineage"] == {"licences": ["for tests"]}, "terms travel on"
    assert tuned.manifest.lineage["lines"] == load.check_bundle(parent).lineage["lines"]
    (record,) = lineage["finetuned"]
    assert record["parent"] == load.check_bundle(parent).weight_id == tuned.parent
    assert record["picture_sha256"] == bundle.digest(picture)
    assert record["replay_sha256"] == bundle.digest(parent / REPLAY)
    assert record["steps"] == tuned.steps and record["config"]["optim"]["only"] == ["texture"]
    text = (tuned.out / "manifest.json").read_text()
    assert "astronaut" not in text and str(picture.parent) not in text
    assert sorted(path.name for path in tuned.out.parent.iterdir()) == ["bundle"]


def test_a_fine_tuned_bundle_can_be_fine_tuned_again(tuned, picture, tmp_path):
    again = api.finetune(tuned.out, face=picture, out=tmp_path / "again", steps=2, seed=1)
    first, second = again.manifest.lineage["render"]["finetuned"]
    assert second["parent"] == tuned.manifest.weight_id and first["parent"] == tuned.parent


@pytest.fixture
def refused(parent, picture, tmp_path, capsys):
    """One sentence, and nothing is left at --out."""

    def run(error, **changes):
        given = {"bundle": parent, "face": picture, "out": tmp_path / "out", **changes}
        before = sorted(tmp_path.rglob("*"))
        flags = [f"--{name}={value}" for name, value in given.items()]
        with pytest.raises(error) as found:
            api.finetune(given.pop("bundle"), **given)
        assert main(["finetune", *flags]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1] == f"talkface finetune: {found.value}"
        assert "\n" not in str(found.value) and "; " in str(found.value)
        assert sorted(tmp_path.rglob("*")) == before
        return str(found.value)

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, picture):
    """Nobody, two people, and a video."""
    folder = tmp_path_factory.mktemp("pictures")
    with open_visual(picture) as image:
        pixels = image[0]
    portrait = pixels[:256, 96:352]
    Image.fromarray(np.concatenate([portrait, portrait], 1)).save(folder / "two.png")
    Image.new("RGB", (200, 200)).save(folder / "none.png")
    with VideoWriter(folder / "video.mp4", size=(256, 256), audio=None) as writer:
        for _ in range(3):
            writer.write(np.ascontiguousarray(portrait))
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("none.png", FaceError, "no face was found"),
        ("two.png", FaceError, "2 faces were found; choose one with --face-choice="),
        ("video.mp4", MediaError, "is a video of 3 frames; give one picture"),
        ("text.png", MediaError, "text.png"),
        ("missing.png", MediaError, "missing.png"),
    ],
)
def test_what_is_no_picture_of_one_face(refused, pictures, name, error, words):
    assert words in refused(error, face=pictures / name)


def test_one_of_several_faces_can_be_chosen(parent, pictures, tmp_path):
    found = api.finetune(
        parent, face=pictures / "two.png", face_choice="0", out=tmp_path / "out", steps=1
    )
    assert found.steps == 1


def test_a_bundle_of_a_method_that_cannot(refused, parent, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(parent, other)
    _rewrite(other, method="iplap")
    words = "iplap cannot be fine-tuned on one picture; sinha2022 and copyist can, so give a bundle"
    assert words in refused(ConfigError, bundle=other)


def _rewrite(folder, **changes):
    """The manifest with other fields, sealed anew."""
    values = json.loads((folder / "manifest.json").read_text())
    values = {**values, **changes}
    values["seal"] = bundle.seal(values)
    (folder / "manifest.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", f"{REPLAY} is missing from the bundle; export or copy"),
        ("altered", f"{REPLAY} was altered"),
        ("older", f"has no replay faces ({REPLAY}), without which"),
        ("other", f"{REPLAY} holds no replay faces ("),
    ],
)
def test_replay_faces_that_are_missing_or_altered(refused, parent, tmp_path, damage, words):
    other = tmp_path / "other"
    shutil.copytree(parent, other)
    place = other / REPLAY
    files = json.loads((other / "manifest.json").read_text())["files"]
    if damage == "altered":
        place.write_bytes(place.read_bytes()[:-1] + b"x")
    elif damage == "other":
        place.write_bytes(b"something else")
        _rewrite(other, files={**files, REPLAY: bundle.digest(place)})
    else:
        place.unlink()
    if damage == "older":
        _rewrite(other, files={name: value for name, value in files.items() if name != REPLAY})
    assert words in refused(WeightsError, bundle=other)


def test_an_out_that_exists_and_no_bundle(refused, parent, tuned, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("keep me")
    assert "out exists; choose another --out" in refused(WeightsError, out=tmp_path / "out")
    assert "exists; choose another --out" in refused(WeightsError, out=tuned.out)
    shutil.rmtree(tmp_path / "out")
    assert "is not a bundle" in refused(WeightsError, bundle=tmp_path)


def test_nothing_but_an_empty_folder_may_lie_at_out(tmp_path):
    (tmp_path / "folder").mkdir()
    for free in ("folder", "none"):
        bundle.require_nothing(tmp_path / free)
    os.mkfifo(tmp_path / "pipe")  # As /dev/null, neither a file nor a folder.
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for taken in ("pipe", "link"):
        with pytest.raises(WeightsError, match=f"{taken} exists; choose another --out"):
            bundle.require_nothing(tmp_path / taken)


def test_steps_out_of_range(parent, picture, tmp_path):
    with pytest.raises(ConfigError, match=r"^config\.train\.steps must be at least 1, not 0"):
        api.finetune(parent, face=picture, out=tmp_path / "out", steps=0)
    with pytest.raises(ConfigError, match=r"^config\.seed must be"):
        api.finetune(parent, face=picture, out=tmp_path / "out", seed=-1)


def test_a_picture_that_gets_no_better_is_said_and_leaves_nothing(
    parent, picture, tmp_path, monkeypatch
):
    """An older bundle would else be replaced by a worse one."""
    perfect = lambda *_: {"lpips": 0.0}  # noqa: E731
    monkeypatch.setattr(evaluation, "evaluate_variables", perfect)
    with pytest.raises(TalkfaceError, match=r"^in 1 steps lpips of the picture got no better \(0"):
        api.finetune(parent, face=picture, out=tmp_path / "out", steps=1)
    assert not list(tmp_path.iterdir())


def test_a_stop_leaves_nothing(parent, picture, tmp_path, monkeypatch):
    def stopped(*_, workdir, **__):
        pathlib.Path(workdir).mkdir()
        raise StoppedError("stopped by SIGINT after step 3, which is saved; run it again")

    monkeypatch.setattr(loop, "train", stopped)
    with pytest.raises(TalkfaceError, match=r"^stopped; nothing was written to .*out, so run it"):
        api.finetune(parent, face=picture, out=tmp_path / "out", steps=5)
    assert not list(tmp_path.iterdir())


def test_methods_without_it_have_no_further_files():
    for name in ("iplap", "sinha2020"):
        assert registry.get_method(name).files({}) == {}
        with pytest.raises(ConfigError, match=f"^{name} cannot be fine-tuned on one picture; "):
            registry.fine_tuning(name)
