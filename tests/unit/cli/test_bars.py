"""Progress on standard error: nothing before the first report, then what was reported."""

import threading

import pytest

from talkface_jax.cli import common, train


def test_nothing_is_drawn_before_the_first_report(capsys):
    threads = threading.active_count()
    with pytest.raises(KeyError), common.progress_bars():
        assert threading.active_count() == threads
        raise KeyError
    with train._Bar(shown=True):
        assert threading.active_count() == threads
    assert capsys.readouterr() == ("", "")


def test_each_kind_of_work_has_a_bar(capsys):
    with common.progress_bars() as progress:
        progress("track", 1, 4)
        progress("render", 2, 5)
        progress("track", 4, 4)
    out, err = capsys.readouterr()
    lines = {line.split()[0]: line for line in err.splitlines() if line.strip()}
    assert out == "" and "4/4" in lines["track"] and "2/5" in lines["render"]


def test_training_shows_loss_and_pace(capsys):
    with train._Bar(shown=True) as bar:
        bar.progress("iplap/render", 7, 9)
        bar.measured(8, {"loss/net/total": 0.5, "loss/disc/total": 0.25, "loss/net/l1": 3.0})
        bar.progress("iplap/render", 8, 9)
        bar.measured(9, {"loss/net/total": 0.125, "steps_per_second": 1.5})
        bar.progress("iplap/render", 9, 9)
        bar.measured(10, {"loss/net/total": 2.0})
    out, err = capsys.readouterr()
    assert out == "" and "iplap/render" in err and "9/9" in err
    assert "loss 0.1250" in err and "1.50 steps/s" in err
    with train._Bar(shown=False) as bar:
        bar.progress("iplap/render", 9, 9)
    assert capsys.readouterr() == ("", "")
