"""Fuzz the whole API against its own OpenAPI document: `python benchmarks/fuzz_api.py [--requests 20000]`.

A laboratory with runs, a study and a dataset is served on loopback from a temporary folder. schemathesis generates
valid and invalid requests from the document, half of them about existing runs, studies and datasets, with a token of
each scope and without one. Every response is checked against the document: no 5xx, no undocumented status or content
type, bodies of their schema, 401 without a token (but for public routes), 403 where the token's scope is too small.
Prints the number of requests by status; the exit status is 1 where a check failed.
"""

import argparse
import io
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
import numpy as np
import schemathesis
import structlog
import uvicorn
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from talweg.api.app import create_app
from talweg.api.routers.laboratory import openapi
from talweg.api.server import listen
from talweg.api.tokens import digest_of
from talweg.client.wire import Wire
from talweg.execution.training import train
from talweg.settings import Settings
from talweg.store import open_store

TOKENS = {
    "admin": "a-token-that-may-do-everything-here",
    "submit": "a-token-that-may-submit-its-work",
    "read": "a-token-that-may-only-read-it",
}
# These two report no defects here: the engine refuses what a schema cannot express (which layer fits which data), and
# the API accepts some values that the schema does not (a number as text in a query), which does no harm.
LEFT_OUT = {"positive_data_acceptance", "negative_data_rejection"}
# The stream ends after ten minutes or with its run; these runs have no worker.
ENDLESS = "/v1/runs/{run}/events"


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The API's URL and its OpenAPI document."""
    # A small limit for uploads keeps requests short.
    settings = Settings(port=0, upload_bytes=1_000_000, token_rate=1e6, token_runs=10**6)
    listener, url = listen(settings)
    with listener, open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
        for scope, token in TOKENS.items():
            store.add_token(digest_of(token), scope, [scope])
        published: list[str] = []
        app = create_app(store, settings, published.append)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            fill(url)
            # Runs submitted later stay queued: there is no worker.
            for cohort_id in published[:-1]:
                train(store, cohort_id, owner="fuzz", settings=settings)
            yield url, openapi(app)
        finally:
            server.should_exit = True
            thread.join()


def fill(url: str) -> None:
    """Submit what `EXISTING` names; the last run stays queued."""
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.random.default_rng(0).normal(size=(40, 3)), targets=np.arange(40) % 2)
    run = {"problem": "two-layer-line", "optimizer": "adam", "steps": 20, "record": "full", "name": "small"}
    study = {"problem": "quadratic", "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 10, "name": "compared"}
    with Wire(url, TOKENS["admin"]) as wire:
        wire.put("/v1/datasets/mine", buffer.getvalue(), format="npz")
        wire.post("/v1/runs", run)
        replayed = run | {"problem": "wine-mlp", "record": "replay", "evaluate_every": 5, "name": "replayed"}
        wire.post("/v1/runs", replayed)
        wire.post("/v1/studies", study)
        wire.post("/v1/runs", run | {"seed": 1, "name": "queued"})


# Existing names for each path parameter.
EXISTING = {"run": ("small", "replayed", "queued"), "study": ("compared",), "dataset": ("mine", "digits")}


def fuzz(url: str, document: dict[str, Any], *, requests: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """The number of requests by token and status, and the failed checks."""
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]
    answered: Counter[str] = Counter()
    found: list[str] = []
    while (left := requests - answered.total()) > 0:
        # Routes with few parameters allow few different requests; further rounds make up the number.
        _round(url, document, left, seed, checks, answered, found)
        seed += 1
    return answered, found


def _round(
    url: str,
    document: dict[str, Any],
    requests: int,
    seed: int,
    checks: Any,
    answered: "Counter[str]",
    found: list[str],
) -> None:
    for who, token in [*TOKENS.items(), ("anonymous", None)]:
        # With a token, remove security from the document: else half of the requests would vary the token's header.
        schema = schemathesis.openapi.from_dict(document if token is None else _without_security(document))
        operations = [one for one in map(_operation, schema.get_all_operations()) if one.path != ENDLESS]
        each = -(-requests // (len(operations) * (len(TOKENS) + 1) * 2))
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    refusal = _refused(who, _needed(document, operation))
                    _try(strategy, operation, url, who, token, refusal, checks, each, seed, answered, found)
                except hypothesis.errors.Unsatisfiable:
                    # A route without parameters has no invalid request.
                    continue


def _operation(result: Any) -> Any:
    """The operation; every route of FastAPI's document can be parsed."""
    return result.ok()


def _without_security(document: dict[str, Any]) -> dict[str, Any]:
    paths = {
        path: {
            method: {key: value for key, value in route.items() if key != "security"} for method, route in of.items()
        }
        for path, of in document["paths"].items()
    }
    return {key: value for key, value in document.items() if key != "security"} | {"paths": paths}


def _needed(document: dict[str, Any], operation: Any) -> str:
    """The scope that a route requires by the document; '' for a public one."""
    security = document["paths"][operation.path][operation.method.lower()]["security"]
    return str(security[0]["token"][0]) if security else ""


def _refused(who: str, needed: str) -> int | None:
    """The expected refusal: 401 without a token, 403 where its scope is too small, None where access is allowed."""
    if not needed:
        return None
    if who == "anonymous":
        return 401
    scopes = list(reversed(TOKENS))
    return 403 if scopes.index(who) < scopes.index(needed) else None


def _try(
    strategy: Any, operation: Any, url: str, who: str, token: str | None, refusal: int | None, checks: Any, each: int,
    seed: int, answered: "Counter[str]", found: list[str],
) -> None:  # fmt: skip
    chosen = random.Random(seed)

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
        for name in EXISTING.keys() & set(case.path_parameters or {}):
            if chosen.random() < 0.5:
                case.path_parameters[name] = chosen.choice(EXISTING[name])
        response = case.call(base_url=url, headers=headers, timeout=60)
        answered[f"{who} {response.status_code}"] += 1
        try:
            # A path that is no route (a parameter with a slash) is reported as such to tokens that may read only.
            if refusal is not None and response.status_code != refusal:
                raise AssertionError(f"{response.status_code} instead of {refusal}")
            if token is not None:
                case.validate_response(response, checks=checks)
        except (FailureGroup, AssertionError) as error:
            reasons = "; ".join(_short(inner) for inner in getattr(error, "exceptions", [error]))
            text = f"{who} {operation.method.upper()} {operation.path}: {response.status_code}: {reasons}"
            if text not in found:
                found.append(text)

    attempt()


def _short(error: BaseException) -> str:
    title = getattr(error, "title", "")
    return f"{title} {getattr(error, 'message', '') or error}".strip().replace("\n", " ")[:300]


def main() -> int:
    """Fuzz and print the results; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (url, document):
        answered, found = fuzz(url, document, requests=options.requests, seed=options.seed)
    print(f"seed {options.seed}: {sum(answered.values())} requests")
    for what, count in sorted(answered.items()):
        print(f"  {what}: {count}")
    for text in found:
        print(f"FOUND {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
