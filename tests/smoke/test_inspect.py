"""`talkface verify` and `talkface preview`, typed as commands."""

import dataclasses
import json
import shutil

import pytest

from talkface_jax.cli.main import main
from talkface_jax.data import manifest, schema, store, tfds_info
from talkface_jax.media.video import open_video


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_prepared):
    """Training and test split of the tiny set with everything that `prepare` leaves; not to be
    changed."""
    directory = tmp_path_factory.mktemp("inspect") / "set"
    directory.mkdir()
    made = manifest.read_manifest(tiny_prepared)
    entries, rows = [], []
    for entry in (*made.of_split("train"), *made.of_split("test")):
        old = tiny_prepared / entry.name
        name = tfds_info.shard_name(made.dataset, entry.split, 0, 1)
        shutil.copy(old, directory / name)
        store.write_index(directory / name, store.read_index(old))
        entries.append(dataclasses.replace(entry, name=name))
        segment = schema.decode(store.ShardSource([old])[0])
        counts = {"frames": len(segment), "valid_frames": int(segment.valid.sum())}
        rows.append(dataclasses.asdict(segment.info) | counts | {"dropped_segments": 0})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "clips.jsonl").write_text(text)
    whole = dataclasses.replace(made, shards=tuple(entries), clips=2, licences=("unknown",))
    tfds_info.write_tfds_info(directory, whole)
    manifest.write_manifest(directory, whole)
    return directory


@pytest.fixture
def damaged(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "set")


def test_a_whole_set_passes_and_is_left_as_it_was(prepared, contents, capsys):
    before = contents(prepared)
    assert main(["verify", str(prepared), "--speaker-disjoint"]) == 0
    printed = capsys.readouterr().out
    assert "no defect" in printed and "note" not in printed
    for words in ("train", "test", "54", "landmarks", "2 shards", "100.00%", "unknown (2)"):
        assert words in printed, words
    assert contents(prepared) == before


def test_the_report_as_json(prepared, capsys):
    assert main(["verify", str(prepared), "--json", "--images=none"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clean"] and report["defects"] == [] and report["dataset"] == "fake"
    assert report["statistics"]["total"]["frames"] == 54


def test_defects_are_listed_and_the_status_is_1(damaged, refused, capfd, flip):
    shard = damaged / "fake-test.tfrecord-00000-of-00001"
    shard.write_bytes(flip(shard.read_bytes()))
    info = damaged / tfds_info.DATASET_INFO
    info.write_text(info.read_text().replace('"train"', '"trains"'))
    line = refused("verify", str(damaged))
    for words in (str(damaged), "4 defects", "record 1", "shard 1", "tfds 2", "prepare` again"):
        assert words in line, line
    main(["verify", str(damaged)])
    printed = " ".join(capfd.readouterr().out.split())
    for words in (
        "fake-test.tfrecord-00000-of-00001, record 0: the checksum is wrong",
        "fake-test.tfrecord-00000-of-00001: SHA-256",
        "dataset_info.json lacks split train",
        "dataset_info.json has an unknown split trains",
    ):
        assert words in printed, printed


def _places(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _damaged_texts(text):
    """A JSON text with each value in it replaced by null and by "x", one after the other."""
    before = json.loads(text)

    def replaced(value, path, other):
        if not path:
            return other
        copied = value.copy()
        copied[path[0]] = replaced(value[path[0]], path[1:], other)
        return copied

    for place in _places(before):
        for other in (None, "x"):
            yield place, json.dumps(replaced(before, place, other)) + "\n"


@pytest.mark.parametrize("name", ["manifest.json", "clips.jsonl"])
def test_any_value_of_another_type_is_no_crash(damaged, capfd, name):
    """What is wrong is said in one line."""
    made = manifest.read_manifest(damaged)
    told = dataclasses.replace(made, lineage={"notes": ["odd"], "dropped_segments": 0})
    manifest.write_manifest(damaged, told)
    path = damaged / name
    first, rest = path.read_text(), ""
    if name == "clips.jsonl":
        first, rest = first.split("\n", 1)
        first = json.dumps(json.loads(first) | {"quality": {"av_offset_ms": 9.0, "level": -20.5}})
    for place, text in _damaged_texts(first):
        path.write_text(text + rest)
        status = main(["verify", str(damaged), "--images=none"])
        printed = capfd.readouterr().err
        lines = [line for line in printed.splitlines() if line.strip() and "━" not in line]
        assert len(lines) == status, (place, printed)
        assert all(line.startswith("talkface verify: ") and ";" in line for line in lines), place


@pytest.mark.parametrize("name", [tfds_info.FEATURES, tfds_info.DATASET_INFO])
def test_any_value_of_another_type_in_the_files_of_tfds(damaged, monkeypatch, name):
    made = manifest.read_manifest(damaged)
    files = tfds_info.tfds_files(made)
    monkeypatch.setattr(tfds_info, "tfds_files", lambda _: files)
    for place, text in _damaged_texts((damaged / name).read_text()):
        (damaged / name).write_text(text)
        found = tfds_info.problems(damaged, made)
        assert all(isinstance(line, str) and name in line for line in found), (place, found)


@pytest.mark.parametrize("text", ["see [/b]", "[x] free", "[bold]", "\\", "\\[/b]"])
def test_brackets_in_names_are_no_markup(damaged, capsys, text):
    made = manifest.read_manifest(damaged)
    licences = (*made.licences, text)
    manifest.write_manifest(damaged, dataclasses.replace(made, licences=licences))
    assert main(["verify", str(damaged)]) == 0
    assert f"fake  licence: unknown; {text}\n" in capsys.readouterr().out


def test_offsets_of_the_sound_are_told(damaged, capsys):
    path = damaged / "clips.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        ms = {"speaker1": 120.0, "speaker4": 80.0}[row["speaker"]]
        row["quality"] = {"av_offset_ms": ms, "av_confidence": ms / 200}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["verify", str(damaged)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "sound after mouth │ +120 ms (2)" in printed
    assert "farthest speakers │ speaker1 +120 ms (1), speaker4 +80 ms (1)" in printed
    assert "note: the sound comes 120 ms after the mouth in the median of 2 clips" in printed


def test_places_that_are_not_local(tmp_path, refused):
    for command in (("verify",), ("preview", f"--out={tmp_path / 'a.mp4'}")):
        line = refused(*command, "gs://bucket/set")
        assert line.startswith("gs://bucket/set is no local folder; copy the whole prepared")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_prepared_set(tmp_path, refused):
    assert "has no manifest.json; give the output" in refused("verify", str(tmp_path))
    line = refused("preview", str(tmp_path), f"--out={tmp_path / 'a.mp4'}")
    assert "has no manifest.json; give the output" in line
    assert not list(tmp_path.iterdir())


def test_a_set_without_the_files_of_tfds_is_noted(damaged, capsys):
    for name in (tfds_info.FEATURES, tfds_info.DATASET_INFO):
        (damaged / name).unlink()
    assert main(["verify", str(damaged)]) == 0
    assert "note: TensorFlow Datasets cannot read it" in capsys.readouterr().out
    # A preparation that wrote them names the release that did.
    path = damaged / manifest.MANIFEST
    told = json.loads(path.read_text())
    told["versions"]["tensorflow-datasets"] = "4.9.9"
    path.write_text(json.dumps(told))
    assert main(["verify", str(damaged)]) == 1
    printed = capsys.readouterr()
    for name in (tfds_info.FEATURES, tfds_info.DATASET_INFO):
        assert f"{name} is missing" in printed.out + printed.err


def test_a_clip_becomes_a_video_and_a_sheet(prepared, tmp_path, capsys):
    out = tmp_path / "new" / "clip.mp4"
    assert main(["preview", str(prepared), "--clip=clip4", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert f"{out} and {out.with_suffix('.png')}: clip fake/clip4, 24 frames" in printed
    with open_video(out) as video:
        assert len(video) == 24
    assert sorted(path.name for path in out.parent.iterdir()) == ["clip.mp4", "clip.png"]


def test_previews_that_cannot_be_made(prepared, tmp_path, refused, damaged, flip):
    out = tmp_path / "a.mp4"
    line = refused("preview", str(prepared), "--clip=clip9", f"--out={out}")
    assert "has no clip 'clip9'; use one of: clip" in line
    line = refused("preview", str(prepared), f"--out={out.with_suffix('.webm')}")
    assert "videos are written as" in line and "change the suffix" in line
    file = tmp_path / "file"
    file.write_text("")
    assert "is a file; choose" in refused("preview", str(prepared), f"--out={file / 'a.mp4'}")
    shard = damaged / "fake-test.tfrecord-00000-of-00001"
    shard.write_bytes(flip(shard.read_bytes()))
    line = refused("preview", str(damaged), "--clip=clip4", f"--out={out}")
    assert "record 0: the checksum is wrong" in line
    assert not out.exists() and not list(tmp_path.glob(".*"))
