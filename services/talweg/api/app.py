"""The FastAPI application: the routes, with the middleware around them."""

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI

from talweg.api import errors
from talweg.api.dependencies import PROBLEM_JSON, Broker, Laboratory, Metrics
from talweg.api.middleware import Guard, Trace
from talweg.api.routers import ALL
from talweg.datasets.sources import serve
from talweg.settings import Settings
from talweg.store import Store


def create_app(store: Store, settings: Settings, publish: Callable[[str], None]) -> FastAPI:
    """The API of one laboratory.

    Args:
        store: the database; the caller closes it.
        settings: allowed hosts, cohort size, where MLflow is.
        publish: sends a cohort's id to the workers; may raise Unreachable, and then the reconciler publishes it.
    """
    # No docs pages: FastAPI's load scripts from other sites.
    app = FastAPI(
        title="Talweg",
        version=version("talweg"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    serve(store)
    broker = Broker()
    app.state.laboratory = Laboratory(store, settings, publish, broker, Metrics(store, broker.depth))
    errors.install(app)
    for router in ALL:
        app.include_router(router, responses=PROBLEM_JSON)
    # The last middleware added is the outermost.
    app.add_middleware(Guard, laboratory=app.state.laboratory)
    app.add_middleware(Trace)
    return app
