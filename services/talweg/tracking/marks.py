"""How far a server has come: what the mirror asks and notes between two sends."""

from typing import Protocol

from talweg.store import RunRow, RunState


class Marks(Protocol):
    """What of the store MLflow has. The Store itself is one, for the server that it is mirrored to."""

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs of which MLflow does not know everything yet, longest not mirrored first."""

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """MLflow has the steps 0 … step − 1 and the state."""

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Which MLflow experiment mirrors the study."""

    def untold_studies(self, limit: int = 100) -> list[str]:
        """Ids of studies that have ended and are mirrored run by run, but as a whole not yet."""

    def mark_study_told(self, study_id: str, told: bool = True) -> None:
        """MLflow has the study's ranking and report."""
