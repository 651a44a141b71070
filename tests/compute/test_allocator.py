"""Freed memory is kept for later use, with C libraries that support it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, resource
from stages.compute.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_before = faults()
kept = keep_freed_memory()
faults()
print(kept, faults() < 0.1 * faults_before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has an option for it")
def test_freed_blocks_are_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
