"""One process at a time, by a lock of the kernel's (flock(2)), which is free again however its process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

UNKNOWN_OWNER = "another process"


@contextmanager
def locked(path: Path, owner: str, busy: Callable[[str], None]) -> Iterator[None]:
    """Have the lock of a file while the block runs; `owner` is written there, for those who find it taken.

    Where another process has it, `busy` is called with the owner that it wrote, or with `UNKNOWN_OWNER` where it has
    not yet written one; unless that raises, the lock is waited for. No program that is started meanwhile inherits it
    (PEP 446). The file stays: another may have its lock by then.
    """
    with _opened(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy(handle.read().strip() or UNKNOWN_OWNER)
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{owner}\n")
        handle.flush()
        try:
            yield
        finally:
            # Else it would be named in the moment in which the next owner has the lock, and has not yet written.
            handle.seek(0)
            handle.truncate()


def _opened(path: Path) -> IO[str]:
    """The file, open to read and write; a new one is open to all users, whose runs may share this machine."""
    try:
        return path.open("r+")
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        os.fchmod(descriptor, 0o666)
        return os.fdopen(descriptor, "r+")
