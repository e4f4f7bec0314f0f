"""HEALTHCHECK of the images: exits with 0 if the server in this container is ready, else with 1 and why."""

import http.client
import os
import sys

PATIENCE = 4.0


def main() -> int:
    """Ask `/readyz` on the port that the server listens on."""
    port = int(os.environ.get("SELSA_PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        text, ready = str(error), False
    else:
        ready = answer.status == http.client.OK
    sys.stdout.write(text + "\n")
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
