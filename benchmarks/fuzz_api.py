"""The whole API against what its own document allows and forbids: `python benchmarks/fuzz_api.py [--requests 20000]`.

A laboratory is served on loopback from a folder of its own, with no worker. schemathesis makes up requests from the
OpenAPI document, valid ones and broken ones, with a token of scope `admin`, with one of scope `read` and with none, and
every answer is held against the document: no 5xx, no undocumented status or content type, answers of their schema,
and nothing but 401 (or what is public) without a token. Prints the number of requests by status; the exit status is 1
where anything was found.
"""

import argparse
import logging
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
import structlog
import uvicorn
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from talweg.api import create_app
from talweg.api.document import openapi
from talweg.api.server import listen
from talweg.api.tokens import digest_of
from talweg.settings import Settings
from talweg.store import open_store

TOKENS = {"admin": "a-token-that-may-do-everything-here", "read": "a-token-that-may-only-look-at-it"}
PUBLIC = ("/healthz", "/readyz")
# What a schema cannot say is the engine's to refuse (which layer fits which data), and what it does say more narrowly
# than the API takes (a number as text in a query) does no harm: so neither of these two finds anything here.
LEFT_OUT = {"positive_data_acceptance", "negative_data_rejection"}
# Ends after ten minutes, or with the run: made-up runs have no worker.
ENDLESS = "/v1/runs/{run}/events"


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The API's address and its document."""
    # Uploads are small, so that nothing made up takes long.
    settings = Settings(port=0, upload_bytes=1_000_000, token_rate=1e6)
    listener, url = listen(settings)
    with listener, open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
        for scope, token in TOKENS.items():
            store.add_token(digest_of(token), scope, [scope])
        app = create_app(store, settings, lambda _: None)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url, openapi(app)
        finally:
            server.should_exit = True
            thread.join()


def fuzz(url: str, document: dict[str, Any], *, requests: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Requests by who asked and what was answered, and what was found."""
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]
    # With a token, a document that asks for none: else half of the requests would be about the token's header.
    plain = {key: value for key, value in document.items() if key != "security"}
    answered: Counter[str] = Counter()
    found: list[str] = []
    for who, token in [*TOKENS.items(), ("nobody", None)]:
        schema = schemathesis.openapi.from_dict(document if token is None else plain)
        # An operation that the document gets wrong has no `ok`, and ends the command here.
        every = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]  # on purpose
        operations = [operation for operation in every if operation.path != ENDLESS]
        each = -(-requests // (len(operations) * (len(TOKENS) + 1) * 2))
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    _try(strategy, operation, url, who, token, checks, each, seed, answered, found)
                except hypothesis.errors.Unsatisfiable:
                    # A route that takes nothing has nothing that could be broken.
                    continue
    return answered, found


def _try(
    strategy: Any, operation: Any, url: str, who: str, token: str | None, checks: Any, each: int, seed: int,
    answered: "Counter[str]", found: list[str],
) -> None:  # fmt: skip
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(strategy)
    def attempt(case: Any) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if case.headers is not None:
            case.headers.pop("Authorization", None)
        response = case.call(base_url=url, headers=headers, timeout=60)
        answered[f"{who} {response.status_code}"] += 1
        try:
            if token is None and operation.path not in PUBLIC:
                if response.status_code not in (401, 403, 421):
                    raise AssertionError(f"{response.status_code} without a token")
            else:
                case.validate_response(response, checks=checks)
        except (FailureGroup, AssertionError) as error:
            said = "; ".join(_short(inner) for inner in getattr(error, "exceptions", [error]))
            text = f"{who} {operation.method.upper()} {operation.path}: {response.status_code}: {said}"
            if text not in found:
                found.append(text)

    attempt()


def _short(error: BaseException) -> str:
    title = getattr(error, "title", "")
    return f"{title} {getattr(error, 'message', '') or error}".strip().replace("\n", " ")[:300]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (url, document):
        answered, found = fuzz(url, document, requests=asked.requests, seed=asked.seed)
    print(f"seed {asked.seed}: {sum(answered.values())} requests")
    for what, count in sorted(answered.items()):
        print(f"  {what}: {count}")
    for text in found:
        print(f"FOUND {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
