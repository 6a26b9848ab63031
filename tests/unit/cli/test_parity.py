"""`talkface parity`: what is printed and written, and the exit status of every outcome."""

import json
import re
import shutil

import numpy as np
import pytest

from talkface_jax.cli import main as cli
from talkface_jax.cli import parity
from talkface_jax.interop.cases import Check
from talkface_jax.interop.suites import Report

LIGHT = ("manifest.json", "warp.npz", "mel.npz", "sketch.npz")
ABSENT = (
    "landmark_generator.npz",
    "landmark_generator_grad_norms.json",
    "renderer.npz",
    "discriminator.npz",
)


@pytest.fixture
def case(tmp_path, repository):
    """The files of the IP-LAP case that need no network."""
    folder = tmp_path / "case"
    folder.mkdir()
    for name in LIGHT:
        shutil.copy(repository / "tests" / "parity" / "iplap" / name, folder / name)
    return folder


def change(path, **changes):
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {key: function(arrays[key]) for key, function in changes.items()}))


def rows(text):
    """{(file, tensor): (error, tolerance, result)} of the printed table."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if len(cells) == 5:
            found[cells[0], cells[1]] = tuple(cells[2:])
    return found


def test_a_row_for_every_tensor_and_a_line_for_all(case, capsys):
    assert cli.main(["parity", f"--case={case}"]) == 0
    text = capsys.readouterr().out
    found = rows(text)
    assert list(found) == [
        *(("warp.npz", name) for name in ("out128", "out64", "out128_zero_flow")),
        ("mel.npz", "mel"),
        ("sketch.npz", "sketch128"),
        *(
            ("sketch.npz", name)
            for name in ("ori_sequence_idx", "full_face_sequence", "connections")
        ),
    ]
    assert {row[2] for row in found.values()} == {"ok"}
    assert found["warp.npz", "out64"][1] == "1e-05"
    assert float(found["warp.npz", "out64"][0]) <= 1e-5
    assert found["sketch.npz", "sketch128"][1] == "1e-02 of pixels"
    assert text.splitlines()[-1] == (
        f"all 8 tensors within tolerance; not in this case: {', '.join(ABSENT)}"
    )


def test_tensor_over_its_tolerance_is_named_and_status_1(case, tmp_path, capsys):
    change(case / "warp.npz", out64=lambda x: x + np.float32(3e-3))
    change(case / "mel.npz", mel=lambda x: x * np.nan)
    target = tmp_path / "new" / "parity.json"
    assert cli.main(["parity", f"--case={case}", f"--json={target}"]) == 1
    text = capsys.readouterr().out
    found = rows(text)
    assert {key for key, row in found.items() if row[2] == "OVER"} == {
        ("warp.npz", "out64"),
        ("mel.npz", "mel"),
    }
    assert found["warp.npz", "out64"][0] == "3.0e-03"
    assert text.splitlines()[-1].startswith(
        "2 of 8 tensors over tolerance: warp.npz out64, mel.npz mel; not in this case: landmark"
    )
    written = json.loads(target.read_text())
    assert (written["ok"], written["method"], written["case"]) == (False, "iplap", str(case))
    assert written["absent"] == list(ABSENT)
    checks = {(item["file"], item["tensor"]): item for item in written["checks"]}
    assert list(checks) == list(found)
    assert checks["mel.npz", "mel"]["error"] is None
    bad = checks["warp.npz", "out64"]
    assert bad["error"] == pytest.approx(3e-3, rel=0.01)
    assert (bad["tolerance"], bad["unit"], bad["ok"]) == (1e-5, "", False)
    assert [path.name for path in target.parent.iterdir()] == ["parity.json"]


def test_json_of_a_case_that_passes(case, tmp_path, capsys):
    assert cli.main(["parity", f"--case={case}", f"--json={tmp_path / 'parity.json'}"]) == 0
    capsys.readouterr()
    written = json.loads((tmp_path / "parity.json").read_text())
    assert written["ok"] is True
    assert all(item["ok"] for item in written["checks"])
    assert len(written["checks"]) == 8


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def drop(path, *names):
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key not in names}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda case: (case / "manifest.json").unlink(), r"has no manifest\.json"),
        (lambda case: (case / "manifest.json").write_text("{"), r"manifest\.json cannot be read"),
        (lambda case: (case / "manifest.json").write_text("{}"), r"manifest\.json has no .*seed"),
        (
            lambda case: [(case / name).unlink() for name in LIGHT[1:]],
            r"holds none of .*landmark_generator\.npz",
        ),
        (lambda case: cut(case / "warp.npz"), r"warp\.npz is damaged"),
        (lambda case: drop(case / "warp.npz", "flow", "out64"), r"warp\.npz .* out64, flow;"),
        (
            lambda case: change(case / "warp.npz", src64=lambda x: x[..., :32]),
            r"warp\.npz holds src64 of shape \(1, 2, 64, 32\)",
        ),
        (
            lambda case: change(case / "mel.npz", mel=lambda x: x[:, 1:]),
            r"mel\.npz holds mel of shape \(80, 400\), but its inputs give \(80, 401\)",
        ),
        (
            lambda case: change(case / "sketch.npz", hw=lambda x: 0 * x),
            r"sketch\.npz holds crops .*without height or width",
        ),
        (
            lambda case: (case / ABSENT[1]).write_text("{}"),
            r"grad_norms\.json needs the inputs in landmark_generator\.npz",
        ),
    ],
)
def test_folders_that_are_no_case_are_a_sentence_and_status_1(case, capsys, spoil, words):
    spoil(case)
    assert cli.main(["parity", f"--case={case}"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    message = captured.err.splitlines()[-1]
    assert message.startswith("talkface parity: ")
    assert re.search(words, message), message
    assert ";" in message


def test_weights_of_another_network_are_refused_by_key(case, repository, capsys):
    shutil.copy(repository / "tests" / "parity" / "iplap" / "discriminator.npz", case)
    manifest = json.loads((case / "manifest.json").read_text())
    manifest["discriminator"]["scale0_layer1.0.weight"] = [64, 128, 4, 4]
    (case / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["parity", f"--case={case}"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "discriminator in " in message and "scale0_layer1.0.weight" in message


def test_method_without_a_suite_is_refused_with_the_known(case, capsys):
    assert cli.main(["parity", f"--case={case}", "--method=wav2lip"]) == 1
    assert "'wav2lip'; known: emoconv, iplap" in capsys.readouterr().err


def test_json_onto_a_folder_is_refused_before_anything_runs(case, tmp_path, capsys):
    assert cli.main(["parity", f"--case={case}", f"--json={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert "is a folder" in captured.err and captured.out == ""


def test_case_is_asked_for(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["parity"])
    assert stop.value.code == 2
    assert "--case" in capsys.readouterr().err


def test_many_tensors_are_summed_up_but_those_over_are_named():
    checks = [Check("many.json", f"t{i}", i * 1e-6, 1e-4) for i in range(100)]
    checks[30] = Check("many.json", "t30", 2e-4, 1e-4)
    checks[40] = Check("many.json", "t40", 0.0, 1e-4, "relative (kink)")
    names = [name for name, _ in parity._rows(checks)]
    assert names == ["t30", "98 tensors, worst t99", "1 tensors, worst t40"]
    assert len(parity._rows(checks[:50])) == 50


def test_summary_names_the_first_that_are_over():
    checks = tuple(Check("a.npz", f"t{i}", 2.0, 1.0) for i in range(5))
    assert parity._summary(Report(checks, ())) == (
        "5 of 5 tensors over tolerance: a.npz t0, a.npz t1, a.npz t2 and 2 more"
    )
