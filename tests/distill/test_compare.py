"""`labeldp report`: one run, several, unfinished ones, and what is no run."""

import json
import shutil
import stat
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from distill.cli import main
from distill.compare import accuracy_lines, differences, read_runs
from tests.distill.test_report import OUTSIDE, figures


@pytest.fixture
def runs(tiny_run, tmp_path):
    """A finished run, another at epsilon 2 (its report edited), and one that was interrupted."""
    folders = {name: tmp_path / name for name in ("one", "two", "half")}
    for name in ("one", "two"):
        shutil.copytree(tiny_run.folder, folders[name])
    folders["half"].mkdir()
    shutil.copy(tiny_run.folder / "config.toml", folders["half"])
    config = folders["two"] / "config.toml"
    config.write_text(config.read_text().replace("epsilon = 1.0", "epsilon = 2.0"))
    report = folders["two"] / "report.json"
    values = json.loads(report.read_text())
    values["config"]["privacy"]["epsilon"] = values["privacy"]["epsilon_per_answer"] = 2.0
    values["guarantees"][0]["epsilon"] = 2.0
    report.write_text(json.dumps(values))
    return folders


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_the_page_of_one_run_is_written_again(runs, capsys) -> None:
    path = runs["one"] / "report.html"
    before = path.read_text()
    path.unlink()
    status, text, errors = run(capsys, runs["one"])
    assert (status, errors) == (0, "")
    assert path.read_text() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for part in ("private student", "epsilon 1 per answer", "no guarantee per record", str(path)):
        assert part in text


def test_the_page_of_one_run_can_go_elsewhere(runs, tmp_path, capsys) -> None:
    path = runs["one"] / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"curves": []}))  # quicker
    status, text, _ = run(capsys, runs["one"], "--out", tmp_path / "page.html")
    assert status == 0
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert str(tmp_path / "page.html") in text


def test_several_runs_are_compared_in_one_page(runs, tmp_path, capsys) -> None:
    out = tmp_path / "compare.html"
    status, text, errors = run(capsys, runs["one"], runs["two"], runs["half"], "--out", out)
    assert (status, errors) == (0, "")
    page = out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "not for release" in page.splitlines()[0]
    assert not OUTSIDE.findall(page)
    assert len(figures(page)) == 2  # accuracy against epsilon, times
    for figure in figures(page):
        ElementTree.fromstring(figure)
    for part in (
        "epsilon per answer",
        "per record",
        "private student",
        "<th>privacy.epsilon</th>",
        "half: unfinished",
    ):
        assert part in page
    assert "<th>pool.size</th>" not in page  # it is the same everywhere
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["run", "stages"]
    assert [line.split()[0] for line in lines[1:4]] == ["one", "two", "half"]
    assert lines[1].split()[:4] == ["one", "subset+srr", "1", "none"]
    assert lines[3].split() == ["half", "subset+srr", "unfinished"]
    assert any(line.split() == ["privacy.epsilon", "1.0", "2.0", "1.0"] for line in lines)
    assert str(out) in text


def test_the_comparison_lies_beside_the_runs_and_not_where_one_stands(
    runs, tmp_path, capsys, monkeypatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    status, text, _ = run(capsys, "../half", runs["half"])
    assert status == 0
    assert f"comparison: {tmp_path / 'compare.html'}" in text
    assert "not for release" in (tmp_path / "compare.html").read_text().splitlines()[0]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_runs_at_one_epsilon_have_no_figure_against_it(runs, tmp_path, capsys) -> None:
    out = tmp_path / "compare.html"
    assert run(capsys, runs["one"], runs["one"], "--out", out)[0] == 0
    assert len(figures(out.read_text())) == 1


def test_runs_that_are_all_unfinished_still_have_a_page(runs, tmp_path, capsys) -> None:
    status, text, _ = run(capsys, runs["half"], runs["half"], "--out", tmp_path / "compare.html")
    assert status == 0
    assert text.count("unfinished") >= 2


def test_a_seeded_run_never_stands_as_private(runs, tmp_path, capsys) -> None:
    path = runs["two"] / "report.json"
    values = json.loads(path.read_text())
    values["privacy"] |= {"releasable": False, "not_for_release": "the noise can be reproduced from a seed"}
    for guarantee in values["guarantees"]:
        guarantee |= {"holds": False, "epsilon": None}
    path.write_text(json.dumps(values))
    _, text, _ = run(capsys, runs["one"], runs["two"], "--out", tmp_path / "compare.html")
    assert "two: not for release, the noise can be reproduced from a seed." in text
    assert "none (2, void)" in text
    assert "one: not for release" not in text


def test_what_differs_is_the_configuration_alone(runs) -> None:
    seen = read_runs([runs["one"], runs["two"]])
    assert differences(seen) == {"privacy.epsilon": ["1.0", "2.0"]}
    assert differences([seen[0], seen[0]]) == {}


def test_clean_runs_stand_at_no_epsilon(runs) -> None:
    (seen,) = read_runs([runs["one"]])
    assert list(accuracy_lines([seen])) == ["subset+srr"]
    seen.values["privacy"]["stages"] = "clean"
    assert accuracy_lines([seen]) == {}


def test_a_line_joins_runs_that_differ_in_epsilon_and_seed_alone(runs) -> None:
    one, two = read_runs([runs["one"], runs["two"]])
    again = replace(two, name="again", config=two.config | {"seed": 1, "pool.from": "/runs/one"})
    lines = accuracy_lines([one, two, again])
    assert [epsilon for epsilon, _, _ in lines["subset+srr"]] == [1.0, 2.0, 2.0]
    # the twin: whatever else differs, there is no mean over both
    for key, value in {"pool.size": 801, "teacher.epochs": 9, "privacy.source": "seeded"}.items():
        other = replace(two, name="other", config=two.config | {key: value})
        lines = accuracy_lines([one, two, other])
        assert [len(points) for points in lines.values()] == [2, 1]
        assert list(lines) == ["subset+srr: one, two", "subset+srr: other"]
    digits, faces = one, replace(two, config=two.config | {"data.name": "faces"})
    assert list(accuracy_lines([digits, faces])) == ["digits, subset+srr", "faces, subset+srr"]


def test_epsilon_zero_has_a_place_in_the_figure() -> None:
    from distill.report_figures import accuracy_against_epsilon

    points = [(epsilon, 0.5, (0.4, 0.6)) for epsilon in (0.0, 0.5, 4.0)]
    for lines in ({"rr": points}, {"rr": points[:1]}, {"a set of runs with a long name": points}):
        root = ElementTree.fromstring(accuracy_against_epsilon(lines))
        places = [float(use.attrib["x"]) for use in root.iter("{http://www.w3.org/2000/svg}use")]
        assert all(0 <= place <= 400 for place in places)


@pytest.mark.parametrize("damage", ["nowhere", "no run", "unfinished alone", "damaged", "nothing"])
def test_what_is_no_run_is_one_line_and_status_2(damage: str, runs, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (runs["two"] / "report.json").write_text("{")
    wrong = {
        "nowhere": [runs["one"], tmp_path / "nowhere"],
        "no run": [tmp_path / "empty"],
        "unfinished alone": [runs["half"]],
        "damaged": [runs["one"], runs["two"]],
        "nothing": [],
    }[damage]
    status, text, errors = run(capsys, *wrong, "--out", tmp_path / "page.html")
    assert (status, text, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("labeldp: ")
    assert not (tmp_path / "page.html").exists()


def test_a_figure_of_many_phases_has_room_for_their_names() -> None:
    """A warning, which is an error here, says where names leave no room for bars."""
    from distill.report_figures import phases_of_runs

    for count in (1, 3, 10, 25):
        text = phases_of_runs({"run": {f"student of the stage {number}": 1.0 for number in range(count)}})
        assert text.count("student of the stage") == count


def test_long_names_of_runs_leave_room_for_bars() -> None:
    from distill.report_figures import phases_of_runs

    path = "/tmp/pytest-of-root/" + 12 * "a-folder/" + "one"
    assert path[-31:] in phases_of_runs({path: {"teacher": 1.0}})
