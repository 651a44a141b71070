"""The C library's policy for freed memory."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process reuse large blocks of memory instead of returning them to the system. Returns whether the C library supports it.

    By default glibc gets the memory of every tensor above 32 MB from the system, page by page, and returns it when the tensor is freed.
    At 2048x1024 that takes longer than the arithmetic. Call this in programs, not in libraries: afterwards the memory of the whole process
    no longer shrinks. Memory that is free at the time of the call is returned. So call it after loading models, which needs more memory
    than the loaded models.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not all(hasattr(libc, name) for name in ("malloc_trim", "mallopt")):
        return False
    assert libc is not None
    libc.malloc_trim(0)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))
