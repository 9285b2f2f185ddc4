"""One router for each noun of the API."""

from talweg.api.routers import analyses, catalogue, laboratory, records, runs, steering, studies, troubles

ALL = (
    laboratory.router,
    catalogue.router,
    runs.router,
    records.router,
    analyses.router,
    studies.router,
    steering.router,
    troubles.router,
)

__all__ = ["ALL"]
