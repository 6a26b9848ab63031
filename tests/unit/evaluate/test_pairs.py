"""Which prediction belongs to which true clip."""

import os
import pathlib
import time

import pytest

from talkface_jax.errors import MediaError, TalkfaceError
from talkface_jax.evaluate import matching, naming, pairs


def named(*names: str) -> dict[str, pathlib.Path]:
    return {name: pathlib.Path("/videos", name + ".mp4") for name in names}


def touch(directory: pathlib.Path, *names: str) -> pathlib.Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return directory


def found(pairing: pairs.Pairing, pred: dict[str, pathlib.Path]) -> dict[str, str]:
    """clip -> prediction's name, of those that have one."""
    names = {path: name for name, path in pred.items()}
    return {clip: names[path] for clip, path in pairing.pairs.items() if path is not None}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("s1/clip", "same path"),
        ("wav2lip/s1/clip", "end of the path"),
        ("clip", "same name"),
        ("elsewhere/clip", "same name"),
        ("clipresult_N_25_Nl_15", "IP-LAP"),
        ("s1/clip.result_N_25_Nl_15", "IP-LAP"),
        ("clip_25_15", "IP-LAP"),
        ("0a1b/clip##clip", "SadTalker"),
        ("2026_11_30_12.00.00##clip", "SadTalker"),
        ("2026_11_30_12.00.00/picture##clip_full", "SadTalker"),
        ("2026_11_30_12.00.00/clip##speech_enhanced", "SadTalker"),
        ("temp_clip##clip", "SadTalker"),
        ("clip/result_voice", "Wav2Lip"),
        ("clip--clip", "LivePortrait"),
        ("picture--clip_concat--sound", "LivePortrait"),
        ("clip_pred_fls_clip_audio_embed", "MakeItTalk"),
        ("20261130/1200--seed_42-512x512/face_clip_512x512_3_1200", "EchoMimic or AniPortrait"),
        ("clip_clip_512x512_2_1200_withaudio", "EchoMimic or AniPortrait"),
        ("clip_clip", "MuseTalk or Audio2Head"),
    ],
)
def test_every_tools_name_leads_to_its_clip(name, rule):
    truth, pred = named("s1/clip", "s1/other"), named(name)
    pairing = pairs.pair(truth, pred)
    assert found(pairing, pred) == {"s1/clip": name}
    assert pairing.rules == {"s1/clip": rule}
    assert not (pairing.strangers or pairing.ambiguous or pairing.left_out)


def test_every_rule_names_a_tool_and_says_what_it_reads():
    assert all(rule.tool and rule.note.endswith(".") for rule in naming.RULES)


@pytest.mark.parametrize(
    "name",
    [
        "clip2",
        "myclip",
        "result_N_25_Nl_15",
        "clip_final",
        "clip_other",
        "2026_11_30_12.00.00",
        "result_voice",
        "0",
        "other##else",
    ],
)
def test_what_no_rule_names_is_a_stranger(name):
    pairing = pairs.pair(named("clip"), named(name))
    assert pairing.pairs == {"clip": None}
    assert pairing.strangers == (name,)


def test_names_with_separators_in_them_are_split_where_both_sides_agree():
    truth = named("M003", "M003_up_01", "M003_up_02")
    pred = named("M003_up_01_M003_up_01", "M003_up_02_M003_up_02_512x512_2_0000", "a##b##a##b")
    pairing = pairs.pair({**truth, **named("a##b")}, pred)
    assert found(pairing, pred) == {
        "M003_up_01": "M003_up_01_M003_up_01",
        "M003_up_02": "M003_up_02_M003_up_02_512x512_2_0000",
        "a##b": "a##b##a##b",
    }


def test_a_folder_tells_clips_of_one_name_apart():
    truth = named("s1/0001", "s2/0001")
    pred = named("out/s1/0001", "s2/0001result_N_25_Nl_15")
    assert found(pairs.pair(truth, pred), pred) == {
        "s1/0001": "out/s1/0001",
        "s2/0001": "s2/0001result_N_25_Nl_15",
    }


def test_the_longest_common_end_is_better_than_the_name_alone():
    pred = named("a/x", "out/s1/x")
    pairing = pairs.pair(named("s1/x"), pred)
    assert found(pairing, pred) == {"s1/x": "out/s1/x"}
    assert pairing.left_out == {"a/x": "a twin of s1/x, out/s1/x is taken"}


def test_the_whole_path_is_better_than_its_end():
    truth, pred = named("x", "a/x"), named("x", "a/x")
    assert found(pairs.pair(truth, pred), pred) == {"x": "x", "a/x": "a/x"}


def test_twins_of_a_clip_do_not_double_it():
    truth = named("x", "y", "z")
    pred = named("d/x##x_enhanced", "d/x##x", "d/x##x_full", "d/temp_x##x", "y--y_concat", "y--y")
    pred |= named("z", "zresult_N_25_Nl_15")
    pairing = pairs.pair(truth, pred)
    assert found(pairing, pred) == {"x": "d/x##x", "y": "y--y", "z": "z"}
    assert set(pairing.left_out) == {
        "d/x##x_enhanced",
        "d/x##x_full",
        "d/temp_x##x",
        "y--y_concat",
        "zresult_N_25_Nl_15",
    }
    assert pairing.left_out["y--y_concat"] == "a twin of y, y--y is taken"
    assert not (pairing.strangers or pairing.ambiguous)


@pytest.mark.parametrize(
    ("truth", "pred", "doubt"),
    [
        (["x"], ["one/x", "two/x"], {"x": "one/x and two/x"}),
        (["x"], ["one/x##x", "two/x##x"], {"x": "one/x##x and two/x##x"}),
        (["x"], ["xresult_N_25_Nl_15", "x/result_voice"], {"x": "result_N_25_Nl_15 and x/result"}),
        (["x"], ["xresult_N_25_Nl_15", "d/x##x"], {"x": "xresult_N_25_Nl_15 and d/x##x"}),
        (["a/x", "b/x"], ["x"], {"a/x": "x may be a/x or b/x", "b/x": "x may be a/x or b/x"}),
        (["a/x", "b/x"], ["a/x", "c/x"], {"b/x": "c/x may be a/x or b/x"}),
        (["a", "b"], ["a##b"], {"a": "a##b may be a or b", "b": "a##b may be a or b"}),
    ],
)
def test_ambiguity_is_a_failure_that_names_both(truth, pred, doubt):
    pairing = pairs.pair(named(*truth), named(*pred))
    assert set(pairing.ambiguous) == set(doubt)
    for clip, part in doubt.items():
        assert pairing.pairs[clip] is None
        assert part in pairing.ambiguous[clip]
        assert "--match or a table" in pairing.ambiguous[clip]
    assert not pairing.strangers


def test_the_result_does_not_depend_on_the_order():
    truth = named("a/x", "b/x", "c", "d", "e")
    pred = named("x", "c##c", "c##c_full", "d_d", "dresult_N_25_Nl_15", "q", "a/x")
    there = pairs.pair(truth, pred)
    back = pairs.pair(dict(reversed(truth.items())), dict(reversed(pred.items())))
    assert there.pairs == back.pairs
    assert there.rules == back.rules
    assert there.left_out == back.left_out
    assert there.ambiguous.keys() == back.ambiguous.keys()
    assert sorted(there.strangers) == sorted(back.strangers)


def test_one_letter_in_two_unicode_forms_is_one_name():
    composed, split = "caf\u00e9", "cafe\u0301"
    assert pairs.pair(named(composed), named(split)).pairs[composed] is not None


def test_sadtalkers_dated_result_is_named_by_the_folder_beside_it(tmp_path):
    touch(tmp_path, "2026_11_30_12.00.00.mp4", "2026_11_30_12.00.00/x##x.mat")
    touch(tmp_path, "2026_11_30_12.00.00/x##x.mp4", "2026_11_30_13.00.00.mp4")
    pred = pairs.find_videos(tmp_path)
    pairing = pairs.pair(named("x"), pred)
    assert found(pairing, pred) == {"x": "2026_11_30_12.00.00"}
    assert set(pairing.left_out) == {"2026_11_30_12.00.00/x##x"}
    assert pairing.strangers == ("2026_11_30_13.00.00",)


def test_match_takes_the_group_and_nothing_else_counts():
    truth, pred = named("s/x", "y", "z"), named("take2_x", "take2_y", "y", "take2_q")
    for expression in (r"take2_(.+)\.mp4$", r"(take2)_(?P<clip>.+)\.mp4", r"take2_([^.]+)"):
        pairing = pairs.pair(truth, pred, match=expression)
        assert found(pairing, pred) == {"s/x": "take2_x", "y": "take2_y"}
        assert pairing.rules == {"s/x": "--match", "y": "--match"}
        assert pairing.strangers == ("take2_q",)
        assert pairing.left_out == {"y": "--match passes it over"}


def test_match_that_takes_a_clip_twice_is_ambiguous():
    pairing = pairs.pair(named("x", "y"), named("v1/x", "v2/x", "v2/y"), match=r"v\d/(.)")
    assert pairing.pairs["y"] is not None
    assert "v1/x and v2/x" in pairing.ambiguous["x"]


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("(", "no regular expression"),
        (r"x\.mp4", "no groups"),
        ("(x)(y)", "2 groups"),
        ("nowhere(.)", "fits none of 1 predictions, such as x_out.mp4"),
        (r"(.+)\.mp4", "names no true clip (of x_out it takes 'x_out')"),
        ("(" + "a" * 600 + ")", "characters"),
    ],
)
def test_a_match_that_cannot_work_is_refused_in_one_sentence(expression, part):
    with pytest.raises(TalkfaceError) as error:
        pairs.pair(named("x"), named("x_out"), match=expression)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_catastrophic_expression_is_ended():
    start = time.monotonic()
    with pytest.raises(TalkfaceError, match="a repeat inside a repeat"):
        matching.names_of(r"(?P<clip>(a+)+)$", {"a": "a" * 60 + "!"}, seconds=0.5)
    assert time.monotonic() - start < 5


def table(tmp_path, text: str, *, encoding: str = "utf-8") -> pathlib.Path:
    path = tmp_path / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_table_pairs_what_it_lists_and_the_rules_the_rest(tmp_path):
    truth, pred = named("s/x", "y", "z"), named("0", "1", "z", "y")
    text = "pred,truth,note\r\n0.mp4,x,first\r\n\r\nout.mov,y,\r\n".replace("out.mov", "1.mp4")
    for encoding in ("utf-8", "utf-8-sig"):
        listed = pairs.read_table(table(tmp_path, text, encoding=encoding), truth=truth, pred=pred)
        assert listed == {"s/x": "0", "y": "1"}
    pairing = pairs.pair(truth, pred, table=listed)
    assert found(pairing, pred) == {"s/x": "0", "y": "1", "z": "z"}
    assert pairing.rules == {"s/x": "table", "y": "table", "z": "same path"}
    assert set(pairing.left_out) == {"y"}


def test_a_table_goes_before_match():
    pred = named("out_x", "other")
    pairing = pairs.pair(named("x", "y"), pred, match="out_(.)", table={"x": "other"})
    assert found(pairing, pred) == {"x": "other"}
    assert set(pairing.left_out) == {"out_x"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "has the columns none"),
        ("true,pred\nx,0\n", "has the columns true, pred"),
        ("truth,pred\n", "has no pair"),
        ("truth,pred\nq,0\n", "line 2: q is no true clip"),
        ("truth,pred\nx,q\n", "line 2: q is no prediction"),
        ("truth,pred\nelse/x,0\n", "line 2: else/x is no true clip"),
        ("truth,pred\nx\n", "line 2 has no pred"),
        ("truth,pred\nx,0\nx,1\n", "names s/x in lines 2 and 3"),
        ("truth,pred\nx,0\ny,0.mp4\n", "names 0 in lines 2 and 3"),
        ("truth,pred\nd,0\n", "d fits 2 files"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path, text, part):
    truth, pred = named("s/x", "y", "a/d", "b/d"), named("0", "1")
    with pytest.raises(TalkfaceError) as error:
        pairs.read_table(table(tmp_path, text), truth=truth, pred=pred)
    assert part in str(error.value)
    assert "pairs.csv" in str(error.value)


@pytest.mark.parametrize("content", [b"truth,pred\n\xff\xfe,0\n", b'truth,pred\n"x,0\n', None])
def test_a_table_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "pairs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TalkfaceError, match=r"pairs\.csv"):
        pairs.read_table(path, truth=named("x"), pred=named("0"))


@pytest.mark.parametrize(
    ("given", "part"),
    [({"q": "0"}, "true clip"), ({"x": "q"}, "prediction"), ({"x": "0", "y": "0"}, "twice")],
)
def test_pairs_of_unknown_names_are_refused(given, part):
    with pytest.raises(TalkfaceError, match=part):
        pairs.pair(named("x", "y"), named("0"), table=given)


def test_videos_are_found_by_path_and_sorted(tmp_path):
    touch(tmp_path, "b.MP4", "a/c.d.mov", "a.b/x.webm", "notes.txt", "a/.hidden.mp4", "._b.mp4")
    touch(tmp_path, "temp/t.avi", "tempfile_of_results/result.avi", ".cache/x.mp4", "a/Temp/q.mp4")
    assert list(pairs.find_videos(tmp_path)) == ["a.b/x", "a/c.d", "b"]


def test_two_videos_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a/x.mp4", "a/x.mov", "y.mp4")
    with pytest.raises(MediaError, match=r"a/x\.mov and a/x\.mp4, of one name"):
        pairs.find_videos(tmp_path)


def test_links_neither_loop_nor_vanish(tmp_path):
    touch(tmp_path, "one/x.mp4")
    os.symlink(tmp_path, tmp_path / "one" / "loop")
    os.symlink(tmp_path / "one" / "x.mp4", tmp_path / "linked.mp4")
    os.symlink(tmp_path / "nowhere", tmp_path / "broken.mp4")
    assert list(pairs.find_videos(tmp_path)) == ["broken", "linked", "one/x"]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_directory_without_videos_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=name):
        pairs.find_videos(tmp_path / name)
