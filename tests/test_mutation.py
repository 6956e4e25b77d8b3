"""The mutants that `make mutation` plants: all of mutmut's, in every function, told from mere words, and drawn the same way every time."""

from pathlib import Path

import pytest

from benchmarks import mutation

of_code = pytest.importorskip(
    "benchmarks.mutants_of_code", reason="mutmut is not installed", exc_type=ImportError
)

SOURCE = '''
"""A text."""
import functools
from typing import cast

__all__ = ["scaled"]
LIMIT = 7


@functools.cache
def scaled(x: int, *, by: int = 2) -> int:
    """Another text."""
    if x > LIMIT:
        raise ValueError(f"Expected at most {LIMIT}, got " + "more")
    return cast("int", x * by)


class Box:
    side: float = 1.5

    def area(self) -> float:
        assert self.side > 0, "a side " + "of nothing"
        return self.side**2
'''


@pytest.fixture
def mutants(tmp_path: Path) -> list:
    (tmp_path / "room.py").write_text(SOURCE)
    return list(of_code.mutants(tmp_path, tmp_path / "room.py"))


def changes(mutants: list, *, message: bool) -> set[str]:
    return {mutant.name.removeprefix("room.py ") for mutant in mutants if mutant.message == message}


def test_code_is_mutated_everywhere_decorated_or_not(mutants: list) -> None:
    code = changes(mutants, message=False)
    assert "scaled: `> LIMIT` -> `>= LIMIT`" in code
    assert "scaled: `x * by` -> `x / by`" in code
    assert "scaled: `2` -> `3`" in code
    assert "(module): `LIMIT = 7` -> `LIMIT = None`" in code
    assert "Box: `1.5` -> `2.5`" in code
    assert "Box.area: `self.side**2` -> `self.side * 2`" in code


def test_words_types_and_exports_are_no_code(mutants: list) -> None:
    code, messages = changes(mutants, message=False), changes(mutants, message=True)
    assert not any("more" in change or "nothing" in change or "text" in change for change in code)
    assert any('"XXmoreXX"' in change for change in messages)
    assert any('"a side "' in change for change in messages)
    assert not any(
        "__all__" in change or "XXint" in change or "cast(None" in change for change in code | messages
    )
    assert 'scaled: `cast("int", x * by)` -> `cast("int", None)`' in code


def test_a_mutant_is_the_file_with_one_change(mutants: list) -> None:
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        mutated = mutant.source(SOURCE)
        assert mutated != SOURCE
        compile(mutated, "room.py", "exec")
    power = next(mutant for mutant in mutants if mutant.name.endswith("`self.side * 2`"))
    assert power.function == "Box.area"
    assert power.source(SOURCE) == SOURCE.replace("side**2", "side * 2")


def test_the_draw_follows_the_seed_and_little_else(mutants: list) -> None:
    drawn = of_code.sample(mutants, 5, "a")
    assert drawn == of_code.sample(list(reversed(mutants)), 5, "a")
    assert drawn != of_code.sample(mutants, 5, "b")
    rest = [mutant for mutant in mutants if mutant in drawn or hash(mutant.name) % 3]
    assert of_code.sample(rest, 5, "a") == drawn


def test_every_module_has_its_share(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("A = 1\nB = 2\n")
    (tmp_path / "large.py").write_text("\n".join(f"A{i} = {i}" for i in range(6)))
    everything = [one for file in tmp_path.glob("*.py") for one in of_code.mutants(tmp_path, file)]
    assert [one.file for one in of_code.sample(everything, 8, "")].count("small.py") == 2
    assert len(of_code.sample(everything, 7, "")) == 7


def test_functions_note_their_calls() -> None:
    called: set[str] = set()
    namespace = {"called_functions": called}
    exec(compile(of_code.noting_calls("room.py", SOURCE), "room.py", "exec"), namespace)
    assert namespace["scaled"](3) == 6
    assert called == {"room.py scaled"}
    assert namespace["Box"]().area() == 2.25
    assert called == {"room.py scaled", "room.py Box.area"}
    assert namespace["scaled"].__doc__ == "Another text."


def test_the_quickest_tests_of_the_function_come_first() -> None:
    seen = {
        "seconds": {"slow": 1.0, "quick": 0.1, "near": 0.5, "far": 0.01, "too slow": 9.0},
        "functions": {
            "a.py f": ["near", "quick", "too slow"],
            "a.py g": ["slow", "quick"],
            "b.py h": ["far"],
        },
    }
    mutant = of_code.Mutant("a.py", "a.py f: ...", "f", False, 0)
    assert mutation.tests_of(mutant, seen) == ["quick", "near", "slow"]
    assert mutation.tests_of(of_code.Mutant("a.py", "a.py: ...", "", False, 0), seen) == [
        "quick",
        "near",
        "slow",
    ]
