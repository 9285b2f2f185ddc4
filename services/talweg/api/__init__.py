"""The laboratory over HTTP: parse, authorise, call, serialise.

`create_app` makes the application; `python -m talweg.api` serves it.
"""

from talweg.api.app import create_app

__all__ = ["create_app"]
