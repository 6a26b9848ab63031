"""What is known of clips, from a csv."""

import pytest

from talkface_jax.errors import TalkfaceError
from talkface_jax.evaluate.metadata import read_metadata


def test_speaker_and_groups_by_path_or_stem(tmp_path):
    path = tmp_path / "clips.csv"
    # As spreadsheets write it: with a byte order mark, and a row that is empty.
    path.write_text("\ufeffclip, speaker,skin\na/x,M1,dark\nx,M2,light\ny, M3 ,\n,,\n")
    found = read_metadata(path)
    assert [found.speaker(name) for name in ("a/x", "b/x", "x", "c/y", "z")] == [
        "M1",
        "M2",
        "M2",
        "M3",
        "",
    ]
    assert found.groups("a/x") == {"skin": "dark"}
    assert found.groups("c/y") == {}, "an empty cell is no group"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a header with a column clip and no column twice, not an empty file"),
        ("name,skin\na,b\n", "needs a header with a column clip"),
        ("clip,skin,skin\n", "no column twice"),
        ("clip,skin\na,b\na,c\n", "names the clip a twice"),
        ("clip,skin\na,b,c\n", "line 2 has 3 cells for 2 columns"),
        ('clip,skin\na,"b\n', "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "clips.csv"
    path.write_text(text)
    with pytest.raises(TalkfaceError, match=words) as refused:
        read_metadata(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(TalkfaceError, match="cannot be read"):
        read_metadata(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"clip\n\xff\xfe")
    with pytest.raises(TalkfaceError, match="give a csv file in UTF-8"):
        read_metadata(tmp_path / "binary.csv")


def test_emotions_by_name_and_those_that_are_none(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("clip,emotion,level\na,Happy,2\nb,joy,1\nc,,3\nd,neutral,1\n")
    found = read_metadata(path)
    assert [found.emotion(name) for name in ("a", "b", "c", "d", "e")] == [4, None, None, 5, None]
    assert found.groups("a") == {"emotion": "Happy", "level": "2"}
    told = found.gaps(["a", "b", "c", "d"])["metadata"]
    assert told.startswith("joy in column emotion is none of angry, contempt, disgusted, fear, ")
    assert found.gaps(["a", "c", "d"]) == {"metadata": "1 row without a clip (b)"}
