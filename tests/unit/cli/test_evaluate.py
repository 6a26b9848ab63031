"""The flags of `talkface evaluate`: systems by name, and which flags go together."""

import pathlib

import pytest

from talkface_jax.cli import evaluate
from talkface_jax.cli.main import main
from talkface_jax.errors import TalkfaceError


def systems(*pred, **flags):
    return evaluate.read_systems(list(pred), **flags)


def test_one_folder_is_the_model():
    (name, found), *rest = systems("out/pred").items()
    assert (name, found.directory, rest) == ("model", pathlib.Path("out/pred"), [])


def test_names_and_what_is_said_of_one_or_all():
    found = systems(
        "ours=a",
        "iplap=b=c",
        match=["iplap=(x=.*)"],
        pairs=["ours=p.csv"],
        crop=["iplap=right"],
    )
    assert list(found) == ["ours", "iplap"], "in the order of the table"
    assert found["iplap"].directory == pathlib.Path("b=c")
    assert (found["ours"].match, found["iplap"].match) == (None, "(x=.*)")
    assert (found["ours"].table, found["iplap"].table) == (pathlib.Path("p.csv"), None)
    assert found["ours"].crop is None and found["iplap"].crop.text == "right"
    both = systems("ours=a", "iplap=b", match=["clip=(.*)"])
    assert [item.match for item in both.values()] == ["clip=(.*)"] * 2, "clip is no system"


def test_a_path_with_an_equals_sign_is_a_path():
    assert systems("./a=b")["model"].directory == pathlib.Path("./a=b")


@pytest.mark.parametrize(
    ("pred", "flags", "words"),
    [
        (("a", "b"), {}, "--pred=b: model is given twice; write --pred=NAME=DIR"),
        (("x=a", "x=b"), {}, "--pred=x=b: x is given twice"),
        (("x=",), {}, "--pred=x= names no folder"),
        ((" =a",), {}, "--pred=' =a': a system needs a name of printable characters"),
        (("a\nb=c",), {}, "--pred='a\\nb=c': a system needs a name of printable characters"),
        (("x=a",), {"crop": ["left", "x=right"]}, "--crop is given twice for x"),
        (("x=a",), {"crop": ["x=middle"]}, "--crop=middle is no part of a frame"),
    ],
)
def test_wrong_systems_are_one_sentence(pred, flags, words):
    with pytest.raises(TalkfaceError) as refused:
        systems(*pred, **flags)
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--compare", "a", "b", "--out=c"], "--out does not go with --compare"),
        (["--compare", "a", "b", "--train-data=c"], "--train-data does not go with --compare"),
        (["--compare", "a", "b", "--workers=2"], "--workers does not go with --compare"),
        (["--pred=a", "--truth=b"], "arguments are required: --out (or --compare A B)"),
        (["--pred=a", "--out=c"], "--pred needs --truth=DIR"),
        (["--pred=a", "--truth=b", "--out="], "argument --out: must name a folder, and is empty"),
        (["--pred=a", "--truth=b", "--out=c", "--split=x"], "--split does not go with --pred"),
        (
            ["--bundle=a", "--data=b", "--out=c", "--against=model"],
            "--against goes with --pred and --truth only",
        ),
        (["--compare", "a", "b", "--face-lpips"], "--face-lpips does not go with --compare"),
        (
            ["--bundle=a", "--data=b", "--out=c", "--face-lpips"],
            "--face-lpips goes with --pred and --truth only",
        ),
        (["--pred=a", "--truth=b", "--out=c", "--workers=0"], "must be a whole number of at least"),
    ],
)
def test_flags_that_do_not_go_together(flags, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *flags])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("asked", [False, True])
def test_lpips_of_the_face_is_counted_where_asked(asked, tmp_path, monkeypatch):
    given = {}

    def refuse(*systems, **options):
        given.update(options)
        raise TalkfaceError("enough")

    monkeypatch.setattr(evaluate.api, "evaluate_videos", refuse)
    flags = ["--face-lpips"] if asked else []
    folders = ["--pred=a", "--truth=b", f"--out={tmp_path / 'c'}"]
    assert main(["evaluate", *folders, *flags]) == 1
    assert given["whole"] is asked and given["legacy"] is False


def test_two_files_that_are_none(tmp_path, capsys):
    path = tmp_path / "scores.json"
    path.write_text('{"schema": 1, "kind": "motion", "rows": {}, "clips": []}')
    assert main(["evaluate", "--compare", str(path), str(path)]) == 1
    printed = capsys.readouterr().err
    assert "was written by an older version (schema 1); evaluate again" in printed
    assert len(printed.strip().splitlines()) == 1
