"""Key files: only their owner reads them, damage is seen, and what is destroyed cannot be read at its place."""

import hashlib
import hmac
import os
import stat

import pytest

import labeldp
from labeldp.tables import destroy_key, fingerprint, new_key, read_key
from labeldp.tables.key_file import NOT_PROMISED

KEY = bytes(range(100, 132))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key"
    new_key(path)
    return path


def test_a_new_key_is_the_owners_alone_whatever_the_umask(tmp_path) -> None:
    before = os.umask(0)
    try:
        name = new_key(tmp_path / "key")
    finally:
        os.umask(before)
    status = (tmp_path / "key").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    key = read_key(tmp_path / "key")
    assert len(key) == 32
    assert fingerprint(key) == name
    assert labeldp.KeyedSource(key).fingerprint == name


def test_keys_differ(tmp_path) -> None:
    assert len({new_key(tmp_path / str(i)) for i in range(20)}) == 20


def test_a_key_is_never_overwritten(file, tmp_path) -> None:
    content = file.read_bytes()
    with pytest.raises(FileExistsError, match="already there"):
        new_key(file)
    assert file.read_bytes() == content
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        new_key(dangling)
    assert not (tmp_path / "nowhere").exists()


def test_a_new_key_needs_a_directory(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        new_key(tmp_path / "none" / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o660, 0o610, 0o777])
def test_a_key_that_others_may_open_is_refused(file, mode) -> None:
    file.chmod(mode)
    for operation in (read_key, destroy_key):
        with pytest.raises(PermissionError, match=f"mode {mode:o}; close it with: chmod 600"):
            operation(file)
    file.chmod(0o600)
    assert len(read_key(file)) == 32


def test_a_key_of_someone_else_is_refused(file, monkeypatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PermissionError, match=f"user {owner} owns"):
        read_key(file)


def test_every_edit_of_a_key_file_is_seen(file) -> None:
    """All cuts, and another value of every byte: none is read as a key, the intact one is."""
    content, key = file.read_bytes(), read_key(file)
    changed = [content[:size] for size in range(len(content))]
    changed += [content + b"\n", content + b"x", content.upper(), content.replace(b"\n", b"\r\n"), b""]
    changed += [
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(len(content))
    ]
    for other in changed:
        file.write_bytes(other)
        with pytest.raises(ValueError, match="Expected a") as caught:
            read_key(file)
        assert key.hex()[:8] not in str(caught.value)
    file.write_bytes(content)
    assert read_key(file) == key


def test_an_edit_without_a_checksum_would_go_unseen(tmp_path) -> None:
    """The twin: a raw file of 32 bytes is a key whatever its bytes are; that is why new ones are texts."""
    path = tmp_path / "raw"
    for content in (KEY, KEY[:-1] + b"\xff"):
        path.write_bytes(content)
        path.chmod(0o600)
        assert read_key(path) == content


@pytest.mark.parametrize(
    "content",
    [
        b"correct horse battery staple 123",
        b"0123456789abcdef" * 2,
        KEY[:31],
        KEY + b"\n",
        b"\n" * 32,
        bytes(5000),
    ],
)
def test_what_is_no_key_is_refused(tmp_path, content) -> None:
    path = tmp_path / "raw"
    path.write_bytes(content)
    path.chmod(0o600)
    for operation in (read_key, destroy_key):
        with pytest.raises(ValueError, match="Expected a key file"):
            operation(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="labeldp key new"):
        read_key(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises((ValueError, IsADirectoryError)):
            read_key(path)


def test_a_link_is_followed_and_what_it_leads_to_is_checked(file, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    assert read_key(link) == read_key(file)
    file.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        read_key(link)


def test_a_destroyed_key_is_gone_from_its_place(file, tmp_path) -> None:
    other_name = tmp_path / "other name"
    os.link(file, other_name)
    content, name = file.read_bytes(), fingerprint(read_key(file))
    assert destroy_key(file) == name
    assert not file.exists()
    assert len(other_name.read_bytes()) == len(content)
    assert not set(content.split()) & set(other_name.read_bytes().split())
    assert "snapshots" in NOT_PROMISED


def test_removing_alone_would_leave_the_bytes(file, tmp_path) -> None:
    """The twin of the check above."""
    os.link(file, tmp_path / "other name")
    content = file.read_bytes()
    file.unlink()
    assert (tmp_path / "other name").read_bytes() == content


def test_links_are_not_destroyed(file, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ValueError, match="got a link"):
        destroy_key(link)
    assert len(read_key(link)) == 32


def test_a_damaged_key_can_be_destroyed(file) -> None:
    file.write_bytes(file.read_bytes()[:40])
    assert destroy_key(file) is None
    assert not file.exists()


def test_the_fingerprint_is_a_function_that_noise_never_uses() -> None:
    """128 bits of HMAC-SHA256 of a constant that is no JSON, which every subkey is made from."""
    expected = hmac.new(KEY, b"labeldp key fingerprint 1", hashlib.sha256).hexdigest()[:32]
    assert fingerprint(KEY) == expected
    assert not b"labeldp key fingerprint 1".startswith((b"{", b"["))
    assert fingerprint(KEY) not in KEY.hex()
