"""How the C library gives memory back."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process reuse large blocks of memory instead of giving them back. Returns whether the C library supports it (glibc does).

    By default every tensor above 32 MB is fetched from the system, page by page, and given back at once. At 2048x1024 that costs more time
    than the arithmetic on it. Call it in programs, not in libraries: it holds for the whole process, whose memory no longer falls when
    tensors are freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
