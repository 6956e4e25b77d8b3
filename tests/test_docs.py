"""Documents that run: python blocks are executed, `# -> value` is compared, commands and links exist, tables come from JSON."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def execute(source: str, namespace: dict) -> int:
    """Runs one block; a statement followed by `# -> text` must have a value that prints as the text. Returns how many did."""
    lines, checked = source.splitlines(), 0
    for node in ast.parse(source).body:
        code = ast.Module([node], []) if not isinstance(node, ast.Expr) else ast.Expression(node.value)
        expected = re.search(r"# -> (.*)$", lines[node.end_lineno - 1])
        if isinstance(node, ast.Expr):
            value = eval(compile(code, "block", "eval"), namespace)
            if expected:
                assert str(value) == expected[1], (
                    f"{ast.unparse(node)} is {value}, the page says {expected[1]}"
                )
                checked += 1
        else:
            assert not expected, f"nothing to compare in: {lines[node.lineno - 1]}"
            exec(compile(code, "block", "exec"), namespace)
    return checked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs_and_shows_what_it_says(page: Path) -> None:
    namespace: dict = {}
    checked = sum(execute(block, namespace) for block in blocks(page, "python"))
    assert checked == page.read_text().count("# -> ")


def test_a_wrong_value_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="the page says 3"):
        execute("1 + 1  # -> 3", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    from distill.cli import app
    from distill.config_file import known_keys

    for line in "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:1] == ["labeldp"]:
            assert words[1] in list(app), line
            options = {word[2:].split("=")[0] for word in words if word.startswith("--")}
            command = app[words[1]]
            while words[2:] and words[2] in list(command) and not words[2].startswith("-"):
                command = command[words.pop(2)]
            own = {name.lstrip("-") for one in command.assemble_argument_collection() for name in one.names}
            assert options <= {*known_keys(), *own}, line
            files = [word for word in words if word.endswith(".toml")]
            assert all((ROOT / file).is_file() for file in files), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text()
    assert all(f'"{page.name}"' in navigation for page in (ROOT / "docs").glob("*.md"))


TABLES = [
    ("README.md", "end_to_end"),
    ("docs/mechanisms.md", "throughput"),
    ("docs/accounting.md", "accounting_speed"),
    ("docs/testing.md", "audit_power"),
    ("docs/testing.md", "mutation"),
    ("docs/learning.md", "learning"),
    ("docs/scale.md", "ledger"),
    ("docs/scale.md", "tables"),
    ("docs/reproducing.md", "ablation"),
]


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_tables_come_from_the_committed_results(page: str, name: str) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    results = json.loads(benchmark.RESULTS.read_text())
    rows = results.get("results", results) if isinstance(results, dict) else results
    written = re.search(
        rf"<!-- table: {name} -->\n(.*?)\n?<!-- end -->", (ROOT / page).read_text(), re.DOTALL
    )
    assert written is not None
    assert written[1] == benchmark.table(rows)


@pytest.mark.parametrize(
    ("marker", "data"),
    [
        ("", "digits"),
        (" fashion-mnist", "fashion-mnist"),
        (" mnist", "mnist"),
        (" diabetes", "diabetes"),
        (" of records", "records"),
    ],
)
def test_the_tables_of_curves_come_from_the_committed_runs(marker: str, data: str) -> None:
    from benchmarks.utility_curves import rows_of, table
    from distill.curve_report import table_of

    written = (ROOT / "docs" / "reproducing.md").read_text()
    assert f"<!-- table: utility_curves{marker} -->\n{table(data)}\n<!-- end -->" in written
    changed = [{**row, "score": 2 * row["score"]} for row in rows_of(data)]
    assert table_of(changed) not in written


def test_what_beats_what_comes_from_the_committed_runs() -> None:
    from benchmarks.utility_curves import rows_of
    from distill.curve_report import comparisons

    rows = rows_of("fashion-mnist")
    said = "\n".join(f"- {line}" for line in comparisons(rows))
    written = (ROOT / "docs" / "reproducing.md").read_text()
    assert f"<!-- comparisons: fashion-mnist -->\n{said}\n<!-- end -->" in written
    assert "srr beats rr" in said
    one_seed_less = [row for row in rows if row["seed"] < 2]
    assert comparisons(one_seed_less) == []
