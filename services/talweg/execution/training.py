"""Train a cohort from claim to finish, and extend its lease; the only place that runs the engine's cohorts."""

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Literal
from uuid import uuid4

import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import structlog
from numpy.typing import NDArray

from talweg.datasets.sources import serve
from talweg.errors import CorruptRecord, DiskFull, LeaseLost, NotWritable, TalwegError, Unreachable
from talweg.execution.recorder import Recorder
from talweg.execution.segment_store import LocalSegmentStore, SegmentStore
from talweg.execution.writer import DatabaseRetry, Writer, log_failed
from talweg.execution.writer_process import WriterProcess, WriterProcessLost
from talweg.records.from_spec import cohort_of, engine_rules
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import Claim, RunRow, Sample, Store
from talweg.store.batch import checkpoint_every
from talweg_core import Cohort, numerics

# After each so many samples they are taken half as often.
OFTEN = 240
log = structlog.get_logger(__name__)
# unclaimed: nothing to do (finished, leased by another worker, unknown). lost: another worker has the cohort, or soon.
# stopped: the database takes no writes; the cohort continues when it does.
Outcome = Literal["finished", "released", "stopped", "unclaimed", "lost", "queued", "quarantined"]


class Sampler:
    """Samples of one claim: at first one each heartbeat, then ever fewer, so that a week has some thousand."""

    def __init__(self, writer_pid: int | None = None) -> None:
        """Start to measure; the writer process `writer_pid` is included."""
        self._processes = [psutil.Process()]
        if writer_pid is not None:
            with suppress(psutil.NoSuchProcess):
                self._processes.append(psutil.Process(writer_pid))
        self._beats = self._taken = 0
        self._every = 1
        self._at, self._used = time.monotonic(), self._seconds()

    def beat(self) -> Sample | None:
        """A sample, if one is due at this heartbeat."""
        self._beats += 1
        return self.sample() if self._beats % self._every == 0 else None

    def sample(self) -> Sample:
        """Processor time since the last sample, memory now."""
        at, used = time.monotonic(), self._seconds()
        share = 100 * max(used - self._used, 0.0) / max(at - self._at, 1e-3)
        self._at, self._used = at, used
        number, self._taken = self._taken, self._taken + 1
        if self._taken % OFTEN == 0:
            self._every *= 2
        return Sample(number, share, int(self._sum(lambda process: process.memory_info().rss)))

    def _seconds(self) -> float:
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, of: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self._processes:
            # A process that was killed counts as 0 and must not end the training.
            with suppress(psutil.NoSuchProcess):
                total += of(process)
        return total


class Heartbeat:
    """Extends the lease every `seconds` while the context is open.

    Attributes:
        lost: The claim is no longer valid; this worker must not write any more.
        limit: The time limit of one step.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        *,
        seconds: float,
        lease_seconds: float,
        writer_pid: int | None = None,
        rule_seconds: float = float("inf"),
    ) -> None:
        """Prepare; the thread starts when the context is entered. Samples include the process `writer_pid`.

        `rule_seconds`: the limit of one step with a user's own optimizer.
        """
        self.lost = False
        # The runs of a cohort have one optimizer.
        self.limit = StepLimit(claim.runs[0].optimizer, rule_seconds)
        self._store, self._claim = store, claim
        self._seconds, self._lease_seconds = seconds, lease_seconds
        self._sampler = Sampler(writer_pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{claim.cohort_id}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread, after a heartbeat in progress."""
        self._ended.set()
        self._thread.join()
        if kind is None and not self.lost:
            # So that a training that ends before the first heartbeat has a sample too.
            self._keep(self._sampler.sample())

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.limit.enforce(self._store, self._claim)
                self._store.heartbeat(self._claim, self._lease_seconds)
            except LeaseLost:
                self.lost = True
                return
            except Exception as error:  # noqa: BLE001
                # A database that is unreachable for a moment ends no training: the fence guards every write, and the
                # lease is longer than three heartbeats.
                log.warning("heartbeat failed", cohort=self._claim.cohort_id, error=repr(error))
            else:
                self._keep(self._sampler.beat())

    def _keep(self, sample: Sample | None) -> None:
        try:
            if sample is not None:
                self._store.add_sample(self._claim, sample)
        except Exception as error:  # noqa: BLE001
            # A sample must neither delay nor end the training.
            log.warning("sample not kept", cohort=self._claim.cohort_id, error=repr(error))


class StepLimit:
    """The time of one step with a user's own optimizer, which may never return.

    A heartbeat finds it; then the cohort fails with that reason and this process ends, since nothing else ends a loop
    in compiled code. Of several runs each continues in a cohort of its own, so that only those that loop are given up.
    """

    def __init__(self, optimizer: str, seconds: float, end_process: Callable[[int], object] = os._exit) -> None:
        """No limit for Talweg's own optimizers. `end_process` gets the exit status."""
        self.seconds = seconds if "@" in optimizer else float("inf")
        self._optimizer, self._end_process = optimizer, end_process
        self._since = float("inf")

    def of(self, step: Callable[[], None]) -> Callable[[], None]:
        """`step` under the limit; where there is none, itself."""

        def limited() -> None:
            self._since = time.monotonic()
            try:
                step()
            finally:
                self._since = float("inf")

        return step if self.seconds == float("inf") else limited

    def enforce(self, store: Store, claim: Claim) -> None:
        """End the claim and the process where the present step takes too long."""
        if time.monotonic() - self._since < self.seconds:
            return
        reason = f"optimizer {self._optimizer}: one step took longer than {self.seconds:g} s (TALWEG_RULE_SECONDS)"
        log.error("step takes too long", cohort=claim.cohort_id, reason=reason)
        store.fail(claim, reason, 1)
        self._end_process(1)


class TimeLimits:
    """The training time that is left to each run of a cohort.

    A run's time is that of its record: its share of gradient and update of all committed steps. So a limit means the
    same in cohorts of any size, and steps that were lost do not count. A limit ends a run between two steps and changes
    none of them.
    """

    def __init__(self, runs: Sequence[RunRow]) -> None:
        """`runs` as they were claimed, by their row in the training cohort."""
        limits = [RunSpec.model_validate(run.spec).max_seconds for run in runs]
        self._left = np.array(
            [np.inf if most is None else most - run.trained_seconds for most, run in zip(limits, runs, strict=True)]
        )
        self._any = bool(np.isfinite(self._left).any())

    def over(self, seconds: NDArray[np.float64], active: NDArray[np.bool_]) -> list[int]:
        """The active rows over their limit, after `seconds` (R,) of training since the claim."""
        return [int(row) for row in np.flatnonzero(active & (seconds >= self._left))] if self._any else []


def train(
    store: Store,
    cohort_id: str,
    *,
    owner: str,
    settings: Settings,
    leave: Callable[[], bool] = lambda: False,
    writer_process: WriterProcess | None = None,
) -> Outcome:
    """Claim a cohort, train it to its end, and store every step of it.

    Safe to call twice at the same time: one caller gets the claim. Errors are written to the cohort, which is queued
    again or quarantined; only a store that cannot take that write makes this raise. Calls to an unreachable store are
    retried; after that the cohort is released with the reason, and the attempt does not count. `owner` is shown in the
    store. `leave` is called between steps: once it returns true, the steps are committed and the cohort is released.
    A `writer_process` of the same database writes the records; without one this process does.
    """
    serve(store)
    retry = DatabaseRetry(settings.store_retry_seconds, cohort_id, leave)
    # The answer may be lost after the claim was made: a retry with this id gets the same claim.
    claim_id = str(uuid4())
    lease, most = settings.lease_seconds, settings.max_attempts
    claim = retry(lambda _: store.claim(cohort_id, owner, lease, claim_id=claim_id, max_attempts=most))
    if claim is None:
        return "unclaimed"
    live = [run.id for run in claim.runs if not run.ended]
    log.info("cohort claimed", cohort=cohort_id, runs=live, fence=claim.fence, attempt=claim.attempts)
    if writer_process:
        writer_process.start()
    beat = Heartbeat(
        store,
        claim,
        seconds=settings.heartbeat_seconds,
        lease_seconds=settings.lease_seconds,
        writer_pid=writer_process.pid if writer_process else None,
        rule_seconds=settings.rule_seconds,
    )
    try:
        try:
            with beat:
                ended = _train(store, claim, settings, beat, retry, writer_process)
            retry(lambda _: store.finish(claim) if ended else store.release(claim))
        except (LeaseLost, WriterProcessLost):
            raise
        except (Unreachable, NotWritable) as error:
            return _stop(store, claim, str(error))
        except Exception as error:  # noqa: BLE001
            if isinstance(error, OSError) and DiskFull.caused(error):
                # The folder of compiled kernels, for example.
                return _stop(store, claim, f"disk: {error}")
            # Engine, plug-ins and store may raise anything; users read the error in the cohort's row.
            log.error("cohort failed", cohort=cohort_id, error=f"{type(error).__name__}: {error}"[:500])
            outcome = store.fail(claim, traceback.format_exc(), settings.max_attempts)
            if outcome == "quarantined":
                log_failed(store, cohort_id)
            return outcome
    except LeaseLost as error:
        log.warning("lease lost", cohort=cohort_id, reason=str(error))
        return "lost"
    except WriterProcessLost as error:
        # As if this worker was killed too: the lease runs out, and the next worker continues from the last commit.
        log.error("writer process lost", cohort=cohort_id, reason=str(error))
        return "lost"
    return "finished" if ended else "released"


def _stop(store: Store, claim: Claim, reason: str) -> Outcome:
    log.error("cohort stopped", cohort=claim.cohort_id, reason=reason)
    store.release(claim, reason)
    return "stopped"


def _train(
    store: Store,
    claim: Claim,
    settings: Settings,
    beat: Heartbeat,
    retry: DatabaseRetry,
    writer_process: WriterProcess | None,
) -> bool:
    """Train; returns whether the cohort ended. If not, the worker was stopped, or a run is to be paused."""
    runs = [run for run in claim.runs if not run.ended]
    if not runs:
        return True
    cohort, steps = retry(lambda _: _resumed(store, runs)), runs[0].total_steps
    every = checkpoint_every(runs[0].record, cohort.problem.layout.size, steps)
    here, open_segments = (
        _fingerprint(runs),
        writer_process.open if writer_process else partial(LocalSegmentStore, store),
    )
    segments: SegmentStore = retry(
        lambda _: open_segments(claim, runs, every=every, numerics=here, lease_seconds=settings.lease_seconds)
    )
    with Writer(segments, retry) as writer:
        recorder = Recorder(
            cohort,
            writer,
            last_step=steps,
            record=runs[0].record,
            every=every,
            commit_seconds=settings.commit_seconds,
        )
        _advance(recorder, runs, writer, beat, retry.leave)
        ended = cohort.step == steps or not cohort.active.any()
        if ended:
            recorder.evaluate(cohort.problem.splits)
            recorder.stop([row for row in range(len(runs)) if cohort.active[row]], "finished")
        recorder.cut(commit=True)
    return ended


def _advance(
    recorder: Recorder, runs: Sequence[RunRow], writer: Writer, beat: Heartbeat, leave: Callable[[], bool]
) -> None:
    """Step until all steps are made, no run is active, a run is to be paused, or `leave` is true; raises LeaseLost."""
    cohort, spec = recorder.cohort, RunSpec.model_validate(runs[0].spec)
    splits = [split for split in cohort.problem.splits if split == "validation" and spec.evaluate_every]
    limits, step = TimeLimits(runs), beat.limit.of(recorder.step)
    while cohort.step < runs[0].total_steps:
        if beat.lost:
            raise LeaseLost(f"cohort {runs[0].cohort_id}: the lease ran out, and another worker may hold it")
        requests = writer.requests
        if requests.cancelled:
            recorder.stop(
                [row for row, run in enumerate(runs) if run.id in requests.cancelled and cohort.active[row]],
                "cancelled",
            )
        if over := limits.over(recorder.seconds, cohort.active):
            # The time limit is a regular end of a run, so the run is evaluated.
            recorder.evaluate(cohort.problem.splits, over)
            recorder.stop(over, "time")
        # Runs train in lock-step: to pause one, all stop here, and the others continue without it.
        if leave() or requests.pause or not cohort.active.any():
            return
        if splits and cohort.step % spec.evaluate_every == 0:
            recorder.evaluate(splits)
        step()


def _resumed(store: Store, runs: Sequence[RunRow]) -> Cohort:
    """A cohort of the runs, restored from their last checkpoints; raises CorruptRecord."""
    cohort = cohort_of([RunSpec.model_validate(run.spec) for run in runs])
    found = store.latest_checkpoints([run.id for run in runs])
    for row, run in enumerate(runs):
        step, payload = found.get(run.id, (0, None))
        if step != run.step or run.step != runs[0].step:
            raise CorruptRecord(
                f"run {run.name}: must continue from step {runs[0].step}, got a checkpoint of step {step}"
            )
        if payload is not None:
            with engine_rules():
                cohort.restore(row, payload)
    return cohort


def _fingerprint(runs: Sequence[RunRow]) -> dict[str, object]:
    """This process's numerics; raises TalwegError where a run was started with others, whose bits may differ."""
    here = numerics.fingerprint()
    for run in runs:
        if run.numerics not in (None, here):
            raise TalwegError(f"run {run.name}: must continue with the numerics {run.numerics}, this worker has {here}")
    return here
