"""Peak memory of one call, without a process of its own."""

import ctypes
import pathlib
from collections.abc import Callable


def peak_growth(function: Callable) -> float:
    """How far a call raises the resident memory of this process.

    Linux only: it resets the kernel's record of the peak.

    Args:
        function: function without arguments, called once.

    Returns:
        Float, megabytes between the peak and what was there before.
    """
    # Freed memory that the allocator kept would hide what the call needs.
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    function()
    return (_status("VmHWM") - before) / 1024


def _status(key):
    """A line of the kernel's account of this process, in kilobytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise OSError(f"The kernel gives no {key}.")
