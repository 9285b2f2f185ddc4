"""One pass over the store: what the broker lost or a worker left behind is published again."""

from collections.abc import Callable
from dataclasses import dataclass

from talweg.settings import Settings
from talweg.store import Store


@dataclass(frozen=True)
class Reconciled:
    """What one pass did: cohorts taken back from leases that ran out, published, given up after all attempts."""

    taken_back: tuple[str, ...]
    published: tuple[str, ...]
    given_up: tuple[str, ...] = ()


def reconcile(store: Store, publish: Callable[[str], None], *, settings: Settings, counted: bool = True) -> Reconciled:
    """Take back expired cohorts and publish them, and publish what no one took up.

    A cohort that waits is published again only after a delay that doubles each time, so that a long queue is not
    flooded. Studies whose next stage is due go on. Attempts are not `counted` where leases
    ran out since the disk was full.

    Raises Unreachable where the broker takes nothing; what was published by then is noted.
    """
    given_up: list[str] = []
    taken_back = store.requeue_expired(settings.max_attempts, given_up=given_up, counted=counted)
    if store.studies_to_extend():
        # It needs the engine, which most passes do without: workers extend studies as a rule.
        from talweg.execution.stages import extend_studies

        extend_studies(store, publish, settings=settings)
    waiting = store.unpublished(settings.reconcile_seconds)
    published: list[str] = []
    try:
        for cohort_id in dict.fromkeys([*taken_back, *waiting]):
            publish(cohort_id)
            published.append(cohort_id)
    finally:
        store.mark_published(published)
    return Reconciled(tuple(taken_back), tuple(published), tuple(given_up))
