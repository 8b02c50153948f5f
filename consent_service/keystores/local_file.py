"""Root keys in one local file that only its owner can read: the default keystore.

    {"format": "consent-keys/1", "lasting": {"current": "<key id>", "keys": {"<key id>": "<base64>", …}}, …}

Each section is a keystore of its own. A key id is derived from its secret, so a damaged file shows when it is
opened. New keys are wrapped under a section's current root key; the others stay readable until destroyed.
"""

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from consent_service.errors import KeyFileMissing, KeystoreUnavailable, SealBroken, WrongKey
from consent_service.vault.seal import SECRET_SIZE, SealingKey, open_sealed, seal, sealed_key_id

LASTING = "lasting"
"""The section of the root key that is kept; the one of epochs has its own."""

_FORMAT = "consent-keys/1"
_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class LocalFileKeystore:
    """Root keys of a local key file; wrap and unwrap take `context` as additional authenticated data.

    Safe for several threads and for several processes on one file: a key that another process added is
    read when it is first met.
    """

    def __init__(self, path: Path, section: str, keys: "_Keys") -> None:
        self._path = path
        self._section = section
        self._keys = keys
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path | str, *, create: bool, section: str = LASTING) -> "LocalFileKeystore":
        """Open a section of the key file at `path`; with `create`, make what is missing (mode 0600).

        Raises `KeyFileMissing`, and `WrongKey` when others than its owner may read it or it is damaged.
        """
        path = Path(path)
        if create:
            _create(path, section)
        sections = _read(path)
        if section not in sections:
            raise KeyFileMissing(f"{path} has no {section} keys: restore it, or start on an empty database.")
        return cls(path, section, sections[section])

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` sealed under the current root key and bound to `context`."""
        self._reload()
        return seal(self._keys.current, key, context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` was given; raise `WrongKey` when this file's keys do not open it."""
        try:
            return open_sealed(self._root_key(wrapped), wrapped, context)
        except SealBroken:
            raise WrongKey(
                f"{self._path} does not open a key of this database: restore the key file that belongs to it."
            ) from None

    @property
    def current(self) -> str:
        """The version under which `wrap` wraps now."""
        self._reload()
        return self._keys.current.id.hex()

    @property
    def versions(self) -> tuple[str, ...]:
        """Every root-key version in the file, oldest first."""
        return tuple(self._keys.by_id)

    @staticmethod
    def version_of(wrapped: bytes) -> str:
        """Return the root-key version that `wrapped` names; raise `WrongKey` when it names none."""
        try:
            return sealed_key_id(wrapped).hex()
        except SealBroken:
            raise WrongKey("A wrapped key in the database is damaged: restore it from a backup.") from None

    def rotate(self) -> str:
        """Add a root key, make it current and return its version; older versions still unwrap."""
        return self._change(_Keys.with_new_current).current.id.hex()

    def destroy_before(self, version: str) -> None:
        """Destroy every root key older than `version` for ever; raise `WrongKey` when that is not there."""
        self._change(lambda keys: keys.from_version(version))

    def close(self) -> None:
        """Do nothing: the file is read whole and closed at once."""

    def _root_key(self, wrapped: bytes) -> SealingKey:
        version = self.version_of(wrapped)
        if version not in self._keys.by_id:
            self._reload()
        if version not in self._keys.by_id:
            raise WrongKey(
                f"{self._path} lacks root key {version}: restore the key file that belongs to this database. "
                "One from before an epoch ended has no such file any more: restore a later backup of it. "
                "Where several machines each have a copy, give them one keystore."
            )
        return self._keys.by_id[version]

    def _reload(self) -> None:
        """Read the file again: another process may have added a root key or destroyed one."""
        with self._lock:
            self._keys = _read(self._path)[self._section]

    def _change(self, change: "Callable[[_Keys], _Keys]") -> "_Keys":
        with self._lock, _locked(self._path):
            sections = _read(self._path)
            self._keys = change(sections[self._section])
            _write(self._path, {**sections, self._section: self._keys})
            return self._keys


class _Keys:
    """What a key file holds; never changed, only replaced."""

    __slots__ = ("by_id", "current")

    def __init__(self, by_id: dict[str, SealingKey], current: SealingKey) -> None:
        self.by_id = by_id
        self.current = current

    @classmethod
    def generate(cls) -> "_Keys":
        key = SealingKey.generate()
        return cls({key.id.hex(): key}, key)

    def with_new_current(self) -> "_Keys":
        key = SealingKey.generate()
        return _Keys({**self.by_id, key.id.hex(): key}, key)

    def from_version(self, version: str) -> "_Keys":
        """Return these keys without those before `version`: the file keeps them oldest first."""
        if version not in self.by_id:
            raise WrongKey(f"The key file has no root key {version}: nothing was destroyed.")
        kept = list(self.by_id)[list(self.by_id).index(version) :]
        return _Keys({kept_version: self.by_id[kept_version] for kept_version in kept}, self.current)

    def document(self) -> dict[str, object]:
        """Return the JSON members of this section."""
        return {
            "current": self.current.id.hex(),
            "keys": {version: base64.b64encode(key.secret).decode() for version, key in self.by_id.items()},
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "_Keys":  # JSON of any shape
        """Raise `ValueError`, `KeyError`, `TypeError` or `AttributeError` for anything but a section."""
        by_id: dict[str, SealingKey] = {}
        for version, text in document["keys"].items():
            secret = base64.b64decode(text, validate=True)
            if len(secret) != SECRET_SIZE or SealingKey(secret).id.hex() != version:
                raise ValueError("a secret that is not its id's")
            by_id[version] = SealingKey(secret)
        return cls(by_id, by_id[document["current"]])


def _encode(sections: Mapping[str, _Keys]) -> bytes:
    document = {"format": _FORMAT, **{name: keys.document() for name, keys in sections.items()}}
    return json.dumps(document, indent=2).encode()


def _decode(data: bytes) -> dict[str, _Keys]:
    document = json.loads(data)
    if document.pop("format") != _FORMAT or not document:
        raise ValueError("another format")
    return {name: _Keys.parse(section) for name, section in document.items()}


def _read(path: Path) -> dict[str, _Keys]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileMissing(
            f"There is no key file at {path}: restore it, or start on an empty database."
        ) from None
    except OSError as error:
        raise KeystoreUnavailable(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if mode & _OTHERS:
                raise WrongKey(
                    f"{path} can be read by others (mode {mode & 0o777:04o}): run chmod 600 on it."
                )
            data = file.read()
    except OSError as error:
        raise KeystoreUnavailable(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise WrongKey(f"{path} is damaged or not a key file: restore it.") from None


def _create(path: Path, section: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        sections = _read(path) if path.exists() else {}
        if section not in sections:  # else another process was first: its keys are the keys
            _write(path, {**sections, section: _Keys.generate()})


def _write(path: Path, sections: Mapping[str, _Keys]) -> None:
    """Write a complete file under another name and move it: nobody ever meets half a key file.

    The folder is locked. What a killed process left under that name is removed: it may hold a key that
    was destroyed since.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encode(sections))
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        _flush_folder(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise KeystoreUnavailable(f"{path} cannot be written: {error.strerror}.") from None


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some file systems have no durable folders
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder's advisory lock, so that two rotations of one file do not lose a key."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeystoreUnavailable(f"The folder of {path} cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_location(location: str, *, secret: str, create: bool) -> LocalFileKeystore:  # noqa: ARG001 - a file has none
    """Open a path, or `file:` and a path; a section but the lasting one follows after `#`."""
    path, _, section = location.removeprefix("file:").partition("#")
    return LocalFileKeystore.open(path, create=create, section=section or LASTING)
