"""The default keystore: one file of root keys."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_service.errors import KeyFileMissing, WrongKey
from consent_service.keystores.local_file import LocalFileKeystore

CONTEXT = b"tenant/1"


def a_key_file(folder: Path) -> Path:
    path = folder / "keys.json"
    LocalFileKeystore.open(path, create=True)
    return path


def test_what_was_wrapped_unwraps_to_itself_after_reopening(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    wrapped = LocalFileKeystore.open(path, create=False).wrap(b"k" * 32, context=CONTEXT)

    assert LocalFileKeystore.open(path, create=True).unwrap(wrapped, context=CONTEXT) == b"k" * 32


def test_the_file_is_created_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = a_key_file(tmp_path / "new" / "folder")
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = a_key_file(tmp_path)
    path.chmod(mode)

    with pytest.raises(WrongKey, match="chmod 600"):
        LocalFileKeystore.open(path, create=True)


def test_a_missing_file_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing):
        LocalFileKeystore.open(tmp_path / "keys.json", create=False)

    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_another_database_are_refused(tmp_path: Path) -> None:
    wrapped = LocalFileKeystore.open(a_key_file(tmp_path / "one"), create=False).wrap(b"k", context=CONTEXT)
    other = LocalFileKeystore.open(a_key_file(tmp_path / "two"), create=False)

    with pytest.raises(WrongKey, match="restore the key file"):
        other.unwrap(wrapped, context=CONTEXT)


def test_another_context_is_refused(tmp_path: Path) -> None:
    keystore = LocalFileKeystore.open(a_key_file(tmp_path), create=False)
    wrapped = keystore.wrap(b"k", context=CONTEXT)

    with pytest.raises(WrongKey):
        keystore.unwrap(wrapped, context=b"tenant/2")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_flipped_bit_in_the_file_gives_another_key(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "keys.json"
    keystore = LocalFileKeystore.open(path, create=True)
    good = path.read_bytes()
    wrapped = keystore.wrap(b"k" * 32, context=CONTEXT)
    at = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[at // 8] ^= 1 << (at % 8)
    path.write_bytes(bad)

    try:
        opened = LocalFileKeystore.open(path, create=False).unwrap(wrapped, context=CONTEXT)
    except (WrongKey, KeyFileMissing):
        opened = b"k" * 32  # refused, or (white space, an unknown member) unharmed
    finally:
        path.write_bytes(good)

    assert opened == b"k" * 32


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"format": "consent-keys/2"}'])
def test_a_file_that_is_not_a_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = a_key_file(tmp_path)
    path.write_bytes(content)

    with pytest.raises(WrongKey, match="damaged"):
        LocalFileKeystore.open(path, create=True)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(WrongKey, match="damaged"):
        LocalFileKeystore.open(path, create=True)


def test_after_a_rotation_old_keys_unwrap_and_new_keys_name_the_new_version(tmp_path: Path) -> None:
    keystore = LocalFileKeystore.open(a_key_file(tmp_path), create=False)
    old = keystore.wrap(b"old", context=CONTEXT)

    version = keystore.rotate()

    assert keystore.unwrap(old, context=CONTEXT) == b"old"
    assert keystore.version_of(keystore.wrap(b"new", context=CONTEXT)) == version == keystore.current
    assert keystore.versions == (keystore.version_of(old), version)


def test_another_process_opens_what_was_wrapped_after_a_rotation(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    first, second = (LocalFileKeystore.open(path, create=False) for _ in range(2))
    first.rotate()
    wrapped = first.wrap(b"new", context=CONTEXT)

    assert second.unwrap(wrapped, context=CONTEXT) == b"new"


def test_a_destroyed_version_opens_nothing_any_more(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    keystore = LocalFileKeystore.open(path, create=False)
    old = keystore.wrap(b"old", context=CONTEXT)
    secret = json.loads(path.read_text())["lasting"]["keys"][keystore.current]
    version = keystore.rotate()

    keystore.destroy_before(version)
    keystore.destroy_before(version)

    with pytest.raises(WrongKey, match="before an epoch ended has no such file any more"):
        keystore.unwrap(old, context=CONTEXT)
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert keystore.versions == (version,)


def test_destroying_before_an_unknown_version_destroys_nothing(tmp_path: Path) -> None:
    keystore = LocalFileKeystore.open(a_key_file(tmp_path), create=False)
    keystore.rotate()

    with pytest.raises(WrongKey, match="nothing was destroyed"):
        keystore.destroy_before("00" * 16)

    assert len(keystore.versions) == 2


def test_the_sections_of_a_file_are_keystores_of_their_own(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    lasting = LocalFileKeystore.open(path, create=False)
    epoch = LocalFileKeystore.open(path, create=True, section="epoch")
    kept, ended = lasting.wrap(b"kept", context=CONTEXT), epoch.wrap(b"ended", context=CONTEXT)

    epoch.destroy_before(epoch.rotate())

    assert LocalFileKeystore.open(path, create=False).unwrap(kept, context=CONTEXT) == b"kept"
    with pytest.raises(WrongKey):
        LocalFileKeystore.open(path, create=False, section="epoch").unwrap(ended, context=CONTEXT)


def test_a_missing_section_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)

    with pytest.raises(KeyFileMissing, match="no epoch keys"):
        LocalFileKeystore.open(path, create=False, section="epoch")


def test_processes_that_start_at_once_agree_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    program = (
        "import sys; from consent_service.keystores.local_file import LocalFileKeystore;"
        "sys.stdin.read(); print(LocalFileKeystore.open(sys.argv[1], create=True).current)"
    )
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    versions = {process.communicate("go", timeout=60)[0] for process in starting}

    assert versions == {LocalFileKeystore.open(path, create=False).current + "\n"}
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_what_a_killed_rotation_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    (tmp_path / ".keys.json.new").write_bytes(path.read_bytes())

    LocalFileKeystore.open(path, create=False).rotate()

    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_a_full_disk_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    before = path.read_bytes()
    program = (
        "import resource as r, signal, sys\n"
        "from consent_service.keystores.local_file import LocalFileKeystore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); r.setrlimit(r.RLIMIT_FSIZE, (100, 100));"
        "LocalFileKeystore.open(sys.argv[1], create=False).rotate()"
    )

    process = subprocess.run(
        [sys.executable, "-B", "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "File too large" in process.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_no_secret_shows_in_a_repr(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    keystore = LocalFileKeystore.open(path, create=False)
    secret = base64.b64decode(json.loads(path.read_text())["lasting"]["keys"][keystore.current])

    shown = repr(keystore) + repr(vars(keystore))

    assert secret.hex() not in shown
    assert repr(secret)[2:-1] not in shown
