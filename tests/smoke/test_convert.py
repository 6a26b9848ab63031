"""PyTorch weights walk the road: converted, exported, synthesized, trained on, written back."""

import json

import jax
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.cli.main import main
from talkface_jax.export import load
from talkface_jax.interop import fill, torch_file, torch_rules
from talkface_jax.media import audio, video
from talkface_jax.methods import registry
from talkface_jax.train import checkpoint, initial

NETWORKS = ("motion", "render", "discriminator")
STAGES = {"motion": "motion", "render": "render", "discriminator": "render"}
# The published structure, thin.
THIN = {
    "motion": (
        "width=32",
        "layers=1",
        "mlp=32",
        "mel_channels=(4, 4, 8, 8)",
        "point_channels=(4, 4, 4, 4, 8, 8, 8)",
    ),
    "render": (
        "size=32",
        "channels=4",
        "deep=8",
        "kernel=3",
        "spade_hidden=4",
        "weight_hidden=4",
        "audio_width=16",
        "audio_hidden=8",
        "mel_channels=(4, 4, 8, 8)",
    ),
}
TASK = {
    "motion": ("references=5",),
    "render": (
        "inference_references=2",
        "disc_channels=4",
        "perceptual=none",
        "warp_loss=l1",
        "perceptual_weight=0.0",
        "style_weight=0.0",
        "warmup_steps=0",
    ),
}


def _config(stage):
    fields = [f"net.{item}" for item in THIN[stage]] + list(TASK[stage])
    overrides = [f"--config.task.{item}" for item in fields]
    return [f"--config=configs/iplap/{stage}.py:base", *overrides]


def _task(network):
    first, *overrides = _config(STAGES[network])
    return api.load_experiment(first.removeprefix("--config="), overrides).task


def _official(network, seed=5):
    """A random state_dict in PyTorch's names and layouts, constants of its modules included."""
    found, task = registry.torch_networks("iplap")[network], _task(network)
    empty = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), found.template(task))
    tensors = torch_rules.to_torch(empty, found.rules(task))
    return {
        key: array
        if key.endswith((".pe", "num_batches_tracked"))
        else fill.tensor(key, array.shape, seed=seed)
        for key, array in tensors.items()
    }


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, repository):
    """Configs are named relative to it."""
    monkeypatch.chdir(repository)


@pytest.fixture(scope="module")
def official(tmp_path_factory, repository):
    """Weight files by network."""
    folder = tmp_path_factory.mktemp("official")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        for network in NETWORKS:
            path = folder / f"{network}.safetensors"
            torch_rules.write_safetensors(path, _official(network), {})
    return {network: folder / f"{network}.safetensors" for network in NETWORKS}


def _convert(network, source, out, *more):
    names = ["--method=iplap", f"--stage={network}", f"--torch={source}", f"--out={out}"]
    return main(["convert", *names, *_config(STAGES[network]), *more])


@pytest.fixture(scope="module")
def converted(tmp_path_factory, official, repository):
    """Checkpoint directories by network; not to be changed."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        for network in NETWORKS:
            terms = [f"--terms=only for {network}"] if network != "discriminator" else []
            assert _convert(network, official[network], folder / network, *terms) == 0
    return {network: folder / network for network in NETWORKS}


@pytest.fixture
def speech(tmp_path, data_dir):
    """The real clip's first 12 frames of sound."""
    path = tmp_path / "speech.wav"
    audio.write_wav(path, audio.read_audio(data_dir / "obama_speech.mp4")[: 12 * 640])
    return path


def _stages(converted, suffix=""):
    return [f"--{stage}{suffix}={converted[stage]}" for stage in ("motion", "render")]


def test_convert_says_what_it_did(official, tmp_path, capsys):
    assert _convert("motion", official["motion"], tmp_path / "new") == 0
    text = capsys.readouterr().out
    variables, info = checkpoint.load_params(tmp_path / "new")
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["motion"]["params"]))
    tensors = _official("motion")
    left_out = [key for key in tensors if key.endswith((".pe", "num_batches_tracked"))]
    assert f"new: iplap motion, {count:,} parameters" in text
    assert f"from {len(tensors) - len(left_out)} tensors of motion.safetensors" in text
    assert f"{len(left_out)} ignored by name (" in text and "num_batches_tracked" in text
    assert "terms: unknown; ask who trained these weights" in text
    lineage = info["lineage"]
    assert lineage["sha256"] == torch_file.file_sha256(official["motion"])
    assert (lineage["source"], lineage["format"]) == ("motion.safetensors", "safetensors")
    assert lineage["terms"].startswith("unknown") and "talkface_jax" in lineage["converted_by"]
    assert (info["method"], info["stage"], info["step"]) == ("iplap", "motion", 0)


@pytest.mark.parametrize("network", NETWORKS)
def test_back_to_pytorch_gives_the_same_tensors(converted, official, tmp_path, network):
    out = tmp_path / "back.safetensors"
    arguments = ["--method=iplap", f"--stage={network}", f"--from={converted[network]}"]
    assert main(["convert", *arguments, f"--to-torch={out}"]) == 0
    back, tensors = torch_file.read_state_dict(out), _official(network)
    assert set(back) == set(tensors)
    for key, array in tensors.items():
        assert back[key].dtype == array.dtype and back[key].shape == array.shape, key
        np.testing.assert_array_equal(back[key], array, err_msg=key)


def test_one_missing_one_more_one_transposed(official, tmp_path, refused):
    tensors = _official("motion")
    bias, kernel = "jaw_keypoint_map.bias", "jaw_keypoint_map.weight"
    cases = {
        "missing": ({key: x for key, x in tensors.items() if key != bias}, bias),
        "more": ({**tensors, "wings.weight": tensors[kernel]}, "wings.weight"),
        "transposed": ({**tensors, kernel: tensors[kernel].T}, kernel),
    }
    for name, (changed, key) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        torch_rules.write_safetensors(path, changed, {})
        names = ("--method=iplap", "--stage=motion", f"--torch={path}")
        line = refused("convert", *names, f"--out={tmp_path / 'out'}", *_config("motion"))
        assert key in line and str(path) in line, line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_export_and_synthesize_on_the_real_clip(converted, data_dir, speech, tmp_path, capsys):
    bundle, face = tmp_path / "bundle", data_dir / "obama_speech.mp4"
    assert main(["export", *_stages(converted), f"--out={bundle}"]) == 0
    manifest = load.load_bundle(bundle).manifest
    for stage in ("motion", "render"):
        assert manifest.lineage[stage]["lineage"]["terms"] == f"only for {stage}"
    request = [f"--face={face}", f"--audio={speech}", "--face-choice=speaker"]
    both = {"bundle": [f"--bundle={bundle}"], "stages": _stages(converted, "-workdir")}
    made = {name: tmp_path / f"{name}.mp4" for name in both}
    for name, networks in both.items():
        assert main(["synthesize", *networks, *request, f"--out={made[name]}"]) == 0
        assert f"weights {manifest.weight_id}" in capsys.readouterr().out
    with (
        video.open_video(made["bundle"]) as one,
        video.open_video(made["stages"]) as two,
        video.open_video(face) as source,
    ):
        assert len(one) == len(two) == 12 and one.size == source.size and one.info.has_audio
        np.testing.assert_array_equal(one[11], two[11])
        # Random weights paint something on the face and nothing far from it and from the mark.
        change = np.abs(one[11].astype(int) - source[5].astype(int)).mean(-1)
        assert np.percentile(change, 99) > 20 and change[:60, :40].mean() < 6


def test_networks_of_synthesize_that_do_not_fit(converted, data_dir, speech, tmp_path, refused):
    out = tmp_path / "out.mp4"
    request = [f"--face={data_dir / 'astronaut.jpg'}", f"--audio={speech}", f"--out={out}"]
    motion, disc = converted["motion"], converted["discriminator"]
    line = refused("synthesize", f"--motion-workdir={motion}", f"--render-workdir={disc}", *request)
    assert f"{disc}/checkpoints/0 has no player 'renderer', it has: disc; give" in line
    line = refused(
        "synthesize", f"--motion-workdir={motion}", f"--render-workdir={motion}", *request
    )
    assert "holds a motion stage; give it as the motion stage" in line
    line = refused("export", f"--motion={motion}", f"--render={disc}", f"--out={tmp_path / 'b'}")
    assert "it has: disc; give a directory that holds it" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speech.wav"]


def _train(config, workdir, data, *more):
    arguments = [
        *config,
        f"--workdir={workdir}",
        "--no-progress",
        f"--config.data.directory={data}",
        "--config.data.batch_size=2",
        "--config.data.threads=1",
        "--config.train.steps=2",
        "--config.train.eval_every=0",
        "--config.train.preview_every=0",
        "--config.train.best_metric=",
        # Too little to be seen: the parameters after two steps are those before the first.
        "--config.optim.name=sgd",
        "--config.optim.lr=1e-12",
        *more,
    ]
    return main(["train", *arguments])


def _assert_started_from(directory, workdir):
    """Same players' parameters; gives what the run says about them."""
    first, _ = checkpoint.load_params(directory)
    tuned, info = checkpoint.load_params(workdir)
    for player, variables in first.items():
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
            variables["params"],
            tuned[player]["params"],
        )
    assert info["step"] == 2
    return info["lineage"]["init_from"]


def test_training_starts_from_the_given_parameters(tiny_prepared, tmp_path):
    """Small networks, as if they had been converted."""
    start, workdir = tmp_path / "start", tmp_path / "tuned"
    config = [
        "--config=configs/iplap/motion.py:tiny",
        *(f"--config.task.net.{item}" for item in ("width=32", "layers=1", "mlp=32")),
    ]
    experiment = api.load_experiment(config[0].removeprefix("--config="), config[1:])
    task = registry.build_task("iplap", "motion", experiment.task)
    shapes = jax.eval_shape(task.init, jax.random.key(0), task.view.spec(1))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)
    info = {"method": "iplap", "stage": "motion", "lineage": {"terms": "ask me"}}
    initial.write_variables(start, experiment, variables, info)
    flag = f"--init-from={start}"
    assert _train(config, workdir, tiny_prepared, flag) == 0
    (origin,) = _assert_started_from(start, workdir)
    assert origin["lineage"]["terms"] == "ask me" and origin["players"] == ["motion"]
    # The same command again has nothing left to do; without the flag it is another run.
    assert _train(config, workdir, tiny_prepared, flag) == 0
    assert _train(config, workdir, tiny_prepared) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["motion", "render"])
def test_training_starts_from_the_converted_parameters(stage, converted, tiny_prepared, tmp_path):
    networks = [name for name in NETWORKS if STAGES[name] == stage]
    start = [f"--init-from={converted[name]}" for name in networks]
    if stage == "render":
        start += ["--config.players.disc.name=sgd", "--config.players.disc.lr=1e-12"]
    assert _train(_config(stage), tmp_path / "tuned", tiny_prepared, *start) == 0
    for index, name in enumerate(networks):
        origins = _assert_started_from(converted[name], tmp_path / "tuned")
        assert len(origins) == len(networks)
        terms = "unknown; ask who" if name == "discriminator" else f"only for {name}"
        assert origins[index]["lineage"]["terms"].startswith(terms)


def test_a_converted_directory_cannot_be_continued(
    converted, tiny_prepared, contents, tmp_path, refused
):
    workdir = converted["motion"]
    before = contents(workdir)
    arguments = [*_config("motion"), f"--config.data.directory={tiny_prepared}"]
    small = ("--config.data.batch_size=2", "--config.data.threads=1")
    line = refused("train", f"--workdir={workdir}", "--no-progress", *arguments, *small)
    assert f"give another --workdir and --init-from={workdir}" in line
    assert contents(workdir) == before


@pytest.fixture(scope="module")
def full_size(tmp_path_factory, repository):
    """Random weights of the published sizes by network, as npz files."""
    manifest = json.loads((repository / "tests/parity/iplap/manifest.json").read_text())
    names = {"motion": "landmark_generator", "render": "renderer"}
    folder, note = tmp_path_factory.mktemp("full"), manifest["_note"]
    for network, name in names.items():
        tensors = fill.state_dict(manifest[name], seed=note["seed"], scales=note["scales"])
        np.savez(folder / f"{network}.npz", **tensors)
    return {network: folder / f"{network}.npz" for network in names}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_published_sizes_to_a_talking_mp4(full_size, data_dir, speech, tmp_path, capsys):
    counts = {"motion": "13,724,394", "render": "18,963,235"}
    for network, source in full_size.items():
        names = ["--method=iplap", f"--stage={network}", f"--torch={source}"]
        assert main(["convert", *names, f"--out={tmp_path / network}"]) == 0
        assert f"{counts[network]} parameters" in capsys.readouterr().out
    stages = {network: tmp_path / network for network in full_size}
    bundle, out = tmp_path / "bundle", tmp_path / "out.mp4"
    assert main(["export", *_stages(stages), f"--out={bundle}"]) == 0
    face = f"--face={data_dir / 'obama_speech.mp4'}"
    request = [face, f"--audio={speech}", "--face-choice=speaker", "--references=2", "--batch=4"]
    assert main(["synthesize", f"--bundle={bundle}", *request, f"--out={out}"]) == 0
    with video.open_video(out) as made:
        assert len(made) == 12
