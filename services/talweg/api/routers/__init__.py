"""One router for each noun of the API."""

from talweg.api.routers import (
    analyses,
    catalogue,
    datasets,
    events,
    instruments,
    laboratory,
    records,
    runs,
    steering,
    studies,
    tokens,
    troubles,
)

ALL = (
    laboratory.router,
    catalogue.router,
    runs.router,
    events.router,
    records.router,
    analyses.router,
    instruments.router,
    studies.router,
    steering.router,
    datasets.router,
    tokens.router,
    troubles.router,
)

__all__ = ["ALL"]
