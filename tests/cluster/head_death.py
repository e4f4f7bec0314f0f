"""Kill the head of a cluster while a server streams, and check the client's stream and the server's exit."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import orjson
from local_cluster import environment, local_cluster
from media import write_video

__all__ = ["head_death"]

SERVER = Path(__file__).with_name("cluster_server.py")


def head_death() -> dict[str, object]:
    """Kill GCS and raylet of the head after the first frame record.

    Raises:
        AssertionError: the stream does not end with an `error` record, or the server does not end.
    """
    with local_cluster([1, 2]) as nodes, tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "video.mp4", 80, codec="mpeg4")
        command = [sys.executable, str(SERVER), folder, nodes.address, "0.5"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | environment()
        ) as process:
            try:
                assert process.stdout is not None
                line = next(line for line in process.stdout if line.startswith("Serving "))
                url, accept = f"{line.split()[-1]}/detect", {"Accept": "application/x-ndjson"}
                with httpx.stream(
                    "POST", url, content=video.read_bytes(), headers=accept, timeout=90
                ) as response:
                    lines = response.iter_lines()
                    records = [orjson.loads(next(lines)) for _ in range(2)]
                    started = time.monotonic()
                    for kind in ("raylet", "gcs_server"):
                        for each in nodes.head_node.all_processes[kind]:
                            os.kill(each.process.pid, signal.SIGKILL)
                    records += [orjson.loads(line) for line in lines]
                    told = time.monotonic() - started
                process.wait(60)
                ended = time.monotonic() - started
            finally:
                process.kill()
    assert records[-1]["type"] == "error", records[-1]
    return {
        "last_record": {key: records[-1][key] for key in ("type", "code", "detail", "emitted")},
        "seconds_to_the_error_record": round(told, 1),
        "seconds_to_the_end_of_the_server": round(ended, 1),
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(head_death(), option=orjson.OPT_INDENT_2) + b"\n")
