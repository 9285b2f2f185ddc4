"""One line of the log for each run that ends, however it does."""

from collections.abc import Mapping

import structlog

from talweg.store import Progress, Store

log = structlog.get_logger("talweg.execution")


def tell_ended(cohort_id: str, ended: Mapping[str, Progress]) -> None:
    """Runs that a commit ended: once it is made, and not before."""
    for run_id, progress in ended.items():
        _tell(run_id, cohort_id, progress.state, progress.stop_reason, progress.step, progress.trained_seconds or 0.0)


def tell_failed(store: Store, cohort_id: str) -> None:
    """Runs that ended with their cohort's quarantine."""
    for run in store.runs_in(cohort_id):
        if run.state == "failed":
            _tell(run.id, cohort_id, run.state, run.stop_reason, run.step, run.trained_seconds)


def _tell(run_id: str, cohort_id: str, state: str, reason: str | None, steps: int, seconds: float) -> None:
    ended = {"state": state, "reason": reason, "steps": steps, "seconds": round(seconds, 6)}
    log.info("run ended", run=run_id, cohort=cohort_id, **ended)
