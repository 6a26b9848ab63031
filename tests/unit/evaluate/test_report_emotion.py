"""The page and the terminal's table of clips whose emotion is known."""

from talkface_jax.evaluate import page as page_of
from talkface_jax.evaluate import terminal


def test_emotions_have_a_table_and_a_line_only_where_they_are_known(make_scores):
    plain = make_scores(("model",))
    assert "Emotion" not in [table["title"] for table in page_of.result_tables(plain)]
    found = make_scores(("model",), expression=True)
    tables = {table["title"]: table for table in page_of.result_tables(found)}
    assert list(tables) == ["Motion", "Images", "Emotion", "Behaviour"]
    heads = [info.label for info in tables["Emotion"]["metrics"]]
    assert heads == ["Emotion right", "Closed on p, b, m", "M-LD", "F-LD", "M-LVD", "F-LVD"]
    assert not {"M-LD", "Emotion right"} & {info.label for info in tables["Motion"]["metrics"]}
    (groups,) = (item for item in page_of.group_tables(found) if item["column"] == "emotion")
    assert {"Closed on p, b, m", "M-LVD"} <= {info.label for info in groups["metrics"]}
    right = found.rows["model"].metrics["emotion_accuracy"].value
    lines = terminal._caption(found)
    assert f"emotion read right: model {right:.0%}, ground-truth 100%" in lines
    assert not any("emotion" in line for line in terminal._caption(plain))
