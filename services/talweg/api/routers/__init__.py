"""One router for each noun of the API."""

from talweg.api.routers import catalogue, datasets, events, laboratory, records, runs, studies, tokens

ALL = (
    laboratory.router,
    catalogue.router,
    runs.router,
    events.router,
    records.router,
    studies.router,
    datasets.router,
    tokens.router,
)

__all__ = ["ALL"]
