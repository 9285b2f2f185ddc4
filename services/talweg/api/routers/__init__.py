"""One router for each noun of the API."""

from talweg.api.routers import catalogue, laboratory, records, runs, studies

ALL = (laboratory.router, catalogue.router, runs.router, records.router, studies.router)

__all__ = ["ALL"]
