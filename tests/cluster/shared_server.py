"""A server on fake engines that shares its jobs.

`python shared_server.py SPOOL DATABASE FILES LEASE [PORT]`; videos may be downloaded from that loopback port.
"""

import sys
from pathlib import Path

from fake_engines import FakeEngines
from fakes import fake_pipeline
from pydantic import SecretStr

from selsa_server.api.listener import listen
from selsa_server.api.serving import serve_until_drained
from selsa_server.settings import ServerSettings
from selsa_server.telemetry.log import configure_log


def main(spool: Path, database: str, files: str, lease: float, port: str | None = None) -> None:
    configure_log("error")
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = ServerSettings(
        spool_dir=spool,
        jobs_database=SecretStr(database),
        jobs_files=files,
        jobs_lease=lease,
        remote_hosts=() if port is None else (f"127.0.0.1:{port}",),
        remote_networks=("127.0.0.1/32",),
    )
    pipeline = fake_pipeline(FakeEngines(seconds_per_frame=0.1), batch=3)
    serve_until_drained(
        pipeline, settings, listener, on_ready=lambda: print(f"Serving at {address}", flush=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), *sys.argv[5:])
