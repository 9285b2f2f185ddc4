"""Studies of several stages: the next is submitted when the last has ended, by whoever sees it first.

SQL is the truth: a study that is open and has no live run is due. A worker looks when it has finished a cohort, the
reconciler at each pass; both may come to it, and one conditional UPDATE decides who adds the runs.
"""

from collections.abc import Callable

import structlog

from talweg.comparison.from_store import results_of
from talweg.comparison.tuning import next_stage
from talweg.errors import CorruptRecord, InvalidSpec
from talweg.execution.submission import extend_study
from talweg.settings import Settings
from talweg.spec import StudySpec
from talweg.store import Store

log = structlog.get_logger(__name__)


def extend_studies(store: Store, publish: Callable[[str], None], *, settings: Settings) -> list[str]:
    """Submit the next stage of every study that is due; the ids of those that this call extended."""
    extended = []
    for study_id in store.studies_to_extend():
        study = store.study(study_id)
        try:
            stage = next_stage(StudySpec.model_validate(study.spec), results_of(store, study))
        except (CorruptRecord, InvalidSpec) as error:
            # One study that cannot go on must not keep the others waiting; it says so at each pass.
            log.error("study cannot go on", study=study.name, reason=str(error))
            continue
        if extend_study(store, study, stage, publish=publish, settings=settings):
            log.info(
                "study goes on",
                study=study.name,
                runs=len(stage.new) + len(stage.going),
                pruned=len(stage.pruned),
                last=stage.last,
            )
            extended.append(study_id)
    return extended
