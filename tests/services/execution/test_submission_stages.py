"""Studies of several stages, and interrupted studies, in which only missing runs train."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from talweg.comparison.from_store import comparison_of, results_of
from talweg.comparison.stages import next_stage
from talweg.comparison.tuning import Stage, best_learning_rate
from talweg.errors import Conflict, InvalidSpec
from talweg.execution import extend_studies, reconcile, submit_study, train
from talweg.execution.submission import extend_study
from talweg.records import parameters, verify
from talweg.settings import Settings
from talweg.spec import StudySpec, parse_study
from talweg.store import RunRow, Store, StudyRow
from talweg.study_settings import Search

GRID = StudySpec.model_validate(
    {
        "name": "tuned",
        "problems": [{"problem": "wine-mlp", "batch_size": 8}, "rosenbrock"],
        "optimizers": ["sgd", "adam"],
        "protocol": "grid",
        "grid": {"low": 1e-3, "high": 10.0, "points": 5},
        "seeds": 2,
        "steps": 40,
        "evaluate_every": 10,
    }
)
FIXED = StudySpec.model_validate(
    {"name": "plain", "problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 3, "steps": 200}
)


def publish_nothing(_: str) -> None:
    """Publish nothing."""


def train_all(store: Store, settings: Settings, study: str, leave: Callable[[], bool] = lambda: False) -> None:
    """Train every cohort that waits, as a worker would."""
    for cohort_id in dict.fromkeys(run.cohort_id for run in store.runs_of(study) if not run.ended):
        train(store, cohort_id, owner="test", settings=settings, leave=leave)


def by_stage(runs: list[RunRow], stage: str) -> list[RunRow]:
    """Those of one stage."""
    return [run for run in runs if run.part is not None and run.part["stage"] == stage]


def test_a_grid_goes_on_with_its_best_setting_and_fresh_seeds(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=publish_nothing, settings=settings)
    assert (study.open, study.runs) == (True, 2 * 2 * 5)
    assert extend_studies(store, publish_nothing, settings=settings) == []
    train_all(store, settings, study.id)
    assert store.study(study.id).state == "running"
    published: list[str] = []
    assert extend_studies(store, published.append, settings=settings) == [study.id]
    # The second call adds nothing.
    assert extend_studies(store, published.append, settings=settings) == []
    runs = by_stage(store.runs_of(study.id), "final")
    assert set(published) == {run.cohort_id for run in runs}
    assert [(run.part or {})["problem"] for run in runs] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {run.seed for run in runs} == {0, 1}
    assert {run.seed for run in by_stage(store.runs_of(study.id), "tuning")} == {2}
    tuning = [r for r in results_of(store, study) if r.stage == "tuning"]
    for run in runs:
        part = run.part or {}
        problem = GRID.problem_names()[part["problem"]]
        mine = [r for r in tuning if (r.problem, r.contender) == (problem, part["optimizer"])]
        assert run.spec["optimizer"]["learning_rate"] == best_learning_rate(mine)
    train_all(store, settings, study.id)
    assert store.study(study.id).state == "finished"


def test_the_reconciler_extends_a_study_whose_worker_died_before_it_could(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=publish_nothing, settings=settings)
    train_all(store, settings, study.id)
    reconcile(store, publish_nothing, settings=settings)
    assert len(by_stage(store.runs_of(study.id), "final")) == 2 * 2 * 2


def test_a_cancelled_grid_has_no_next_stage_until_it_is_asked_for_again(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=publish_nothing, settings=settings)
    store.request_cancel(study=study.id)
    assert store.study(study.id).state == "cancelled"
    assert extend_studies(store, publish_nothing, settings=settings) == []
    again = submit_study(store, GRID, publish=publish_nothing, settings=settings)
    assert (again.id, again.open, again.counts) == (study.id, True, {"queued": 20})
    train_all(store, settings, study.id)
    assert extend_studies(store, publish_nothing, settings=settings) == [study.id]


@pytest.mark.parametrize("after", [0, 1, 70, 150])
def test_an_interrupted_study_runs_only_what_is_missing(store: Store, settings: Settings, after: int) -> None:
    """A study released by its worker after some steps, cancelled, and submitted again."""
    study = submit_study(store, FIXED, publish=publish_nothing, settings=settings)
    calls = iter(range(after))
    train_all(store, settings, study.id, leave=lambda: next(calls, None) is None)
    before = {run.id: run.step for run in store.runs_of(study.id)}
    store.request_cancel(study=study.id)
    published: list[str] = []
    again = submit_study(store, FIXED, publish=published.append, settings=settings)
    assert again.id == study.id
    assert {run.id: run.step for run in store.runs_of(study.id)} == before
    assert set(published) == {run.cohort_id for run in store.runs_of(study.id) if run.state == "queued"}
    train_all(store, settings, study.id)
    whole = submit_study(store, FIXED.model_copy(update={"name": "whole"}), publish=publish_nothing, settings=settings)
    train_all(store, settings, whole.id)
    for run, other in zip(store.runs_of(study.id), store.runs_of(whole.id), strict=True):
        assert (run.state, run.step) == ("finished", 200)
        assert store.steps(run.id).cost.tobytes() == store.steps(other.id).cost.tobytes()
        assert parameters(store, run, 200).tobytes() == parameters(store, other, 200).tobytes()
        assert store.evaluations(run.id) == store.evaluations(other.id)


def test_a_finished_study_submitted_again_runs_nothing(store: Store, settings: Settings) -> None:
    study = submit_study(store, FIXED, publish=publish_nothing, settings=settings)
    train_all(store, settings, study.id)
    published: list[str] = []
    again: StudyRow = submit_study(store, FIXED, publish=published.append, settings=settings)
    assert (again.id, again.counts, published) == (study.id, {"finished": 6}, [])


def test_another_study_does_not_resume_under_the_name(store: Store, settings: Settings) -> None:
    submit_study(store, FIXED, publish=publish_nothing, settings=settings)
    with pytest.raises(Conflict, match="another study"):
        submit_study(store, FIXED.model_copy(update={"steps": 201}), publish=publish_nothing, settings=settings)


SEARCH = StudySpec.model_validate(
    {
        "name": "searched",
        "problem": "wine-mlp",
        "optimizers": ["sgd", "adam"],
        "protocol": "search",
        "search": {"space": {"learning_rate": {"low": 1e-4, "high": 10}}, "trials": 5, "startup": 3, "sampler": "tpe"},
        "seeds": 2,
        "steps": 20,
        "evaluate_every": 5,
    }
)
HALVED = SEARCH.model_copy(
    update={
        "name": "halved",
        "search": Search.model_validate({"trials": 5, "pruning": {"factor": 2, "rungs": 2}}),
        "steps": 40,
    }
)


def run_study(store: Store, settings: Settings, study: str) -> None:
    """Train and extend a study until it is complete."""
    train_all(store, settings, study)
    while extend_studies(store, publish_nothing, settings=settings):
        train_all(store, settings, study)


def rates(store: Store, study: str) -> dict[tuple[int, int, int], float]:
    """The learning rate of each trial, by optimizer, seed and trial."""
    return {
        (run.part["optimizer"], run.seed, run.part["trial"]): run.spec["optimizer"]["learning_rate"]
        for run in store.runs_of(study)
        if run.part is not None
    }


def test_a_search_by_tpe_learns_from_its_trials_and_resumes_to_the_same(store: Store, settings: Settings) -> None:
    whole = submit_study(store, SEARCH, publish=publish_nothing, settings=settings)
    assert (whole.open, whole.runs) == (True, 2 * 2 * 3)
    run_study(store, settings, whole.id)
    assert (store.study(whole.id).state, store.study(whole.id).runs) == ("finished", 2 * 2 * 5)
    # The first trials are shared, later ones are each optimizer's own.
    tried = rates(store, whole.id)
    assert [tried[0, 0, t] == tried[1, 0, t] for t in range(1, 5)] == [True, True, False, False]
    # Interrupted in each of its rounds, during training and between two rounds.
    again = submit_study(store, SEARCH.model_copy(update={"name": "again"}), publish=publish_nothing, settings=settings)
    for leave_at in (3, 0, None):
        calls = iter(range(leave_at or 0))
        if leave_at is not None:
            train_all(store, settings, again.id, leave=lambda calls=calls: next(calls, None) is None)  # type: ignore[misc]
        else:
            train_all(store, settings, again.id)
        store.request_cancel(study=again.id)
        assert extend_studies(store, publish_nothing, settings=settings) == []
        assert submit_study(store, SEARCH.model_copy(update={"name": "again"}), publish=publish_nothing).open
        if leave_at != 0:
            train_all(store, settings, again.id)
            assert extend_studies(store, publish_nothing, settings=settings) == [again.id]
    run_study(store, settings, again.id)
    assert rates(store, again.id) == tried
    costs = [store.steps(run.id).cost.tobytes() for run in store.runs_of(whole.id)]
    assert [store.steps(run.id).cost.tobytes() for run in store.runs_of(again.id)] == costs
    published: list[str] = []
    resubmitted = submit_study(store, SEARCH, publish=published.append, settings=settings)
    assert (resubmitted.open, published) == (False, [])


def test_two_concurrent_extensions_add_one_round(store: Store, settings: Settings) -> None:
    study = submit_study(store, SEARCH, publish=publish_nothing, settings=settings)
    train_all(store, settings, study.id)
    seen = store.study(study.id)
    stage = next_stage(StudySpec.model_validate(seen.spec), results_of(store, seen))
    assert extend_study(store, seen, stage, publish=publish_nothing, settings=settings)
    other = Stage([replace(each, trial=9) for each in stage.new], last=stage.last)
    assert not extend_study(store, seen, other, publish=publish_nothing, settings=settings)
    assert store.study(study.id).runs == 2 * 2 * 4


def test_halving_prunes_the_worst_and_leaves_the_rest_as_they_would_have_been(store: Store, settings: Settings) -> None:
    study = submit_study(store, HALVED, publish=publish_nothing, settings=settings)
    assert {run.total_steps for run in store.runs_of(study.id)} == {10}
    run_study(store, settings, study.id)
    assert store.study(study.id).state == "finished"
    runs = store.runs_of(study.id)
    # For each optimizer and seed, three of five trials continue from step 10, and two of these from step 20.
    for optimizer in (0, 1):
        for seed in (0, 1):
            mine = [r for r in runs if (r.part or {})["optimizer"] == optimizer and r.seed == seed]
            assert sorted(run.step for run in mine) == [10, 10, 20, 40, 40]
            assert all((run.stop_reason == "pruned") == (run.step < 40) for run in mine)
            assert {run.state for run in mine} == {"finished"}
            at_ten = {run.id: cost_at(store, run, 10) for run in mine}
            lost = [at_ten[run.id] for run in mine if run.step == 10]
            assert min(lost) >= max(at_ten[run.id] for run in mine if run.step > 10)
    plain = HALVED.model_copy(update={"name": "plain", "search": Search(trials=5)})
    other = submit_study(store, plain, publish=publish_nothing, settings=settings)
    train_all(store, settings, other.id)
    pairs = zip(runs, store.runs_of(other.id), strict=True)
    for run, same in [pair for pair in pairs if pair[0].stop_reason == "finished"]:
        assert store.steps(run.id).cost.tobytes() == store.steps(same.id).cost.tobytes()
        assert store.evaluations(run.id) == store.evaluations(same.id)
        assert parameters(store, run, 40).tobytes() == parameters(store, same, 40).tobytes()
        assert verify(store, run).agrees


def test_a_halved_search_resumes_at_its_rungs(store: Store, settings: Settings) -> None:
    whole = submit_study(store, HALVED, publish=publish_nothing, settings=settings)
    run_study(store, settings, whole.id)
    named = HALVED.model_copy(update={"name": "again"})
    again = submit_study(store, named, publish=publish_nothing, settings=settings)
    train_all(store, settings, again.id)
    store.request_cancel(study=again.id)
    assert submit_study(store, named, publish=publish_nothing, settings=settings).open
    assert extend_studies(store, publish_nothing, settings=settings) == [again.id]
    calls = iter(range(5))
    train_all(store, settings, again.id, leave=lambda: next(calls, None) is None)
    store.request_cancel(study=again.id)
    assert submit_study(store, named, publish=publish_nothing, settings=settings).open
    run_study(store, settings, again.id)
    ends = [(run.step, run.stop_reason, run.cost) for run in store.runs_of(whole.id)]
    assert [(run.step, run.stop_reason, run.cost) for run in store.runs_of(again.id)] == ends


@pytest.mark.parametrize(
    ("search", "rule"),
    [
        ({"trials": 5, "sampler": "tpe", "pruning": {}}, "one after the other"),
        ({"trials": 5, "pruning": {"factor": 10, "rungs": 2}}, r"at least factor\^rungs = 100 steps, got 20"),
        ({"trials": 5, "sampler": "tpe", "startup": 3, "points": [[{"learning_rate": 0.1}]] * 2}, "must be 2 for each"),
    ],
)
def test_a_search_that_could_not_run_is_refused(store: Store, search: dict[str, object], rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        submit_study(store, parse_study(SEARCH.model_dump(mode="json") | {"search": search}), publish=publish_nothing)


def test_a_search_without_what_came_later_reads_as_before() -> None:
    assert set(Search(trials=3).model_dump(mode="json")) == {"space", "trials", "seed", "points"}


def cost_at(store: Store, run: RunRow, step: int) -> float:
    """Its validation cost there, or, where that was the end of a rung and is removed, the nearest."""
    return next(e.cost or 0.0 for e in store.evaluations(run.id) if (e.step, e.split) == (step, "validation"))


UNSETTLED = {
    "name": "until",
    "problem": "wine-mlp",
    # Equal, since momentum 0 is gradient descent: no number of seeds tells one from the other.
    "optimizers": [
        {"name": "sgd", "learning_rate": 0.1},
        {"name": "momentum", "learning_rate": 0.1, "momentum": 0.0},
    ],
    "steps": 5,
    "until_settled": {"at_most": 20},
}


def seeds_of(store: Store, study: StudyRow) -> list[int]:
    """How many seeds each of its two optimizers has, after each stage."""
    return sorted({run.seed for run in store.runs_of(study.id)})


def test_seeds_are_added_until_there_are_as_many_as_allowed(store: Store, settings: Settings) -> None:
    study = submit_study(store, StudySpec.model_validate(UNSETTLED), publish=publish_nothing, settings=settings)
    had = []
    while store.study(study.id).open:
        had.append(len(seeds_of(store, study)))
        train_all(store, settings, study.id)
        row = store.study(study.id)
        kept = comparison_of(store, row)
        # The same one until a run is added; and each stage is compared anew.
        assert comparison_of(store, store.study(study.id)) is kept
        assert len(kept.results) == row.runs
        assert extend_studies(store, publish_nothing, settings=settings) in ([study.id], [])
    train_all(store, settings, study.id)
    # Three looks at α / 3 each: 2 / 2^10 settles one comparison.
    assert [*had, len(seeds_of(store, study))] == [10, 15, 20]
    assert store.study(study.id).state == "finished"
    assert store.study(study.id).runs == 40


def test_a_study_that_is_settled_at_the_first_look_ends_there(store: Store, settings: Settings) -> None:
    apart = UNSETTLED | {"optimizers": [{"name": "sgd", "learning_rate": rate} for rate in (0.1, 1e-6)], "steps": 40}
    study = submit_study(store, StudySpec.model_validate(apart), publish=publish_nothing, settings=settings)
    train_all(store, settings, study.id)
    extend_studies(store, publish_nothing, settings=settings)
    assert store.study(study.id).state == "finished"
    assert seeds_of(store, study) == list(range(10))


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"optimizers": ["sgd"]}, "needs at least two optimizers, got 1"),
        ({"seeds": 30}, "at_most: must be at least the study's 30 seeds, got 20"),
        ({"protocol": "grid"}, "belongs to the protocol 'fixed'"),
        ({"until_settled": {"at_most": 1}}, "until_settled.at_most: input should be greater than or equal to 3"),
    ],
)
def test_until_settled_is_refused_where_it_cannot_be(
    store: Store, settings: Settings, changed: dict[str, object], rule: str
) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        submit_study(store, parse_study(UNSETTLED | changed), publish=publish_nothing, settings=settings)
