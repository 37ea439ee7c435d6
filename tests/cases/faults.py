"""Faults at file operations: a kill or a full disk at the k-th of them."""

import contextlib
import errno
import os
import pathlib
import shutil
import sys

import keras

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")


class Faults:
    """Looks at every operation that changes a folder, before it is done."""

    def __init__(self):
        self.folder = None
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def before(self, folder, look):
        """Calls `look` with an operation's number and what it is."""
        self.count, self.look = 0, look
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = None

    def _hook(self, event, arguments):
        folder = self.folder
        if folder is None or event not in (*EVENTS, "open"):
            return
        paths = [
            os.fsdecode(part)
            for part in arguments
            if isinstance(part, str | bytes | os.PathLike)
        ]
        if not any(p == folder or p.startswith(folder + os.sep) for p in paths):
            return
        if event == "open" and not arguments[2] & WRITES:
            return
        self.count += 1
        self.look(self.count, event)


class Kills:
    """What the ends of a process would leave, one at every operation.

    Args:
        folder: path of the folder that is written to.
        copies: path of a folder for what it holds before each operation, by
            its number; where that is what it was, there is none.
    """

    def __init__(self, folder, copies):
        self.folder, self.copies = folder, copies
        self.seen = None

    def __call__(self, number, event):
        """Keeps the folder as it is."""
        held = files(self.folder)
        if held != self.seen:
            self.seen = held
            copy = self.copies / str(number)
            if self.folder.exists():
                shutil.copytree(self.folder, copy)
            else:
                copy.mkdir(parents=True)


def files(folder):
    """Every file of a folder and what it holds, and `None` for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def full_disk(first):
    """Refuses what would grow, from operation `first` on."""

    def look(number, event):
        if number >= first and event in ("os.mkdir", "open"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return look


def audited(save_weights=keras.Model.save_weights):
    """`save_weights` with operations that Python sees, as HDF5's are not."""

    def save(model, path, *arguments, **kwargs):
        pathlib.Path(path).write_bytes(b"half a file")
        sys.audit("open", str(path), "w", os.O_WRONLY)
        save_weights(model, path, *arguments, **kwargs)
        sys.audit("open", str(path), "w", os.O_WRONLY)

    return save
