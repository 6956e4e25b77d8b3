"""Key files: 32 secret bytes in a small text file that only its owner can read.

A key is worth the labels it protected: with it, guesses of a label can be tested against the noisy one. The file is therefore made,
checked and destroyed with care, and its fingerprint is all that others ever need.
"""

import hashlib
import os
import secrets
import stat
from os import PathLike
from pathlib import Path

from labeldp.release.keyed import key_fingerprint as fingerprint

__all__ = ["destroy_key", "fingerprint", "new_key", "read_key"]

_MAGIC = "labeldp key 1"
_RAW = 32
_MOST = 4096

NOT_PROMISED = (
    "The file was overwritten and removed. Flash storage, journaling and copy-on-write file systems, snapshots, backups and swapped "
    "memory may keep copies that no program can reach: if the key ever lay there, destroy those too, or treat the noise as known to "
    "whoever holds them."
)
"""What overwriting a file cannot promise."""


def new_key(path: str | PathLike[str]) -> str:
    """Makes a key from the operating system's randomness in a new file, mode 0600, and returns its fingerprint.

    Raises:
        FileExistsError: something of that name is there, also a link; a key is never overwritten.
        FileNotFoundError: there is no such directory.

    Privacy: the key depends on nothing but the operating system's randomness. It is on the disk when this returns.
    """
    place, key = Path(path), secrets.token_bytes(_RAW)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise FileExistsError(
            f"Expected a new file for the key, {place} is already there; a key that is overwritten cannot be had back."
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(_text(key))
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(place)
    return fingerprint(key)


def read_key(path: str | PathLike[str]) -> bytes:
    """Returns the 32 bytes of a key file, or of a file of just 32 random bytes.

    A link is followed; what it leads to is checked after it has been opened.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: others may read or write it, or own it.
        ValueError: it holds no key, or a damaged one. No message holds a byte of it.
    """
    place = Path(path)
    try:  # not to wait for a writer, should it be a pipe
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected a key file, found none at {place}; make one with: labeldp key new {place}"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        _refuse_open_files(place, os.fstat(file.fileno()))
        return _parsed(place, file.read(_MOST + 1))


def destroy_key(path: str | PathLike[str]) -> str | None:
    """Overwrites a key file, removes it, and returns the fingerprint of the key it held, None for a damaged one.

    What overwriting cannot promise stands in `NOT_PROMISED`.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: others may read or write it, or own it: who holds a copy is then unknown.
        ValueError: it is a link, or holds no key at all; nothing is touched.
    """
    place = Path(path)
    if place.is_symlink():
        raise ValueError(
            f"Expected the key file itself, got a link, {place}; destroy what it leads to, {place.resolve()}."
        )
    descriptor = os.open(place, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        _refuse_open_files(place, os.fstat(file.fileno()))
        content = file.read(_MOST + 1)
        try:
            name = fingerprint(_parsed(place, content))
        except ValueError:
            if not content.startswith(_MAGIC.encode()):
                raise
            name = None
        for noise in (os.urandom(len(content)), bytes(len(content))):
            file.seek(0)
            file.write(noise)
            os.fsync(file.fileno())
    place.unlink()
    _sync_folder(place)
    return name


def _text(key: bytes) -> bytes:
    return f"{_MAGIC}\n{key.hex()}\nchecksum {_checksum(key)}\n".encode()


def _checksum(key: bytes) -> str:
    """Shows damage; the key it is made from stands beside it."""
    return hashlib.sha256(_MAGIC.encode() + key).hexdigest()[:16]


def _parsed(place: Path, content: bytes) -> bytes:
    """The key in the content of a file."""
    # No 32 random bytes are all printable, but a password, or a key written in hexadecimal and cut short, is.
    if len(content) == _RAW and not all(32 <= byte < 127 or byte in b"\t\r\n" for byte in content):
        return content
    lines = content.split(b"\n")
    if lines[0] != _MAGIC.encode():
        raise ValueError(
            f"Expected a key file at {place}, or 32 random bytes, got {len(content)} bytes of something else; make one with: "
            f"labeldp key new FILE"
        )
    try:
        key = bytes.fromhex(lines[1].decode("ascii"))
    except (IndexError, ValueError):
        key = b""
    if len(key) != _RAW or content != _text(key):
        raise ValueError(
            f"Expected a whole key file at {place}, got a damaged or edited one; take a copy of it that is intact. With another key "
            f"every release is a new one, and is charged."
        )
    return key


def _refuse_open_files(place: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"Expected a key file at {place}, got a directory, a pipe or a device.")
    if status.st_uid != os.geteuid():
        raise PermissionError(
            f"Expected a key file of your own at {place}, got one that user {status.st_uid} owns; its owner can read and change it. "
            f"Copy it into a file of yours with mode 600."
        )
    if status.st_mode & 0o077:
        raise PermissionError(
            f"Expected a key file that only its owner may read, {place} has mode {stat.S_IMODE(status.st_mode):03o}; close it with: "
            f"chmod 600 {place}. Whoever read it before holds the key: where that may be, make another."
        )


def _sync_folder(place: Path) -> None:
    """Puts the name of a file, or its absence, on the disk."""
    descriptor = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
