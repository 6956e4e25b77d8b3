"""Imports go one way: accounting <- labeldp <- distill <- benchmarks, and mechanisms <- release <- the rest of labeldp."""

import ast
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "numba",
    "matplotlib",
    "hypothesis",
    "pyarrow",
    "narwhals",
    "pyspark",
    "sklearn",
    "scipy",
    "jinja2",
    "msgspec",
    "opacus",
    "pandas",
)
ROOMS = {
    "accounting": {"accounting"},
    "accounting/numerics": {"accounting.numerics"},
    "labeldp/mechanisms": {"accounting", "labeldp.mechanisms"},
    "labeldp/release": {"accounting", "labeldp.mechanisms", "labeldp.release"},
    "labeldp/learning": {"accounting", "labeldp.mechanisms", "labeldp.release", "labeldp.learning"},
    "labeldp/testing": {"accounting", "labeldp.mechanisms", "labeldp.release", "labeldp.testing"},
    "labeldp/tables": {
        "accounting",
        "labeldp.__version__",
        "labeldp.mechanisms",
        "labeldp.release",
        "labeldp.tables",
    },
    "distill": {"accounting", "labeldp", "distill"},
}
OURS = ("accounting", "labeldp", "distill", "benchmarks", "tests")


def imports(source: str, *, package: str = "") -> set[str]:
    """Full names of everything a file imports, at any depth of nesting; `from a import b` counts as a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return names


def forbidden(source: str, room: str) -> set[str]:
    """Imports of ours that the room may not make."""
    allowed = ROOMS[room]
    package = room.replace("/", ".")
    return {
        name
        for name in imports(source, package=package)
        if name.split(".")[0] in OURS and not any(name == a or name.startswith(f"{a}.") for a in allowed)
    }


FILES = [(path, room) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize(("path", "room"), FILES, ids=lambda value: str(getattr(value, "name", value)))
def test_imports_go_one_way(path: Path, room: str) -> None:
    assert not forbidden(path.read_text(), room)


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("import labeldp", "accounting"),
        ("from accounting.events import Event", "accounting/numerics"),
        ("def f():\n    from labeldp.release import privatize", "accounting"),
        ("from labeldp.release import sampling", "labeldp/mechanisms"),
        ("from labeldp import release", "labeldp/mechanisms"),
        ("from ..learning import stages", "labeldp/release"),
        ("import importlib\nimportlib.import_module('distill.train')", "labeldp/testing"),
        ("from labeldp.testing import enumerate_channel", "labeldp/learning"),
        ("import benchmarks.throughput", "distill"),
    ],
)
def test_an_import_the_other_way_is_caught(source: str, room: str) -> None:
    assert forbidden(source, room)


def test_only_the_training_layer_imports_torch() -> None:
    for path, room in FILES:
        names = {name.split(".")[0] for name in imports(path.read_text())}
        if room != "distill" and path.name != "torch_kernels.py":
            assert not names & {"torch", "opacus", "matplotlib"}, path


def test_only_its_estimators_import_scikit_learn() -> None:
    users = {
        path.stem
        for path, room in FILES
        if room != "distill" and "sklearn" in {name.split(".")[0] for name in imports(path.read_text())}
    }
    assert users == {"sklearn", "sklearn_regressor", "sklearn_release", "sklearn_rounds"}


def test_only_tables_import_arrow_and_its_engines() -> None:
    engines = {"pyarrow", "narwhals", "pyspark", "duckdb", "pandas", "polars"}
    users = {room for path, room in FILES if engines & {n.split(".")[0] for n in imports(path.read_text())}}
    assert users == {"labeldp/tables"}


def test_only_the_kernels_import_numba() -> None:
    users = {
        path.name for path, _ in FILES if "numba" in {n.split(".")[0] for n in imports(path.read_text())}
    }
    assert users == {"kernels_many_classes.py"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in memory after some code ran in a process of its own."""
    program = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in result.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import labeldp",
        "import accounting",
        "import labeldp; labeldp.privatize(labeldp.RandomizedResponse(1.0, 3), [0, 1, 2])",
        "import labeldp.testing",
        "from labeldp.tables import Ledger, charge, new_key, privatize_csv",
        "import distill, distill.cli",
    ],
)
def test_importing_is_light(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_importing_labeldp_brings_nothing_but_itself() -> None:
    assert "numpy" not in loaded_by("import labeldp")


def test_heavy_imports_would_be_seen() -> None:
    assert "scipy" in loaded_by("import scipy.stats")


@pytest.mark.parametrize("verb", [[], ["demo"], ["distill"], ["report"]])
def test_help_comes_without_torch(verb: list[str]) -> None:
    code = f"from distill.cli import app\napp({[*verb, '--help']!r}, exit_on_error=False)"
    assert not loaded_by(code) & set(HEAVY)


def test_public_names_exist_and_are_documented() -> None:
    import accounting
    import distill
    import labeldp
    import labeldp.tables
    import labeldp.testing

    for module in (accounting, labeldp, labeldp.tables, labeldp.testing, distill):
        for name in module.__all__:
            value = getattr(module, name)
            assert not isinstance(value, type | FunctionType) or value.__doc__, f"{module.__name__}.{name}"
    with pytest.raises(AttributeError, match="nothing"):
        labeldp.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        distill.nothing  # noqa: B018
    assert set(labeldp.__all__) <= set(dir(labeldp))
