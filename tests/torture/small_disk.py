"""A small file system in memory that this process and its children alone see, and that ends with them (Linux)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 0x4000, 0x40000


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """Its root. Moves this process into a mount namespace of its own, for good. Raises: OSError."""
    _leave_the_mounts_of_others()
    with TemporaryDirectory() as directory:
        _mount(b"tmpfs", directory.encode(), b"tmpfs", 0, f"size={size_bytes}".encode())
        try:
            yield Path(directory)
        finally:
            _mount(b"none", directory.encode(), None, _MS_REMOUNT, None)
            _check(_libc.umount2(directory.encode(), 2), "umount")  # MNT_DETACH: somebody may still be ending there


def make_read_only(root: Path) -> None:
    """From now on nothing can be written there. Raises: OSError while something is open for writing."""
    _mount(b"none", str(root).encode(), None, _MS_REMOUNT | _MS_RDONLY, None)


def _leave_the_mounts_of_others() -> None:
    user, group = os.getuid(), os.getgid()
    flags = _CLONE_NEWNS if user == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    _check(_libc.unshare(flags), "unshare")
    if flags & _CLONE_NEWUSER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data), "mount")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


_libc = ctypes.CDLL(None, use_errno=True)
