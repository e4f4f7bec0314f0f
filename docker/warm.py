"""One detection, on the CPU, in the environment that an image is made of, while the image is built.

It shows that the image works, and leaves the bytecode of just the modules that serving imports: the root file
system is read-only later, and bytecode of everything would be 46 MB.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import ready

PATIENCE = 300.0


def main() -> None:
    """Serve the packaged bundle, detect on some frames of the packaged video through it, and drain it."""
    selsa = str(Path(sys.executable).parent / "selsa")
    from selsa_bundle.default_bundle import sample_video

    environment = {**os.environ, "SELSA_PROVIDER": "cpu"}
    with subprocess.Popen([selsa, "serve", "--log-level", "warning"], env=environment) as server:  # noqa: S603 - ours
        try:
            begin = time.monotonic()
            while ready.main() != 0:
                if server.poll() is not None or time.monotonic() > begin + PATIENCE:
                    sys.exit("the server did not become ready")
                time.sleep(0.5)
            subprocess.run(  # noqa: S603 - ours
                [selsa, "detect", str(sample_video()), "--end", "0.2"], stdout=subprocess.DEVNULL, check=True
            )
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
