"""One router for each noun of the API."""

from talweg.api.routers import analyses, catalogue, laboratory, records, runs, steering, studies

ALL = (
    laboratory.router,
    catalogue.router,
    runs.router,
    records.router,
    analyses.router,
    studies.router,
    steering.router,
)

__all__ = ["ALL"]
