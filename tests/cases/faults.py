"""Faults at file operations: a kill or a full disk at the k-th of them."""

import contextlib
import errno
import os
import pathlib
import sys

import keras

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")


class Killed(BaseException):
    """Stands for the end of the process: nothing on disk changes after it."""


class Faults:
    """Counts the operations that change a folder, and stops at one of them.

    Attributes:
        count: int, the operations so far.
    """

    def __init__(self):
        self.folder = None
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def at(self, folder, number, full_disk=False):
        """Kills, or lets the disk be full, from operation `number` on."""
        self.count, self.number, self.full_disk = 0, number, full_disk
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = None

    def _hook(self, event, arguments):
        if self.folder is None or event not in (*EVENTS, "open"):
            return
        if not any(
            isinstance(part, str | bytes | os.PathLike)
            and os.fsdecode(part).startswith(self.folder)
            for part in arguments
        ):
            return
        grows = event in ("os.mkdir", "open")
        if event == "open" and not arguments[2] & WRITES:
            return
        self.count += 1
        if self.number and self.count >= self.number:
            if not self.full_disk:
                raise Killed
            if grows:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def audited(save_weights=keras.Model.save_weights):
    """`save_weights` with operations that Python sees, as HDF5's are not."""

    def save(model, path, *arguments, **kwargs):
        pathlib.Path(path).write_bytes(b"half a file")
        save_weights(model, path, *arguments, **kwargs)
        sys.audit("open", str(path), "w", os.O_WRONLY)

    return save
