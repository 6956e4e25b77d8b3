"""Bringing one file over an unreliable network: what came before a break is kept and continued."""

import hashlib
import http.client
import re
import socket
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Tell = Callable[[int], None]
"""Hears how many bytes there are so far, of one file."""

TIMEOUT_SECONDS = 30.0
PAUSES_SECONDS = (0.5, 2.0, 8.0)
"""Waits before further tries; a try that brings anything starts the list anew."""

_CHUNK = 1 << 16
_LATER = (408, 425, 429, 500, 502, 503, 504)


class Broken(ConnectionError):
    """The connection ended before the file did; another try may continue it."""


def download(url: str, path: Path, *, limit: int, sha256: str = "", tell: Tell | None = None) -> None:
    """Brings one URL to a file; until it is whole and checked it is called NAME.part.

    Args:
        limit: the largest size that is accepted, in bytes.
        sha256: of the content; empty if it is checked later.

    Raises:
        OSError: no answer, or a refusal; the part that came is kept, and the next call continues it.
        ValueError: what came is not what was expected, and was thrown away.
    """
    url = re.sub(r"//[^/@]*@", "//", url)  # a name and password would come into messages
    part = path.with_name(f"{path.name}.part")
    resumed = part.exists()
    try:
        _until_whole(url, part, limit, tell or (lambda _: None))
        if sha256 and _sha256(part) != sha256:
            raise ValueError(f"{url}: expected SHA-256 {sha256}, got another; it is not what was published.")
    except ValueError:
        part.unlink(missing_ok=True)
        if not resumed:
            raise
        download(url, path, limit=limit, sha256=sha256, tell=tell)  # the old part may be of another file
        return
    part.replace(path)


def _until_whole(url: str, part: Path, limit: int, tell: Tell) -> None:
    """Tries, and tries again after a break, until the whole file is there."""
    pauses, most = iter(PAUSES_SECONDS), _size(part)
    while True:
        try:
            _continue(url, part, limit, tell)
            return
        except Broken as error:
            if _size(part) > most:
                pauses, most = iter(PAUSES_SECONDS), _size(part)
            pause = next(pauses, None)
            if pause is None:
                raise ConnectionError(f"{url}: {error}; {_size(part)} bytes are kept.") from error
            time.sleep(pause)


def _continue(url: str, part: Path, limit: int, tell: Tell) -> None:
    """Appends what is missing of a file, or begins it anew if the server sends all of it."""
    have = _size(part)
    try:
        response = _ask(url, have)
    except HTTPError as error:  # 416: nothing is missing, or the part is of another file
        if _range(error.headers)[1] == have:
            return
        part.unlink()
        raise Broken("the part did not fit the file") from error
    with response:
        start, total = _range(response.headers) if response.status == 206 else (0, _length(response))
        if start not in (0, have):
            part.unlink()
            raise Broken("the server sent another part than was asked for")
        if total is not None and total > limit:
            raise ValueError(f"{url}: expected at most {limit} bytes, the server announces {total}.")
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, limit, url, tell)
    if total is not None and _size(part) != total:
        raise Broken(f"the connection ended after {_size(part)} of {total} bytes")


def _ask(url: str, have: int) -> http.client.HTTPResponse:
    """Asks for a file from a byte on; lets the answer 416 pass, that there is none."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "labeldp"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            raise
        kind = Broken if error.code in _LATER else ConnectionError
        raise kind(f"{url}: the server says {error.code} {error.reason}") from error
    except (http.client.HTTPException, OSError) as error:  # no such name and nobody there are final
        reason = getattr(error, "reason", error)
        final = isinstance(reason, socket.gaierror | ConnectionRefusedError)
        raise (ConnectionError if final else Broken)(f"{url}: no answer ({reason})") from error


def _length(response: http.client.HTTPResponse) -> int | None:
    announced = response.headers.get("Content-Length", "")
    return int(announced) if announced.isdecimal() else None


def _copy(
    response: http.client.HTTPResponse, file: IO[bytes], done: int, limit: int, url: str, tell: Tell
) -> None:
    while chunk := _chunk(response):
        done += len(chunk)
        if done > limit:
            raise ValueError(f"{url}: expected at most {limit} bytes, got more.")
        file.write(chunk)  # a full disk ends it here
        tell(done)


def _chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise Broken(f"the connection broke ({type(error).__name__})") from error


def _range(headers: Message) -> tuple[int, int | None]:
    """Reads Content-Range: where the content starts, and the size of the whole file."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if match is None:
        return 0, None
    return int(match[1] or 0), int(match[2]) if match[2].isdecimal() else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
