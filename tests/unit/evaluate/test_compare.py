"""Two scores.json against each other, and files that are none."""

import dataclasses
import io
import json
import math

import pytest
import rich.cells
import rich.console

from talkface_jax.errors import RecordError, TalkfaceError
from talkface_jax.evaluate import compare, scores, stored

LIPS = "lip_distance"


@pytest.fixture(scope="module")
def made(make_scores):
    return make_scores(("ours", "other"), clips=8)


@pytest.fixture(scope="module")
def document(made):
    return json.loads(made.to_json())


@pytest.fixture
def read(tmp_path):
    """Writes a document and reads it as scores."""
    count = iter(range(99))

    def write(document):
        path = tmp_path / f"{next(count)}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return stored.read_scores(path)

    return write


def copy_of(document, **changes):
    return {**json.loads(json.dumps(document)), **changes}


def renamed(document, old, new):
    found = copy_of(document)
    found["systems"] = [new if name == old else name for name in found["systems"]]
    found["rows"] = {new if name == old else name: row for name, row in found["rows"].items()}
    for clip in found["clips"]:
        clip["row"] = new if clip["row"] == old else clip["row"]
    return found


def change_of(found, row, metric=LIPS):
    return next(item for item in found.rows if item.a == row).metrics[metric]


def printed(found):
    console = rich.console.Console(width=80, file=io.StringIO())
    console.print(compare.compare_table(found))
    return console.file.getvalue()


def test_scores_are_read_as_they_were_written(made, read):
    found = read(made.to_json())
    assert (found.kind, found.systems) == ("benchmark", ("ours", "other"))
    assert list(found.rows) == list(made.rows)
    for clip in made.clips:
        same = found.rows[clip.row][clip.clip]
        assert dict(same.values) == pytest.approx(dict(clip.values), abs=1e-6)
        assert same.opening == pytest.approx(clip.opening, abs=1e-6)
        for name in ("clip", "row", "speaker", "groups", "frames", "faceless", "lost", "notes"):
            assert getattr(same, name) == getattr(clip, name), name
    assert found.run == made.run and found.conventions == made.conventions


def test_null_is_read_as_no_number(document, read):
    changed = copy_of(document)
    changed["clips"][0]["values"][LIPS] = None
    first = changed["clips"][0]
    assert math.isnan(read(changed).rows[first["row"]][first["clip"]].values[LIPS])


def test_a_file_against_itself_has_not_changed(document, read):
    found = compare.compare(read(document), read(document))
    assert [row.a for row in found.rows] == [
        "ours",
        "other",
        scores.NOISE_FLOOR,
        scores.STATIC_MOUTH,
    ]
    assert (found.clips, found.only_a, found.only_b, found.facts) == (8, 0, 0, ())
    for row in found.rows:
        assert (row.clips, row.only_a, row.only_b) == (8, 0, 0)
        for change in row.metrics.values():
            assert change.a == change.b
            difference, ratio = change.difference, change.ratio
            assert (difference.value, difference.low, difference.high) == (0, 0, 0)
            assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)
    assert {"psnr_mouth", "lpips_mouth", LIPS} <= set(found.rows[0].metrics)
    assert "*" not in printed(found).partition("* the interval")[0]


def test_a_known_offset_is_found_in_its_row_with_its_sign(document, read):
    later = copy_of(document)
    for clip in later["clips"]:
        if clip["row"] == "ours":
            clip["values"][LIPS] += 0.25
    found = compare.compare(read(document), read(later))
    change, other = change_of(found, "ours"), change_of(found, "other")
    ours = [c["values"][LIPS] for c in document["clips"] if c["row"] == "ours"]
    assert change.a == pytest.approx(sum(ours) / 8) and change.b == pytest.approx(change.a + 0.25)
    for value in (change.difference.value, change.difference.low, change.difference.high):
        assert value == pytest.approx(0.25)
    assert change.ratio.value == pytest.approx(1 + 0.25 / change.a)
    assert other.difference.value == 0
    back = change_of(compare.compare(read(later), read(document)), "ours")
    assert back.difference.value == pytest.approx(-0.25)
    line = next(line for line in printed(found).splitlines() if "Lips (40 points)" in line)
    assert f"{change.a:.2f} {change.b:.2f}" in " ".join(line.split())
    assert "+0.25*" in line and f"{change.ratio.value:.2f} [" in line


def test_the_order_of_the_clips_does_not_matter(document, read):
    noisy = copy_of(document)
    for number, clip in enumerate(noisy["clips"]):
        clip["values"][LIPS] += 0.1 * math.sin(number)
    shuffled = copy_of(noisy, clips=noisy["clips"][::-1])
    shuffled["clips"] = shuffled["clips"][5:] + shuffled["clips"][:5]
    first, second = (compare.compare(read(document), read(b)) for b in (noisy, shuffled))
    assert first.rows == second.rows
    assert change_of(first, "ours").difference.low < change_of(first, "ours").difference.high


def test_intervals_resample_speakers(document, read):
    """One speaker of all clips leaves clips alone to be drawn: another interval."""
    noisy = copy_of(document)
    for number, clip in enumerate(noisy["clips"]):
        clip["values"][LIPS] += 0.1 * math.sin(number)
    lone = [copy_of(document), copy_of(noisy)]
    for clip in (*lone[0]["clips"], *lone[1]["clips"]):
        clip["speaker"] = "M000"
    several = change_of(compare.compare(read(document), read(noisy)), "ours").difference
    one = change_of(compare.compare(*map(read, lone)), "ours").difference
    assert one.value == pytest.approx(several.value)
    assert (one.low, one.high) != (several.low, several.high)


def test_only_shared_clips_count_and_the_others_are_counted(document, read):
    names = sorted({clip["clip"] for clip in document["clips"]})
    a = copy_of(document, clips=[c for c in document["clips"] if c["clip"] != names[0]])
    b = copy_of(document, clips=[c for c in document["clips"] if c["clip"] not in names[-2:]])
    b["clips"] = [c for c in b["clips"] if (c["clip"], c["row"]) != (names[1], "ours")]
    found = compare.compare(read(a), read(b))
    assert (found.clips, found.only_a, found.only_b) == (5, 2, 1)
    ours, other = found.rows[:2]
    assert (ours.clips, ours.only_a, ours.only_b) == (4, 3, 1)
    assert (other.clips, other.only_a, other.only_b) == (5, 2, 1)
    kept = [c["values"][LIPS] for c in document["clips"] if c["row"] == "ours"][2:6]
    assert ours.metrics[LIPS].a == pytest.approx(sum(kept) / 4)
    text = " ".join(printed(found).split())
    assert "5 clips in both, 2 more clips only in A, 1 more clip only in B" in text
    assert "only ours: 4 clips in both" in text


def test_first_systems_of_other_names_are_compared_and_named(document, read):
    later = renamed(document, "ours", "ours[b]-of-a-very-long-name-indeed")
    found = compare.compare(read(document), read(later))
    assert [(row.a, row.b) for row in found.rows[:2]] == [
        ("ours", "ours[b]-of-a-very-long-name-indeed"),
        ("other", "other"),
    ]
    assert found.rows[0].metrics[LIPS].difference.value == 0
    text = " ".join(printed(found).split())
    assert "ours of A and ours[b]-of-a-very-long-name-indeed of B" in text
    swapped = copy_of(document, systems=["other", "ours"])
    found = compare.compare(read(document), read(swapped))
    assert all(row.a == row.b for row in found.rows), "names in common decide"


def test_a_system_is_not_compared_with_a_baseline_of_its_name(document, read):
    found = compare.compare(read(document), read(renamed(document, "other", "static-mouth2")))
    assert "other" not in [row.a for row in found.rows]
    found = compare.compare(read(document), read(copy_of(document, systems=["ours"])))
    assert "other" not in [row.a for row in found.rows]


def test_what_differs_between_the_runs_is_stated(document, read):
    later = copy_of(document)
    later["run"] |= {"tracker": "made up 2", "date": "later", "command": "another", "truth": "x"}
    document = copy_of(document)
    document["run"]["versions"], later["run"]["versions"] = "jax 1, numpy 2", "jax 1, numpy 3"
    later["conventions"]["crops"] = "larger\u202e"
    found = compare.compare(read(document), read(later))
    assert {fact.topic: (fact.a, fact.b) for fact in found.facts} == {
        "tracker": ("made up 1", "made up 2"),
        "truth": ("", "x"),
        "versions": ("jax 1, numpy 2", "jax 1, numpy 3"),
        "crops": ("", "larger\u202e"),
    }
    text = " ".join(printed(found).split())
    assert "tracker: A made up 1; B made up 2" in text
    assert "versions: A numpy 2; B numpy 3" in text
    assert "truth: A says nothing; B x" in text and "\u202e" not in text


def test_the_table_fits_80_columns(document, read):
    later = copy_of(document)
    for number, clip in enumerate(later["clips"]):
        clip["values"] = {
            name: -12.345 + 10 * math.sin(number) if value else value
            for name, value in clip["values"].items()
        }
    text = printed(compare.compare(read(document), read(later)))
    assert max(rich.cells.cell_len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text.partition("\nA ")[0]


def test_two_that_do_not_compare_are_refused(document, read):
    a = read(document)
    with pytest.raises(TalkfaceError, match=r"of kind benchmark and .* of kind motion"):
        compare.compare(a, read(copy_of(document, kind="motion")))
    others = copy_of(document)
    for clip in others["clips"]:
        clip["clip"] += "x"
    with pytest.raises(TalkfaceError, match="no scored clip in common"):
        compare.compare(a, read(others))
    with pytest.raises(TalkfaceError, match="no scored clip in common"):
        compare.compare(a, read(copy_of(document, clips=[])))
    nothing = copy_of(document, clips=[], rows={})
    with pytest.raises(TalkfaceError, match="no row in common"):
        compare.compare(a, read(nothing))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is JSON but not a scores.json"),
        ('{"schema": 2, "sequences": {}}', "is JSON but not a scores.json"),
        ('{"schema": true, "rows": {}}', "its schema is true"),
        ('{"schema": 1, "rows": {}}', r"by an older version \(schema 1\); evaluate again$"),
        ('{"schema": 3, "rows": {}}', r"by a newer version \(schema 3\); update$"),
    ],
)
def test_files_that_are_no_scores_are_refused_in_a_sentence(read, text, said):
    with pytest.raises(RecordError, match=said) as caught:
        read(text)
    assert ".json" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"none.json cannot be read .*name a scores.json"):
        stored.read_scores(tmp_path / "none.json")
    with pytest.raises(RecordError, match="cannot be read"):
        stored.read_scores(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="is not text"):
        stored.read_scores(tmp_path / "bytes")


WRONG = (None, True, 1, -1, 1.5, "x", [], {}, [None, "x"], {"a": [1]}, 10**400, "1", [True])


@pytest.mark.parametrize("place", ["document", "clip"])
def test_values_of_wrong_types_are_told_and_never_crash(document, tmp_path, place):
    """Every field, with every kind of value: read as scores, or refused in a sentence."""
    path, refused = tmp_path / "scores.json", 0
    small = copy_of(document, clips=document["clips"][:2])
    owner = small if place == "document" else small["clips"][1]
    for name in list(owner):
        right = owner[name]
        for wrong in (*WRONG, ...):
            owner[name] = wrong
            if wrong is ...:
                del owner[name]
            path.write_text(json.dumps(small))
            try:
                found = stored.read_scores(path)
            except RecordError as error:
                assert "scores.json" in str(error) and "\n" not in str(error)
                refused += 1
            else:
                for rows in found.rows.values():
                    for clip in rows.values():
                        assert all(isinstance(x, float) for x in clip.values.values())
        owner[name] = right
    assert refused > 7 * len(owner) * (place == "clip")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": {LIPS: "1.0"}}, r"clips\[0\].values.lip_distance is \"1.0\", not a number"),
        ({"values": {LIPS: True}}, "is true, not a number"),
        ({"values": {LIPS: 10**400}}, "not a number"),
        ({"values": [1]}, "values is not an object"),
        ({"speaker": None}, "speaker is not a text"),
        ({"frames": -1}, "frames is negative"),
        ({"opening": [1, "x"]}, 'opening is "x", not a number'),
        ({"groups": {"skin": 3}}, "groups holds something else"),
    ],
)
def test_the_field_that_is_wrong_is_named(document, read, change, said):
    changed = copy_of(document)
    changed["clips"][0] |= change
    with pytest.raises(RecordError, match=said):
        read(changed)


def test_a_clip_that_stands_twice_is_refused(document, read):
    changed = copy_of(document, clips=[*document["clips"], document["clips"][0]])
    with pytest.raises(RecordError, match="repeats clip"):
        read(changed)


def test_a_row_of_stranger_characters_prints(made, read):
    odd = renamed(json.loads(made.to_json()), "ours", "\ud800[red]\x1b[31m")
    text = printed(compare.compare(read(odd), read(odd)))
    assert "\x1b" not in text and "[red]" in text
    assert dataclasses.is_dataclass(compare.compare(read(odd), read(odd)))
