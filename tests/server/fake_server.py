"""A server process on fake engines, for tests that kill it: `python fake_server.py SPOOL_DIR`."""

import sys
from pathlib import Path

from fake_engines import FakeEngines
from fakes import fake_pipeline

from selsa_server.api.listener import listen
from selsa_server.api.serving import serve_until_drained
from selsa_server.settings import ServerSettings
from selsa_server.telemetry.log import configure_log


def main(spool: Path) -> None:
    configure_log("warning")
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    pipeline = fake_pipeline(FakeEngines(seconds_per_frame=0.01), batch=3)
    settings = ServerSettings(spool_dir=spool)
    serve_until_drained(
        pipeline, settings, listener, on_ready=lambda: print(f"Serving at {address}", flush=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
