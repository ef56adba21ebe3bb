"""What the backups of both databases share: the answer no, and how a file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIDE_FILES = ("-journal", "-wal", "-shm")  # what SQLite may leave beside a file that was being written


class BackupFailed(Exception):
    """A backup cannot be made or used; the message says why. What was there before is as it was."""


@dataclass(frozen=True)
class Copy:
    """What a backup or a restored database holds, and how that was made sure."""

    rows: Mapping[str, int]
    verified: str

    @property
    def total(self) -> int:
        return sum(self.rows.values())


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A file to write that becomes `target` at the end, complete and on the disk; never over another file.

    It stands in the same folder, so that the last step is atomic, and only its owner can read it.
    """
    _refuse_existing(target)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield fresh
        _flush(fresh)
        _publish(fresh, target)
    finally:
        for suffix in ("", *SIDE_FILES):
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    _flush(target.parent)


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise BackupFailed(f"{target} exists already; it is not overwritten.")


def _publish(fresh: Path, target: Path) -> None:
    """A hard link fails where a rename would overwrite what somebody else put there meanwhile."""
    try:
        os.link(fresh, target)
    except FileExistsError:
        _refuse_existing(target)
    except OSError:  # a file system without hard links
        _refuse_existing(target)
        fresh.rename(target)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
