"""Where data sets lie on this machine, and reading their files with every check that their content allows."""

import gzip
import hashlib
import os
import struct
import zlib
from pathlib import Path

from distill.data.entry import Entry, File


def cache() -> Path:
    """Returns the directory that data sets are brought to: $LABELDP_DATA, else labeldp in the user's cache."""
    if os.environ.get("LABELDP_DATA"):
        return Path(os.environ["LABELDP_DATA"]).expanduser()
    return _user_cache()


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labeldp"


def places(entry: Entry) -> list[Path]:
    """Lists the directories that may hold a data set, the first choice first."""
    roots = dict.fromkeys((cache(), _user_cache()))
    found = [root / (entry.stored_as or entry.name) for root in roots]
    return [*found, entry.installed] if entry.installed else found


def where(entry: Entry) -> Path | None:
    """Returns the first directory that holds a data set, else the first with some of its files; None if there is none."""
    found = {place: _present(entry, place) for place in places(entry)}
    whole = (place for place, paths in found.items() if all(paths))
    return next(whole, next((place for place, paths in found.items() if any(paths)), None))


def read(entry: Entry, directory: str = "") -> dict[str, File]:
    """Reads the files of a data set, and checks that they are the published ones.

    Args:
        directory: where the files lie; empty means the usual places. Files in a directory that the user names are the
            user's own, a subset for example: their form is checked, their checksums are not.

    Raises:
        FileNotFoundError: if they are nowhere; the message says where they were looked for.
        ValueError: if one is damaged, or not the published one; the message names it.
    """
    place = Path(directory).expanduser() if directory else where(entry)
    if place is None or not any(_present(entry, place)):
        looked = [place] if place else places(entry)
        raise FileNotFoundError(f"{entry.name} is not in {', '.join(map(str, looked))}. {way_out(entry)}")
    paths = {}
    for name, path in zip(entry.files, _present(entry, place), strict=True):
        if path is None:
            raise FileNotFoundError(f"Expected {name} beside the other files in {place}. {way_out(entry)}")
        paths[name] = path
    files = {name: File(path, content(path)) for name, path in paths.items()}
    if not directory:
        for name, file in files.items():
            check(entry, name, file)
    return files


def check(entry: Entry, name: str, file: File) -> None:
    """Refuses a file whose content is not the published one."""
    got = hashlib.sha256(file.content).hexdigest()
    if got != entry.files[name]:
        raise ValueError(
            f"{file.path}: expected SHA-256 {entry.files[name]}, got {got}: damaged, or another version. "
            f"Bring it anew with: labeldp data fetch {entry.name}"
        )


def way_out(entry: Entry) -> str:
    """Says how to bring a data set."""
    debian = next((a[7:] for s in entry.sources for a in s.addresses if a.startswith("debian:")), None)
    other = f", or sudo apt-get install {debian}" if debian else ""
    return f"Bring it with: labeldp data fetch {entry.name}{other}; or say where its files are: --data.directory DIR"


def _present(entry: Entry, place: Path) -> list[Path | None]:
    """Finds each file of a data set in one directory, compressed or not."""
    pairs = [(place / name, place / f"{name}.gz") for name in entry.files]
    return [next((path for path in pair if path.is_file()), None) for pair in pairs]


def content(path: Path) -> bytes:
    """Returns what a file holds, without compression.

    Raises:
        ValueError: if a compressed file is damaged.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}). Bring it anew.") from error
