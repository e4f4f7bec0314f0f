"""Memory that was freed goes back, or is kept and used again."""

import platform
import subprocess
import sys

import pytest

KEEPING = """
import resource

from selsa_server.malloc import keep_freed_memory

assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

picture = bytearray(6_000_000)
del picture
before = faults()
for _ in range(20):
    picture = bytearray(6_000_000)
    del picture
print(faults() - before)
"""

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets glibc's allocator")
def test_kept_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", KEEPING], capture_output=True, text=True, check=True)
    # 20 pictures have 30,000 pages.
    assert int(done.stdout) < 1_000
