"""Errors as problem+json (RFC 9457), built from `talweg.errors`."""

import json
import tempfile
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from talweg.errors import DiskFull, InvalidSpec, TalwegError
from talweg.validation import rule

log = structlog.get_logger("talweg.api")

# Codes of the framework's errors; the laboratory's own errors have theirs.
CODES: Final = {
    400: "bad-request",
    403: "access-denied",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    411: "length-required",
    413: "too-large",
    415: "not-json",
    421: "unknown-host",
    429: "limit-reached",
}


def problem(status: int, code: str, detail: str) -> Response:
    """The problem+json answer; `code` is what a client rebuilds the exception from."""
    body = {
        "type": f"/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return Response(
        json.dumps(body).encode(), status_code=status, media_type="application/problem+json", headers=headers
    )


def refuse(error: TalwegError) -> Response:
    """The answer for `error`, with its status and code."""
    return problem(error.status, error.code, str(error))


def invalid_parameters(error: RequestValidationError) -> InvalidSpec:
    """An InvalidSpec that names each broken path or query parameter, its rule and the value received."""
    return InvalidSpec("; ".join(_rule(broken) for broken in error.errors()))


def _rule(broken: Any) -> str:
    name = str(broken["loc"][-1])
    if broken["type"] == "missing":
        return f"{name}: is required"
    return f"{name}: {rule(broken)}, got {str(broken['input'])[:80]!r}"


def install(app: FastAPI) -> None:
    """Answer every error that a handler of `app` raises as problem+json."""

    @app.exception_handler(TalwegError)
    async def laboratory(request: Request, error: TalwegError) -> Response:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("refused", path=request.url.path, code=error.code, detail=str(error))
        return refuse(error)

    @app.exception_handler(RequestValidationError)
    async def parameters(_: Request, error: RequestValidationError) -> Response:
        return refuse(invalid_parameters(error))

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, CODES.get(error.status_code, "error"), str(error.detail))

    @app.exception_handler(OSError)
    async def system(_: Request, error: OSError) -> Response:
        if not DiskFull.caused(error):
            raise error
        where = error.filename or f"the temporary folder {tempfile.gettempdir()}"
        log.error("disk full", where=str(where))
        return refuse(DiskFull(f"the disk is full: {where} cannot be written; make room and send it again"))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        # Starlette raises it again after this answer: the log has the traceback, the client does not.
        return problem(500, "error", f"the API failed unexpectedly ({type(error).__name__}); its log has the traceback")
