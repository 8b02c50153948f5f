"""Disks of a few megabytes that can be filled, and emptied again.

Root mounts one. Another user mounts it in a namespace of its own, as whose root it counts: the user's other
processes reach it under /proc. PostgreSQL follows such a path. SQLite resolves its links by itself and would
write into a folder of that name on the ordinary disk: it gets a limit on the size of files instead.
"""

import os
import resource
import shutil
import subprocess
from pathlib import Path

from tests.servers import ServerProcess

MEGABYTE = 1_000_000
_MOUNT = ("mount", "-t", "tmpfs", "-o", "size=32m,mode=0777", "tmpfs")


class MayNotMount(Exception):
    """Neither here nor in a namespace of its own may this process mount a disk; holds the system's words."""


class SmallDisk:
    """A tmpfs, mounted here by root or in a namespace of its own (`hidden`); raises `MayNotMount`."""

    def __init__(self, folder: Path, *, hidden: bool) -> None:
        folder.mkdir()
        self._mounted = folder
        self._namespace = _namespace_with_disk(folder) if hidden else None
        if self._namespace is None:
            mount = subprocess.run([*_MOUNT, str(folder)], capture_output=True, text=True, check=False)
            if mount.returncode != 0:
                folder.rmdir()
                raise MayNotMount(mount.stderr)
            self.folder = folder
        else:
            self.folder = Path(f"/proc/{self._namespace.pid}/root{folder}")

    def fill(self) -> None:
        """Leave room for about a megabyte."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize
        (self.folder / "ballast").write_bytes(bytes(free - MEGABYTE))

    def make_room(self) -> None:
        """Take away what filled it."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def write_protect(self, *, on: bool) -> None:
        """Let nobody write any more, or again; for a disk mounted here, on which no file is open to write."""
        subprocess.run(
            ["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self._mounted)], check=True, text=True
        )

    def close(self) -> None:
        """Take the disk away."""
        if self._namespace is None:
            subprocess.run(["umount", "--lazy", str(self._mounted)], check=True)
        else:
            self._namespace.stop()
        self._mounted.rmdir()


def _namespace_with_disk(folder: Path) -> ServerProcess:
    """Return a process that sees a fresh disk at `folder`, until it ends."""
    script = f"{' '.join(_MOUNT)} {folder} && echo mounted && exec sleep infinity"
    log = folder.with_name("namespace.log")
    process = ServerProcess(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], folder=folder, log=log
    )
    try:
        process.wait_until_ready(lambda: "mounted" in process.output(), what="the disk to be mounted")
    except AssertionError as error:
        folder.rmdir()
        raise MayNotMount(str(error)) from None
    finally:
        log.unlink()
    return process


class LimitedFiles:
    """A folder in which, once it is filled, no file of this process grows beyond two megabytes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Leave room for about a megabyte."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MEGABYTE, self._limits[1]))

    def make_room(self) -> None:
        """Let files grow again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def write_protect(self, *, on: bool) -> None:
        """Let nobody write any more, or again, who opens a file from now on."""
        for path in (*self.folder.iterdir(), self.folder):
            path.chmod(path.stat().st_mode & ~0o222 if on else path.stat().st_mode | 0o200)

    def close(self) -> None:
        """Take the folder away."""
        self.make_room()
        shutil.rmtree(self.folder)


Disk = SmallDisk | LimitedFiles


def disk_for_sqlite(folder: Path) -> Disk:
    """A small disk, or what comes nearest where nobody lets us mount one."""
    try:
        return SmallDisk(folder, hidden=False)
    except MayNotMount:
        return LimitedFiles(folder)


def disk_for_postgresql(folder: Path) -> SmallDisk:
    """A small disk that PostgreSQL reaches; raises `MayNotMount`."""
    return SmallDisk(folder, hidden=os.geteuid() != 0)  # Under root it is somebody else's process.
