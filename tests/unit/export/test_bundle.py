"""Bundles: round trip, padding, and every way in which one can be broken."""

import json

import jax
import jax.export
import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.export import bundle, load, programs


def _inputs(batch, references=3):
    rng = np.random.default_rng(batch)
    return {
        "x": rng.integers(0, 255, (batch, 2, 3), np.uint8),
        "bias": rng.standard_normal((references, 2)).astype(np.float32),
    }


def _write(toy, out, **changes):
    method, program, variables = toy
    arguments = {
        "variables": {"net": variables},
        "configs": {},
        "lineage": {},
        "out": out,
    }
    return bundle.write_bundle(method, [program], **{**arguments, **changes})


def test_flatten_round_trip():
    nested = {"params": {"a": {"b": 1}, "c": 2}, "batch_stats": {"d": 3}}
    assert programs.flatten(nested) == {"params/a/b": 1, "params/c": 2, "batch_stats/d": 3}
    assert programs.unflatten(programs.flatten(nested)) == nested


def test_bundle_gives_the_networks_outputs(toy, toy_bundle):
    _, program, variables = toy
    loaded = load.load_bundle(toy_bundle)
    for batch, references in ((5, 3), (2, 1), (8, 3)):
        inputs = _inputs(batch, references)
        got = loaded.call("toy", inputs)["y"]
        np.testing.assert_allclose(
            got, program.function({"net": variables}, inputs)["y"], rtol=1e-6
        )
    assert loaded.manifest.lineage == {"only": {"licence": "CC0"}}
    assert loaded.configs == {"only": {"width": 4}}
    assert len(loaded.manifest.weight_id) == 16


def test_batches_are_padded_to_few_buckets(toy_bundle):
    loaded = load.load_bundle(toy_bundle)
    seen = []
    for batch in (6, 3, 8, 1, 9):
        out = loaded.call("toy", _inputs(batch))["batch"]
        assert out.shape == (batch,)
        seen.append(int(out[0]))
    assert seen == [8, 8, 8, 8, 16]


def test_programs_are_for_every_platform(toy_bundle):
    data = (toy_bundle / "toy.stablehlo").read_bytes()
    assert jax.export.deserialize(bytearray(data)).platforms == ("cpu", "cuda", "tpu")


def test_wrong_inputs_are_named(toy_bundle):
    loaded = load.load_bundle(toy_bundle)
    with pytest.raises(ValueError, match="bias"):
        loaded.call("toy", {**_inputs(2), "bias": np.zeros((3, 1), np.float32)})
    with pytest.raises(ValueError, match="takes"):
        loaded.call("toy", {"x": _inputs(2)["x"]})
    with pytest.raises(ValueError, match="uint8"):
        loaded.call("toy", {**_inputs(2), "x": np.zeros((2, 2, 3), np.float32)})


@pytest.mark.parametrize(
    "name", ["toy.stablehlo", "net.safetensors", "config.json", "manifest.json"]
)
def test_changed_byte_is_found(toy_bundle, name):
    path = toy_bundle / name
    data = bytearray(path.read_bytes())
    # In the manifest: a letter of a value that nothing else would notice.
    at = data.index(b"CC0") if name == "manifest.json" else len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{name}.*again"):
        load.load_bundle(toy_bundle)


def test_missing_file_and_foreign_directories(toy_bundle, tmp_path):
    (toy_bundle / "net.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"net\.safetensors is missing"):
        load.load_bundle(toy_bundle)
    with pytest.raises(WeightsError, match="not a bundle"):
        load.load_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(WeightsError, match="not a bundle's manifest"):
        load.load_bundle(tmp_path)


def test_a_bundle_of_an_older_version_is_refused_with_the_way_out(toy_bundle):
    path = toy_bundle / "manifest.json"
    values = json.loads(path.read_text())
    assert values["version"] == 2
    values["version"] = 1
    path.write_text(json.dumps({**values, "seal": bundle.seal(values)}))
    with pytest.raises(WeightsError) as refused:
        load.load_bundle(toy_bundle)
    assert str(refused.value) == (
        f"bundle {toy_bundle} has format version 1, this program reads 2; export it again"
    )


def test_newer_jax_is_asked_for(toy_bundle):
    path = toy_bundle / "manifest.json"
    values = json.loads(path.read_text())
    values["minimum_jax"] = "99.1.0"
    path.write_text(json.dumps({**values, "seal": bundle.seal(values)}))
    with pytest.raises(WeightsError, match=r"needs jax 99\.1\.0"):
        load.load_bundle(toy_bundle)


def test_a_bundle_is_replaced_and_nothing_else_is(toy, toy_bundle):
    before = json.loads((toy_bundle / "manifest.json").read_text())["weight_id"]
    _, _, variables = toy
    changed = jax.tree.map(lambda leaf: leaf + 1, variables)
    written = _write(toy, toy_bundle, variables={"net": changed})
    assert written.weight_id != before == _write(toy, toy_bundle).weight_id
    other = toy_bundle.parent / "photos"
    other.mkdir()
    (other / "a.jpg").write_bytes(b"x")
    with pytest.raises(WeightsError, match="not a bundle"):
        _write(toy, other)
    assert sorted(path.name for path in toy_bundle.parent.iterdir()) == ["bundle", "photos"]


def test_weights_that_do_not_fit(toy, tmp_path):
    _, _, variables = toy
    wrong = {**variables, "params": {**variables["params"], "extra": np.zeros(2)}}
    with pytest.raises(WeightsError, match="params/extra has no place"):
        _write(toy, tmp_path / "b", variables={"net": wrong})
    with pytest.raises(WeightsError, match="no weights of net"):
        _write(toy, tmp_path / "b", variables={})
    broken = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    with pytest.raises(WeightsError, match="NaN"):
        _write(toy, tmp_path / "b", variables={"net": broken})
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_nothing(toy, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle.os, "fsync", full_disk)
    with pytest.raises(WeightsError, match="No space left"):
        _write(toy, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_was_just_loaded_is_not_compiled_again(toy_bundle):
    first, second = load.load_bundle(toy_bundle), load.load_bundle(toy_bundle)
    assert first._programs["toy"].function is second._programs["toy"].function
    # What another caller asked for does not change what is run here.
    first.call("toy", _inputs(8))
    assert int(second.call("toy", _inputs(3))["batch"][0]) == 4


def test_other_weights_at_the_same_place_are_loaded_anew(toy, tmp_path):
    _, program, variables = toy
    _write(toy, tmp_path / "b")
    before = np.asarray(load.load_bundle(tmp_path / "b").call("toy", _inputs(2))["y"])
    doubled = jax.tree.map(lambda leaf: 2 * leaf, variables)
    _write(toy, tmp_path / "b", variables={"net": doubled})
    after = np.asarray(load.load_bundle(tmp_path / "b").call("toy", _inputs(2))["y"])
    wanted = program.function({"net": doubled}, _inputs(2))["y"]
    np.testing.assert_allclose(after, wanted, rtol=1e-6)
    assert not np.allclose(before, after)


def test_only_the_last_bundles_are_kept(toy, tmp_path):
    for number in range(4):
        _write(toy, tmp_path / str(number), lineage={"only": {"number": number}})
        load.load_bundle(tmp_path / str(number))
    assert len(load._RECENT) == 2


def test_bfloat16_is_a_matter_of_arithmetic_alone(toy, tmp_path):
    """Weights and results stay float32; the numbers differ by bfloat16's three digits."""
    plain, narrow = (tmp_path / name for name in ("plain", "narrow"))
    assert _write(toy, plain).compute == "float32"
    assert _write(toy, narrow, compute="bfloat16").compute == "bfloat16"
    assert (plain / "net.safetensors").read_bytes() == (narrow / "net.safetensors").read_bytes()
    ours, theirs = (load.load_bundle(path).call("toy", _inputs(4))["y"] for path in (narrow, plain))
    assert ours.dtype == theirs.dtype == np.float32
    assert load.load_bundle(narrow).manifest.compute == "bfloat16"
    np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.05 * np.abs(theirs).max())
    assert not np.array_equal(ours, theirs)
