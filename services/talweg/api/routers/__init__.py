"""The API's routes; `ALL` holds every router."""

from talweg.api.routers import catalogue, laboratory, records, runs, studies

ALL = (
    laboratory.router,
    catalogue.router,
    runs.router,
    runs.events_router,
    records.router,
    records.analyses_router,
    records.instruments_router,
    studies.router,
    runs.steering_router,
    catalogue.datasets_router,
    laboratory.tokens_router,
    laboratory.troubles_router,
)

__all__ = ["ALL"]
