"""Whether this container does its work, as seen from inside: the image's HEALTHCHECK, by what its first process is.

The API and MLflow are asked over HTTP. A worker, the mirror and the reconciler are started again where they end, and
that one hangs shows in its lease: what is left to see is whether it reaches the database and the broker. Checks run
for ever in every container: the standard library alone starts in 30 ms, a database driver in a second.
"""

import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

PORTS = {"postgresql": 5432, "redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


def ask(port: str, path: str) -> None:
    """Raises where the answer is none, or tells of trouble."""
    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)


def reach(name: str) -> None:
    """Connect to where the URL leads that this variable holds, or the file that its _FILE names."""
    file = os.environ.get(f"{name}_FILE")
    url = urlsplit(os.environ.get(name) or (Path(file).read_text().strip() if file else ""))
    if url.hostname:
        port = url.port or PORTS[url.scheme.partition("+")[0]]
        socket.create_connection((url.hostname, port), timeout=10).close()


command = Path("/proc/1/cmdline").read_text()
if "talweg.api" in command:
    ask(os.environ.get("TALWEG_PORT", "8000"), "/readyz")
elif "mlflow" in command:
    ask(os.environ.get("TALWEG_MLFLOW_PORT", "5055"), "/health")
else:
    reach("TALWEG_DATABASE_URL")
    reach("TALWEG_BROKER_URL")
