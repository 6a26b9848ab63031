"""Bundles of several networks: whose weights a program takes, and what is said of frozen ones."""

import dataclasses
import json

import choir
import jax
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.export import bundle, load


def _write(out, **changes):
    arguments = {"variables": choir.variables(), "configs": {}, "lineage": {}, "out": out}
    programs = changes.pop("programs", [choir.SING])
    method = changes.pop("method", choir.Choir())
    return bundle.write_bundle(method, programs, **{**arguments, **changes})


def test_two_players_and_a_frozen_network_make_what_the_function_makes(tmp_path):
    written = _write(tmp_path / "b")
    loaded = load.load_bundle(tmp_path / "b")
    assert loaded.manifest == written
    assert loaded.manifest.programs["sing"]["networks"] == ["low", "high", "ears"]
    assert loaded.manifest.programs["sing"]["state"] == []
    networks = {**choir.variables(), "ears": choir.EARS}
    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 3), np.float32)
        got = np.asarray(loaded.call("sing", {"x": x})["y"])
        np.testing.assert_allclose(got, choir.SING.function(networks, {"x": x})["y"], rtol=1e-6)
        # By hand, so that no network stands in another's place in both.
        low, high = (choir.variables()[name]["params"] for name in ("low", "high"))
        plain = np.tanh(x @ low["kernel"] + low["bias"]) @ high["kernel"]
        np.testing.assert_allclose(got, plain * [0.5, 2.0, -1.0], rtol=1e-5, atol=1e-6)


def test_terms_and_origin_of_a_frozen_network_stand_in_the_manifest(tmp_path):
    _write(tmp_path / "b")
    values = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert values["frozen"] == {
        "ears": {
            "licence": "CC BY 4.0",
            "sha256": "ab" * 32,
            "lineage": {"source": "ears.npz", "authors": ["A", "B"]},
        }
    }
    names = {path.name for path in (tmp_path / "b").iterdir()}
    assert {name for name in names if name.endswith(".safetensors")} == {
        f"{name}.safetensors" for name in ("low", "high", "ears")
    }
    assert set(values["files"]) == names - {"manifest.json"}


def test_every_networks_weights_are_in_the_weight_id(tmp_path):
    class Louder(choir.Choir):
        def frozen(self, configs):
            def load():
                return jax.tree.map(lambda leaf: 2 * leaf, choir.EARS)

            return [dataclasses.replace(item, load=load) for item in super().frozen(configs)]

    changed = {**choir.variables(), "high": jax.tree.map(np.negative, choir.variables()["high"])}
    found = [
        _write(tmp_path / "a"),
        _write(tmp_path / "b"),
        _write(tmp_path / "c", variables=changed),
        _write(tmp_path / "d", method=Louder()),
    ]
    first, again, other, louder = (item.weight_id for item in found)
    assert first == again and len({first, other, louder}) == 3


def test_a_missing_network_is_refused_by_name(tmp_path):
    class Deaf(choir.Choir):
        def frozen(self, configs):
            return ()

    low = {"low": choir.variables()["low"]}
    with pytest.raises(WeightsError, match=r"^no weights of high were given; export a checkpoint"):
        _write(tmp_path / "b", variables=low)
    with pytest.raises(WeightsError, match=r"^no weights of ears were given"):
        _write(tmp_path / "b", method=Deaf())
    assert list(tmp_path.iterdir()) == []
    _write(tmp_path / "b")
    (tmp_path / "b" / "ears.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"ears\.safetensors is missing from the bundle; export"):
        load.load_bundle(tmp_path / "b")


def test_weights_of_a_frozen_network_must_fit_and_its_name_be_its_own(tmp_path):
    class Narrow(choir.Choir):
        def frozen(self, configs):
            small = {"params": {"gain": np.ones(2, np.float32)}}
            return [dataclasses.replace(super().frozen(configs)[0], load=lambda: small)]

    with pytest.raises(WeightsError, match=r"^weights of ears: params/gain has shape \(2,\), not"):
        _write(tmp_path / "b", method=Narrow())
    with pytest.raises(ValueError, match="ears is a player and a frozen network"):
        _write(tmp_path / "b", variables={**choir.variables(), "ears": choir.EARS})
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_type_are_refused(tmp_path):
    half = jax.tree.map(lambda leaf: leaf.astype(np.float16), choir.variables())
    with pytest.raises(WeightsError, match="is float16, not float32; export the checkpoint"):
        _write(tmp_path / "b", variables=half)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("shape", "words"),
    [(lambda x: x.reshape(-1), "has the batch within"), (lambda x: x, "")],
)
def test_rows_that_could_not_be_cut_are_no_program(tmp_path, shape, words):
    def function(networks, inputs):
        return {"y": shape(choir.SING.function(networks, inputs)["y"])}

    program = dataclasses.replace(choir.SING, function=function)
    if not words:
        _write(tmp_path / "b", programs=[program])
        return
    with pytest.raises(ValueError, match=words):
        _write(tmp_path / "b", programs=[program])


def test_no_row_at_all_is_refused(tmp_path):
    _write(tmp_path / "b")
    with pytest.raises(ValueError, match="sing: a batch of no rows"):
        load.load_bundle(tmp_path / "b").call("sing", {"x": np.zeros((0, 3), np.float32)})


def test_two_programs_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one name"):
        _write(tmp_path / "b", programs=[choir.SING, choir.SING])
