"""The report in a browser: every image shows, nothing sticks out, on a desk and on a telephone."""

import functools
import html
import json
import re

import browser
import numpy as np
import PIL.Image
import pytest

from talkface_jax.evaluate import plots, report, scores

MEASURE = """<script>addEventListener("load", () => {
  const edge = innerWidth, outside = [];
  for (const item of document.querySelectorAll("body *")) {
    const box = item.getBoundingClientRect();
    if (box.right > edge + 1 && !item.closest(".scroll")) outside.push(item.outerHTML.slice(0, 80));
  }
  parent.postMessage(JSON.stringify({
    images: [...document.images].map(image => [image.alt, image.naturalWidth, image.width]),
    width: innerWidth, body: document.documentElement.scrollWidth, outside,
  }), "*");
})</script>"""
FRAME = """<!doctype html><title></title>
<script>addEventListener("message", event => { document.title = event.data; })</script>
<iframe src="%s" style="border:0;width:%dpx;height:2000px"></iframe>"""
"""A window of the browser has at least 500 pixels, a frame in it may have fewer."""
SYSTEMS = ("ours", "<i>system</i> & 'quoted'", "$\\frac$ \x01\udc80 of-a-name-that-has-no-end" * 2)

pytestmark = [pytest.mark.slow, browser.needed]


@pytest.fixture
def browse(tmp_path):
    """Runs the browser on a page at a width; returns what it printed."""
    return functools.partial(browser.run, tmp_path / "profile")


@pytest.fixture(scope="module")
def page(make_scores, make_pictures, tmp_path_factory):
    failures = [scores.Failure("a clip " * 30 + "x" * 200, SYSTEMS[1], "no <face> " + "y" * 200)]
    found = make_scores(SYSTEMS, failures=failures)
    out = tmp_path_factory.mktemp("page")
    report.write_report(found, out, pictures=make_pictures(found))
    return out / "report.html"


def measures(page, browse, width):
    """Sizes in the browser, by a script that only this copy has, ahead of the ban on scripts."""
    copy, frame = page.with_name("measured.html"), page.with_name("frame.html")
    text = page.read_text()
    assert text.count("<head>") == 1 and "<script" not in text
    copy.write_text(text.replace("<head>", f"<head>{MEASURE}"))
    frame.write_text(FRAME % (copy.name, width))
    dom = browse(frame, width + 100, 2000, "--virtual-time-budget=20000", "--dump-dom")
    title = re.search("<title>(.*?)</title>", dom, re.DOTALL)
    return json.loads(html.unescape(title.group(1)))


@pytest.mark.parametrize("width", [1280, 400])
def test_all_images_show_and_nothing_sticks_out(page, browse, width):
    found = measures(page, browse, width)
    assert found["width"] == width
    frames = 6 * (6 + 1) * (1 + len(SYSTEMS))
    assert len(found["images"]) == frames + 6 + 5
    assert all(natural > 0 and shown >= 40 for _, natural, shown in found["images"])
    assert found["body"] <= width and found["outside"] == []


def test_the_screenshot_shows_the_page(page, browse, tmp_path):
    path = tmp_path / "page.png"
    browse(page, 1280, 6000, f"--screenshot={path}")
    with PIL.Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (6000, 1280, 3)
    rows = (pixels != 255).any((1, 2)).reshape(60, 100).any(1)
    assert rows.mean() > 0.9, "there is something all the way down"
    for colour in (*plots.PALETTE[: len(SYSTEMS)], plots.TRUTH):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == wanted).all(-1).sum() > 200, colour
    right = pixels[:, -15:]
    assert (right == 255).all(), "the margin is empty"


def test_clips_with_emotions_have_a_table_of_their_own_that_fits(
    make_scores, make_pictures, browse, tmp_path
):
    found = make_scores(SYSTEMS[:2], expression=True)
    report.write_report(found, tmp_path, pictures=make_pictures(found))
    text = (tmp_path / "report.html").read_text()
    assert "Emotion right" in text and "Closed on p, b, m" in text
    assert measures(tmp_path / "report.html", browse, 1280)["outside"] == []
