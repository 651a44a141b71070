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
    tensors are freed. What is free at the time of the call is given back, so call it after models are loaded, which takes more memory than
    they need.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not all(hasattr(library, name) for name in ("malloc_trim", "mallopt")):
        return False
    assert library is not None
    library.malloc_trim(0)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(library.mallopt(_M_TRIM_THRESHOLD, _NEVER))
