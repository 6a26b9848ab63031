"""Export of stages whose players lie apart, and of stages that several methods chain."""

import dataclasses
import json
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from talkface_jax import api
from talkface_jax.api import exporting
from talkface_jax.capabilities import Declaration
from talkface_jax.config import ExperimentConfig
from talkface_jax.errors import CheckpointError, ConfigError, WeightsError
from talkface_jax.export.load import load_bundle
from talkface_jax.methods import registry
from talkface_jax.methods.base import ChainMethod, StageTask
from talkface_jax.methods.iplap.motion.config import MotionConfig
from talkface_jax.methods.sinha2020.motion.config import MotionConfig as SinhaMotionConfig
from talkface_jax.methods.stages.blink.config import BlinkConfig
from talkface_jax.ranges import Range, ranged
from talkface_jax.stored.integrity import digest
from talkface_jax.task import FrozenNetwork, Program
from talkface_jax.train import initial
from talkface_jax.train.workdir import prepare_workdir

PACKAGE = "toy_package"


@dataclasses.dataclass(frozen=True)
class VoiceConfig:
    width: int = ranged(3, Range(least=1))


class VoiceTask(StageTask):
    config_class = VoiceConfig


class Low(nn.Module):
    """Centres what it hears by a mean that was computed from data."""

    width: int

    @nn.compact
    def __call__(self, x):
        mean = self.variable("constants", "mean", jnp.zeros, (self.width,))
        return nn.Dense(self.width)(x - mean.value)


def _networks(width):
    return {"low": Low(width), "high": nn.Dense(width)}


def _variables(width=3, *, seed=0):
    """Of both players, different for every seed."""
    rng = np.random.default_rng(seed)

    def fill(leaf):
        return rng.normal(size=leaf.shape).astype(np.float32)

    return jax.tree.map(fill, _shapes(width))


def _shapes(width):
    key, x = jax.random.key(0), jnp.zeros((1, width))
    return jax.eval_shape(
        lambda: {name: net.init(key, x) for name, net in _networks(width).items()}
    )


class Toy(ChainMethod):
    declaration = Declaration(
        "toy",
        "nobody's",
        {
            "voice": f"{PACKAGE}:VoiceTask",
            "blink": "talkface_jax.methods.stages.blink.task:BlinkTask",
        },
        chain=f"{PACKAGE}:METHOD",
    )

    def programs(self, configs):
        width = configs["voice"].width
        nets = _networks(width)

        def speak(variables, inputs):
            low = nets["low"].apply(variables["low"], inputs["x"])
            return {"y": nets["high"].apply(variables["high"], low)}

        def blink(variables, inputs):
            return {"y": inputs["x"] + variables["blink"]["params"]["bias"]}

        inputs = {"x": (("b", width), jnp.float32)}
        bias = jax.ShapeDtypeStruct((width,), jnp.float32)
        return [
            Program("speak", dict.fromkeys(nets, "voice"), speak, inputs, lambda: _shapes(width)),
            Program(
                "blink",
                {"blink": "blink"},
                blink,
                inputs,
                lambda: {"blink": {"params": {"bias": bias}}},
            ),
        ]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A method of one stage of its own, with two players, and of the shared blink stage."""
    package = types.ModuleType(PACKAGE)
    vars(package).update(DECLARATION=Toy.declaration, METHOD=Toy(), VoiceTask=VoiceTask)
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    monkeypatch.setitem(registry.PACKAGES, "toy", PACKAGE)


def _write(folder, variables, *, method="toy", stage="voice", config=None):
    config = VoiceConfig() if config is None else config
    experiment = ExperimentConfig(method, stage, config)
    info = {"method": method, "stage": stage, "lineage": {"terms": f"of {folder.name}"}}
    if variables:
        initial.write_variables(folder, experiment, variables, info)
    else:
        prepare_workdir(folder, experiment)
    return folder


@pytest.fixture
def blink(tmp_path):
    """A directory of the blink stage, of a run for another method than the toy."""
    variables = {"blink": {"params": {"bias": np.arange(3, dtype=np.float32)}}}
    config = BlinkConfig()
    return _write(tmp_path / "eyes", variables, method="sinha2020", stage="blink", config=config)


def _spoken(bundle):
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    return np.asarray(load_bundle(bundle).call("speak", {"x": x})["y"])


def test_players_of_a_stage_may_lie_in_two_directories(blink, tmp_path):
    variables = _variables()
    # The second run holds a player of its own besides, which no program takes.
    both = {"high": variables["high"], "judge": _variables(seed=5)["high"]}
    low, high = _write(tmp_path / "l", {"low": variables["low"]}), _write(tmp_path / "h", both)
    whole = _write(tmp_path / "whole", variables)
    apart = api.export({"voice": [low, str(high)], "blink": blink}, out=tmp_path / "apart")
    together = api.export({"voice": whole, "blink": [blink]}, out=tmp_path / "together")
    assert apart.weight_id == together.weight_id and apart.method == "toy"
    np.testing.assert_array_equal(_spoken(tmp_path / "apart"), _spoken(tmp_path / "together"))
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    (first, second) = (variables["low"], variables["high"]["params"])
    dense = first["params"]["Dense_0"]
    hidden = (x - first["constants"]["mean"]) @ dense["kernel"] + dense["bias"]
    expected = hidden @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(_spoken(tmp_path / "apart"), expected, rtol=1e-5, atol=1e-5)


def test_lineage_names_every_directory_and_its_players(blink, tmp_path):
    variables = _variables()
    folders = [_write(tmp_path / name, {name: variables[name]}) for name in ("low", "high")]
    api.export({"voice": folders, "blink": blink}, out=tmp_path / "bundle")
    values = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["lineage"]
    found = [
        (item["players"], item["lineage"]["terms"], item["checkpoint"])
        for item in values["voice"]["directories"]
    ]
    assert found == [
        ([name], f"of {name}", str(tmp_path / name / "checkpoints" / "0"))
        for name in ("low", "high")
    ]
    assert values["voice"]["config"]["task"] == {"width": 3}
    assert values["blink"]["lineage"] == {"terms": "of eyes"}
    assert values["blink"]["config"]["method"] == "sinha2020"


def test_constants_of_an_older_checkpoint_are_found_among_its_statistics(blink, tmp_path):
    variables = _variables()
    low = variables["low"]
    older = {"params": low["params"], "batch_stats": low["constants"]}
    new = _write(tmp_path / "new", variables)
    old = _write(tmp_path / "old", {**variables, "low": older})
    found = [
        api.export({"voice": place, "blink": blink}, out=tmp_path / f"{place.name}-bundle")
        for place in (new, old)
    ]
    assert found[0].weight_id == found[1].weight_id


def test_directories_that_do_not_make_the_stage_are_refused(blink, tmp_path):
    variables = _variables()
    low, again = (_write(tmp_path / name, {"low": variables["low"]}) for name in ("l", "l2"))
    other = _write(tmp_path / "o", {"judge": variables["high"]})
    wide = _write(tmp_path / "w", {"high": _variables(4)["high"]}, config=VoiceConfig(4))
    cases = [
        ([low, again], CheckpointError, f"{low} and {again} both hold low; give one of the two"),
        ([low, low], CheckpointError, f"{low} and {low} both hold low; give one of the two"),
        ([low, other], CheckpointError, f"{other} holds none of high, low; leave it out"),
        ([low], CheckpointError, "has no player 'high', it has: low; give a directory that holds"),
        ([low, wide], ConfigError, f"{wide} and {low} have different task configs; give direct"),
        ([low, blink], ConfigError, f"{blink} holds a blink stage; give it as the blink stage"),
    ]
    for places, error, words in cases:
        with pytest.raises(error) as refused:
            api.export({"voice": places, "blink": blink}, out=tmp_path / "bundle")
        assert words in str(refused.value)
    assert not (tmp_path / "bundle").exists()


def test_a_player_in_none_of_several_directories_is_named(blink, tmp_path, monkeypatch):
    variables = _variables()
    low = _write(tmp_path / "l", {"low": variables["low"]})
    judge = _write(tmp_path / "j", {"judge": variables["high"]})
    programs = Toy().programs({"voice": VoiceConfig()})
    third = dataclasses.replace(programs[0], players={**programs[0].players, "judge": "voice"})
    monkeypatch.setattr(Toy, "programs", lambda self, configs: [third, programs[1]])
    with pytest.raises(CheckpointError, match=r"^no directory holds high; give one of talkface"):
        api.export({"voice": [low, judge], "blink": blink}, out=tmp_path / "bundle")


def test_nothing_given_is_nothing_to_export(tmp_path):
    for stages in ({}, {"voice": []}, {"voice": [], "blink": ()}):
        with pytest.raises(ConfigError, match=r"^there is nothing to export; give the working"):
            api.export(stages, out=tmp_path / "bundle")
    eyes = _write(tmp_path / "eyes", {}, stage="blink", config=BlinkConfig())
    with pytest.raises(
        ConfigError,
        match=r"^toy has the stages voice, blink; give a working directory of voice too$",
    ):
        api.export({"voice": [], "blink": eyes}, out=tmp_path / "bundle")


@pytest.mark.parametrize("order", [("voice", "blink"), ("blink", "voice")])
@pytest.mark.parametrize("trained_for", ["sinha2020", "toy"])
def test_a_shared_stage_fits_every_method_that_chains_it(tmp_path, trained_for, order):
    voice = _write(tmp_path / "voice", _variables())
    eyes = _write(tmp_path / "eyes", {}, method=trained_for, stage="blink", config=BlinkConfig())
    places = {"voice": [voice], "blink": [eyes]}
    method, experiments = exporting._load_stages({stage: places[stage] for stage in order})
    # In the method's order, whatever the order that they were given in.
    assert (method, list(experiments)) == ("toy", ["voice", "blink"])
    assert experiments["blink"].method == trained_for


def test_a_stage_of_its_own_fits_no_other_method(blink, tmp_path):
    """Of the same name, but another task."""
    motion = {
        name: _write(tmp_path / name, {}, method=name, stage="motion", config=config)
        for name, config in (("iplap", MotionConfig()), ("sinha2020", SinhaMotionConfig()))
    }
    voice = _write(tmp_path / "voice", _variables())
    found = exporting._method_of(*_given({"motion": [motion["sinha2020"]], "blink": [blink]}))
    assert found == "sinha2020"
    with pytest.raises(ConfigError) as refused:
        exporting._method_of(*_given({"motion": [motion["iplap"]], "blink": [blink]}))
    assert str(refused.value) == (
        f"{blink} is of method sinha2020, but the stages before it are of iplap; give stages of "
        "one method"
    )
    with pytest.raises(ConfigError, match=r"motion|iplap is of method iplap"):
        exporting._load_stages({"voice": [voice], "motion": [motion["iplap"]]})


def _given(workdirs):
    loaded = {stage: api.load_workdir_experiment(places[0]) for stage, places in workdirs.items()}
    return loaded, workdirs


@pytest.mark.parametrize("text", ["[]", '{"train": 5}', "{}"])
def test_a_directory_of_no_stage_is_told_so(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    from talkface_jax.stored.variables import load_params

    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"config\.json is of no stage; point at"):
        load_params(tmp_path)


def test_a_frozen_network_other_than_that_of_training_is_refused(tmp_path, blink, monkeypatch):
    ears = {"params": {"kernel": np.ones((2, 2), np.float32)}}
    loads = []

    def load():
        loads.append(1)
        return ears

    network = FrozenNetwork("ears", load, licence="MIT", sha256="ab" * 32, lineage={})
    monkeypatch.setattr(Toy, "frozen", lambda self, configs: (network,))

    def write(name, players, stage="voice", **frozen):
        config = VoiceConfig() if stage == "voice" else BlinkConfig()
        info = {"method": "toy", "stage": stage, "lineage": {}, "frozen": frozen}
        initial.write_variables(
            tmp_path / name, ExperimentConfig("toy", stage, config), players, info
        )
        return tmp_path / name

    voice = _variables()
    eyes = {"blink": {"params": {"bias": np.arange(3, dtype=np.float32)}}}
    same, other = {"ears": digest(ears)}, {"ears": "0" * 64}
    known = write("same", voice, **same)
    api.export(
        {"voice": known, "blink": write("lids", eyes, stage="blink", **same)},
        out=tmp_path / "known",
    )
    # Once to compare it with what both stages know, and once to write it.
    assert len(loads) == 2
    # What no stage was trained with has nothing to be compared with.
    api.export({"voice": write("none", voice, nose="0"), "blink": blink}, out=tmp_path / "unknown")
    assert len(loads) == 3
    apart = [
        write(name, {name: voice[name]}, **frozen)
        for name, frozen in (("low", same), ("high", other))
    ]
    for places in (write("other", voice, **other), apart):
        with pytest.raises(WeightsError, match="voice stage was trained with another ears"):
            api.export({"voice": places, "blink": blink}, out=tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()
