"""Run a command as on a processor with AVX2 and nothing newer: no AVX-512, VNNI, bf16 or AMX.

    python -m benchmarks.speed.avx2_only COMMAND [ARGUMENT ...]

The instructions run at their own speed; only what the processor says about itself changes. CPUID answers
without the newer instruction sets in the command and its threads, and /proc/cpuinfo does not list them. A
process that the command starts sees the same. Libraries of C choose their functions before that.

Needs Linux, a C compiler, user namespaces, and a processor whose CPUID can fault (`cpuid_fault` among its
flags). Ends with the command's status, or 77 where CPUID cannot fault.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
NEWER = re.compile(r"\b(avx512\w*|amx_\w+|avx_\w+|vaes|vpclmulqdq|gfni)\b ?")
IN_NAMESPACE = f'mount --bind "$0" {CPU_INFO} && exec env LD_PRELOAD="$1" "${{@:2}}"'


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        library, cpu_info = Path(folder) / "avx2_only.so", Path(folder) / "cpuinfo"
        source = Path(__file__).with_suffix(".c")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        cpu_info.write_text(NEWER.sub("", CPU_INFO.read_text()))
        command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", IN_NAMESPACE]
        raise SystemExit(subprocess.run([*command, cpu_info, library, *sys.argv[1:]]).returncode)


if __name__ == "__main__":
    main()
