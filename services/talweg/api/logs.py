"""The API's logs: JSON lines on stderr, as every process of the laboratory has them."""

import logging

from talweg import logs


def configure(level: str) -> None:
    """`talweg.logs.configure`, without uvicorn's news that it started: `server` says once what listens where."""
    logs.configure(level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
