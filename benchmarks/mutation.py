"""Plants one mistake at a time in `accounting`, `labeldp/mechanisms` and `labeldp/release`, and asks the fast tests whether they see it; prints
a table and writes benchmarks/results/mutation.json.

    python -m benchmarks.mutation                 # 300 mutants of code and their share of messages
    python -m benchmarks.mutation --all           # all of them, for days
    python -m benchmarks.mutation --survivors     # those again that the last results call survivors

Mutants are those of mutmut (benchmarks/mutants_of_code.py). A mutant's tests are those that call its function, the quickest first, then
those that call others of its file, as a run told, as far as they are fast. Each mutant is tried in a process forked from one that has imported the
heavy packages and none of ours. It is killed when a test fails or its processor time is spent.
"""

import argparse
import builtins
import functools
import json
import math
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.mutants_of_code import Mutant

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "mutation.json"
EQUIVALENT = Path(__file__).parent / "equivalent_mutants.json"
WORK = ROOT / "mutants"
COPIED = ("accounting", "labeldp", "distill", "benchmarks", "tests", "configs", "docs", "pyproject.toml")
ROOMS = ("accounting", "labeldp/mechanisms", "labeldp/release")
TESTS = ("tests/accounting", "tests/labeldp")
COMPILED = "labeldp/mechanisms/kernels"
"""Compiled code notes no calls; the tests that run it are named below."""
TESTS_OF_COMPILED = "tests/labeldp/test_kernels.py"
FAST, BUDGET = 1.5, 12.0
"""Seconds of a fast test, and of all tests of one mutant."""
SAMPLE = 300
SEED = "labeldp mutants 1"


def forked(tree: Path, cpu_seconds: float, run: Any) -> tuple[int, float]:
    """Runs a function in a fork within a copy of the project; (exit status or minus the signal, seconds)."""
    import resource

    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(tree)
            sys.path[:] = [str(tree), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
            for name in [name for name in sys.modules if name.split(".")[0] in COPIED]:
                del sys.modules[name]
            limit = int(cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            output = os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            status = int(run())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.perf_counter() - start


def pytest_in(tests: list[str], *plugins: Any, fresh: bool = False, stop: bool = True) -> int:
    import pytest

    if fresh:  # compiled callers of what is mutated may lie in the cache
        import numba

        numba.config.CACHE_DIR = tempfile.mkdtemp(dir=".")  # pyright: ignore
    options = [
        *["-x"] * stop,
        "-q",
        "--tb=line",
        "--rootdir=.",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    options += [word for plugin in ("cacheprovider", "xdist", "cov") for word in ("-p", f"no:{plugin}")]
    return pytest.main([*options, *tests], plugins=list(plugins))


class TooSlow(BaseException):
    """Not an Exception, so that neither tests nor hypothesis catch it."""


class Recorder:
    """A pytest plugin that notes which functions each test calls, and how long it takes; one that is not fast is stopped."""

    def __init__(self, most: float) -> None:
        self.most, self.failed = most, set[str]()
        self.seconds, self.start, self.seen = dict[str, float](), 0.0, dict[str, list[str]]()
        builtins.called_functions = set[str]()  # pyright: ignore
        signal.signal(signal.SIGVTALRM, self.stop)

    def stop(self, *_: Any) -> None:
        raise TooSlow

    def pytest_runtest_logstart(self) -> None:
        builtins.called_functions.clear()  # pyright: ignore
        self.start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, self.most if self.most < math.inf else 0)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.seconds[nodeid] = math.inf if nodeid in self.failed else time.process_time() - self.start
        for function in builtins.called_functions:  # pyright: ignore
            self.seen.setdefault(function, []).append(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
            if "TooSlow" not in str(report.longrepr):
                print(f"{report.nodeid} fails without any mutant, and is left out", file=sys.stderr)


def record(tests: list[str], compiled: bool) -> int:
    """Runs tests with every function of a copy noting its calls, and keeps which fast test called which function.

    Compiled functions cannot note anything: of the tests that run them only the times are kept.
    """
    from benchmarks import mutants_of_code as of_code

    for room in () if compiled else ROOMS:
        for file in Path(room).rglob("*.py"):
            if not str(file).startswith(COMPILED):
                file.write_text(of_code.noting_calls(str(file), file.read_text()))
    recorder = Recorder(math.inf if compiled else FAST)
    pytest_in(tests, recorder, stop=False)
    Path("calls.json").write_text(json.dumps({"seconds": recorder.seconds, "functions": recorder.seen}))
    return len(recorder.seconds) == 0


def tests_of(mutant: "Mutant", seen: dict[str, Any]) -> list[str]:
    """The tests that a mutant has to get past, the quickest first among those that call its function, then among those of its file."""
    if mutant.file.startswith(COMPILED):
        tests = {test: one for test, one in seen["seconds"].items() if test.startswith(TESTS_OF_COMPILED)}
        return sorted((test for test in tests if tests[test] < math.inf), key=tests.__getitem__)
    seconds, functions = seen["seconds"], seen["functions"]
    nearest = set(functions.get(f"{mutant.file} {mutant.function}", ()))
    others = {
        test for name, tests in functions.items() if name.startswith(f"{mutant.file} ") for test in tests
    } - nearest
    if mutant.file.startswith(
        str(Path(COMPILED).parent)
    ):  # with numpy and compiled, answers have to be the same
        others |= {test for test in seconds if test.startswith(TESTS_OF_COMPILED)}
    chosen, spent = list[str](), 0.0
    for test in [*sorted(nearest, key=seconds.__getitem__), *sorted(others, key=seconds.__getitem__)]:
        if seconds[test] <= FAST and spent + seconds[test] <= BUDGET:
            spent += seconds[test]
            chosen.append(test)
    return chosen


def tried(task: tuple["Mutant", dict[str, Any]]) -> dict[str, Any]:
    """Plants a mutant in this worker's copy of the project, runs its tests, and takes it out again."""
    mutant, seen = task
    tree = WORK / str(multiprocessing.current_process()._identity[0] - 1)  # pyright: ignore
    tests, file = tests_of(mutant, seen), tree / mutant.file
    original, times = file.read_text(), file.stat()
    seconds = sum(seen["seconds"][test] for test in tests)
    compiling = 90 if mutant.file.startswith(COMPILED) else 0
    try:
        file.write_text(mutant.source(original))
        os.utime(
            file, (times.st_atime, times.st_mtime + 10 + time.time() % 1e6)
        )  # never that of a cached file
        status, took = (
            forked(tree, 4 * seconds + 20 + compiling, lambda: pytest_in(tests, fresh=bool(compiling)))
            if tests
            else (5, 0.0)
        )
    finally:
        file.write_text(original)
        os.utime(file, (times.st_atime, times.st_mtime))
    told = (tree / "output.txt").read_text().splitlines() if tests else []
    killer = next((line.split(" - ")[0] for line in told if line.startswith(("FAILED", "ERROR"))), None)
    fate = "survived" if status in (0, 5) else "timeout" if status < 0 else "killed"
    told_apart = {"name": mutant.name, "message": mutant.message, "fate": fate, "status": status}
    return told_apart | {"killer": killer, "tests": len(tests), "seconds": round(took, 1)}


def prepared(tree: Path, again: bool) -> dict[str, Any]:
    """A fresh copy of the project, and which tests call what; `again` runs only the test files that changed since this was told last."""
    told = WORK / "calls.json"
    known = json.loads(told.read_text()) if again and told.exists() else {"seconds": {}, "functions": {}}
    since = told.stat().st_mtime if known["seconds"] else 0.0
    tests = [
        str(file.relative_to(ROOT)) for room in TESTS for file in sorted((ROOT / room).glob("test_*.py"))
    ]
    tests = [test for test in tests if (ROOT / test).stat().st_mtime > since]
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)
    seen = known
    for compiled in (True, False):
        some = [test for test in tests if (test == TESTS_OF_COMPILED) == compiled]
        status, _ = forked(tree, 3600, functools.partial(record, some, compiled)) if some else (0, 0.0)
        if status:
            sys.exit("No test was run:\n" + (tree / "output.txt").read_text()[-2000:])
        if some:
            seen = merged(seen, json.loads((tree / "calls.json").read_text()), some)
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            shutil.copy2(file, tree / file.relative_to(ROOT))
    told.write_text(json.dumps(seen))
    return seen


def merged(known: dict[str, Any], new: dict[str, Any], files: list[str]) -> dict[str, Any]:
    """What was known of tests, with that of some files in place of what was known of these."""
    old = {test: one for test, one in known["seconds"].items() if test.split("::")[0] not in files}
    calls = {name: [test for test in called if test in old] for name, called in known["functions"].items()}
    for name, called in new["functions"].items():
        calls[name] = calls.get(name, []) + called
    return {"seconds": old | new["seconds"], "functions": calls}


def heavy() -> None:
    """Imports what all forks need, and has hypothesis try what it tries on a CI machine, without shrinking what fails."""
    import importlib

    for name in (
        "cryptography",
        "scipy.optimize",
        "scipy.special",
        "scipy.stats",
        "mpmath",
        "numba",
        "torch",
        "pytest",
    ):
        importlib.import_module(name)
    from hypothesis import Phase, settings

    os.environ.pop("CI", None)  # tests/conftest.py would load its profile
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutation", derandomize=True, database=None, deadline=None, phases=phases)
    settings.load_profile("mutation")


def drawn(everything: bool) -> tuple[list["Mutant"], dict[str, list[int]]]:
    """Mutants to try: all, or the sample of code and as large a part of the messages; and how many each file has, (code, messages)."""
    from benchmarks import mutants_of_code as of_code

    code, messages, counts = list["Mutant"](), list["Mutant"](), dict[str, list[int]]()
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            some = list(of_code.mutants(ROOT, file))
            code += [mutant for mutant in some if not mutant.message]
            messages += [mutant for mutant in some if mutant.message]
            counts[str(file.relative_to(ROOT))] = [len(some), sum(mutant.message for mutant in some)]
    if everything:
        return code + messages, counts
    share = round(SAMPLE * len(messages) / len(code))
    some = of_code.sample(code, SAMPLE, SEED) + of_code.sample(messages, share, SEED)
    some.sort(
        key=lambda mutant: (mutant.file.startswith(COMPILED), mutant.drawn(SEED))
    )  # what takes long comes last
    return some, counts


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, a line for each room."""
    lines = [
        "| where | mutants | tried | killed | out of time | equivalent | survived | score |",
        "|" + " --- |" * 8,
    ]
    verdicts, equivalent = results["verdicts"], results["equivalent"]
    code = [one for one in verdicts if not one["message"]]
    rooms = {room: [one for one in code if one["name"].startswith(room)] for room in ROOMS}
    rooms |= {
        "all code": code,
        "messages": [one for one in verdicts if one["message"]],
        "code and messages": verdicts,
    }
    for room, some in rooms.items():
        fates = [one["fate"] if one["name"] not in equivalent else "equivalent" for one in some]
        count = {fate: fates.count(fate) for fate in ("killed", "timeout", "equivalent", "survived")}
        found, left = count["killed"] + count["timeout"], len(some) - count["equivalent"]
        cells = [
            room,
            f"{results['mutants'][room]:,}",
            len(some),
            *count.values(),
            f"{found / max(left, 1):.1%}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def totals(counts: dict[str, list[int]]) -> dict[str, int]:
    """How many mutants there are by the rows of the table."""
    code = {
        room: sum(all_ - messages for file, (all_, messages) in counts.items() if file.startswith(room))
        for room in ROOMS
    }
    everything = sum(all_ for all_, _ in counts.values())
    messages = everything - sum(code.values())
    return code | {"all code": everything - messages, "messages": messages, "code and messages": everything}


def main() -> None:
    """Tries mutants, prints and writes after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="all mutants, not a sample")
    parser.add_argument("--survivors", action="store_true", help="keep what the last results call killed")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    chosen, counts = drawn(arguments.all)
    before = (
        {one["name"]: one for one in json.loads(RESULTS.read_text())["verdicts"]}
        if arguments.survivors
        else {}
    )
    equivalent = json.loads(EQUIVALENT.read_text())
    kept = {name: one for name, one in before.items() if one["fate"] != "survived" or name in equivalent}
    results: dict[str, Any] = {
        "seed": SEED,
        "command": "python -m benchmarks.mutation" + (" --all" if arguments.all else ""),
        "machine": f"one core, {platform.machine()}, Python {platform.python_version()}",
        "mutants": totals(counts),
        "files": counts,
        "equivalent": equivalent,
        "verdicts": [kept[mutant.name] for mutant in chosen if mutant.name in kept],
    }
    heavy()
    seen = prepared(WORK / "0", arguments.survivors)
    for worker in range(1, arguments.workers):
        shutil.copytree(WORK / "0", WORK / str(worker), dirs_exist_ok=True)
    tasks = [(mutant, seen) for mutant in chosen if mutant.name not in kept]
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(arguments.workers) as pool:
        for count, one in enumerate(pool.imap_unordered(tried, tasks), 1):
            results["verdicts"].append(one)
            results["verdicts"].sort(key=lambda one: one["name"])
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            print(
                f"{count}/{len(tasks)} {time.perf_counter() - start:.0f} s {one['fate']}: {one['name']}",
                file=sys.stderr,
            )
    print(table(results))


if __name__ == "__main__":
    main()
