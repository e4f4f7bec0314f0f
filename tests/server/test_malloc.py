"""Memory that was freed goes back."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selsa_server.malloc import return_freed_memory

assert return_freed_memory()

def work(n):
    return sum(len(bytearray(2_000_000)) for _ in range(n))

with ThreadPoolExecutor(8) as pool:
    list(pool.map(work, [20] * 32))
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_freed_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000
