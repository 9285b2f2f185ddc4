"""Study: runs, ranking, tables, figures and reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from talweg.api import bodies
from talweg.client import Interval, Lab, Spread, Study
from talweg.client.wire import Wire
from talweg.errors import InvalidSpec, RunFailed
from talweg.store import Store


@pytest.fixture(scope="module")
def study(lab: Lab, train: Callable[[], None]) -> Study:
    """A study that has finished."""
    adam = {"name": "adam", "learning_rate": 0.01}
    study = lab.compare(problem="wine-mlp", optimizers=["sgd", adam], seeds=3, steps=30, evaluate_every=10, name="two")
    assert study.state == "queued"
    train()
    return study.wait(progress=False)


def test_only_the_runs_that_are_asked_for_are_requested(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    every = list(study.runs)
    asked: list[tuple[str, int]] = []
    get = Wire.get

    def noted(wire: Wire, path: str, **query: Any) -> Any:
        if path == "/v1/runs":
            asked.append((query["order"], query["limit"]))
        return get(wire, path, **query)

    monkeypatch.setattr(Wire, "get", noted)
    names = [run.name for run in every]
    assert study.runs[-1].name == names[-1]
    assert [run.name for run in study.runs[:2]] == names[:2]
    assert [run.name for run in study.runs[-2:]] == names[-2:]
    assert asked == [("newest", 1), ("oldest", 2), ("newest", 2)]
    for index in (slice(None), slice(4, 1, -1), slice(-3, None, 2), slice(2, 2), slice(1, 99)):
        assert [run.name for run in study.runs[index]] == names[index]
    assert [study.runs[i].name for i in range(-6, 6)] == [names[i] for i in range(-6, 6)]
    assert [run.name for run in reversed(study.runs)] == names[::-1]
    for outside in (6, -7):
        with pytest.raises(IndexError, match=rf"runs: must lie in \[-6, 6\), got {outside}"):
            study.runs[outside]


def test_costs_of_all_runs_are_one_table(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.stack([run.costs for run in study.runs])
    np.testing.assert_array_equal(study.costs(), whole)
    np.testing.assert_array_equal(study.costs(1, 3), whole[1:3])
    np.testing.assert_array_equal(study.costs(-2), whole[-2:])
    assert study.costs(6).size == 0
    # Two runs of 30 steps an answer.
    monkeypatch.setattr(bodies, "PAGE", 8 * 61)
    np.testing.assert_array_equal(study.costs(), whole)


def test_its_runs_are_in_the_order_of_the_spec(study: Study, lab: Lab) -> None:
    found = [(run.spec["optimizer"]["name"], run.spec["seed"]) for run in study.runs]
    assert found == [("sgd", 0), ("sgd", 1), ("sgd", 2), ("adam", 0), ("adam", 1), ("adam", 2)]
    assert {run.state for run in study.runs} == {"finished"}
    assert lab.study("two").id == study.id
    assert [other.id for other in lab.studies()].count(study.id) == 1


def test_its_ranking_is_a_table_with_ranges(study: Study) -> None:
    ranking = study.ranking()
    assert ranking.columns[:4] == ("rank", "optimizer", "validation_cost", "validation_accuracy")
    assert ranking.column("rank") == [1, 2]
    assert set(ranking.column("optimizer")) == {"sgd", "adam"}
    best = ranking.column("validation_cost")[0]
    assert isinstance(best, Spread)
    assert best.low <= best.median <= best.high
    assert best.count == 3
    finals = [run.costs[-1] for run in study.runs if run.spec["optimizer"]["name"] == "adam"]
    adam = next(row for row in ranking if row["optimizer"] == "adam")
    assert (adam["final_cost"].low, adam["final_cost"].high) == (min(finals), max(finals))
    assert "validation_cost_low" in ranking.to_pandas().columns
    with (console := Console(width=200)).capture() as captured:
        console.print(ranking)
    assert "study two" in captured.get()
    assert "adam" in str(ranking)
    assert "adam" in ranking._repr_html_()


def test_too_few_seeds_are_reported_when_it_is_submitted(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"problem": "wine-mlp", "optimizers": ["sgd", "adam"], "steps": 1}
    few = lab.compare(asked, seeds=1)
    (note,) = few.notes
    assert note.startswith("seeds: 1 seed settles nothing")
    assert note in capsys.readouterr().err
    assert lab.study(few.id).notes == [note]
    enough = lab.compare(asked)
    assert (len(enough.spec["seeds"]), enough.notes, capsys.readouterr().err) == (10, [], "")
    few.cancel()
    enough.cancel()


def test_it_plans_how_many_seeds_find_a_difference(study: Study, lab: Lab) -> None:
    small, large = study.plan("1%"), study.plan(0.5)
    assert small.seeds > large.seeds >= 6
    assert small.runs == 2 * small.seeds
    assert str(small).startswith("To find a difference of 1 % in the final cost in 80% of studies")
    for wrong in ("0%", 1, "much"):
        with pytest.raises(InvalidSpec, match="difference: must be"):
            study.plan(wrong)
        with pytest.raises(InvalidSpec, match="difference: must be"):
            lab.plan(problem="wine-mlp", optimizers=["sgd", "adam"], difference=wrong)


def test_its_figure_and_report_are_files(study: Study, tmp_path: Path) -> None:
    assert study.figure(tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in study.figure(str(tmp_path / "cost.SVG")).read_bytes()
    report = study.report(tmp_path / "report.html")
    assert report.read_text().startswith("<!doctype html>")
    assert {path.name for path in tmp_path.iterdir()} == {"cost.png", "cost.SVG", "report.html"}


def test_a_file_is_written_whole_or_not_at_all(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"path: must end in \.png or \.svg, got .*cost\.gif"):
        study.figure(tmp_path / "cost.gif")
    with pytest.raises(FileNotFoundError):
        study.figure(tmp_path / "nowhere" / "cost.png")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(OSError, match=r"taken\.html"):
        study.report(tmp_path / "taken.html")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.html"]


def test_a_study_shows_itself(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert repr(study) == "<Study two: 6 runs: 6 finished>"
    assert "two" in study._repr_html_()
    study.wait()
    assert capsys.readouterr().err == "study two: 6 runs: 6 finished\n"


def test_a_study_can_be_cancelled(lab: Lab) -> None:
    study = lab.compare(problem="wine-mlp", optimizers=["sgd"], seeds=2, steps=9).cancel()
    assert study.state == "cancelled"
    assert study.wait(progress=False).view["counts"] == {"cancelled": 2}


def test_waiting_for_a_study_with_a_failed_run_names_the_run(lab: Lab, store: Store) -> None:
    study = lab.compare(problem="wine-mlp", optimizers=["sgd"], seeds=1, steps=9)
    (run,) = study.runs
    claim = store.claim(store.run(run.id).cohort_id, "tests", 60)
    assert claim is not None
    store.fail(claim, "Traceback…\nMemoryError: no room", max_attempts=1)
    with pytest.raises(RunFailed, match=f"1 of 1 runs failed: {run.name}: MemoryError: no room"):
        study.wait(progress=False)


def test_a_study_is_paused_and_unpaused(lab: Lab, train: Callable[[], None]) -> None:
    study = lab.compare(problem="wine-mlp", optimizers=["sgd"], seeds=2, steps=9).pause()
    assert "2 of them paused" in repr(study)
    train()
    assert study.state == "queued"
    study.unpause()
    train()
    assert study.wait(progress=False).state == "finished"
    assert study.retry().mirror_again().state == "finished"


def test_its_verdict_names_what_an_answer_from_three_seeds_rests_on(study: Study) -> None:
    assert study.verdict.startswith("On wine-mlp adam reached a lower validation cost than sgd by ")
    assert "(By t test: there are too few seeds for a rank test.)" in study.verdict
    assert ("warning", "too few seeds") in [row[:2] for row in study.guards().rows]


def test_its_means_and_differences_have_intervals(study: Study) -> None:
    mean = study.ranking().column("mean")[0]
    assert isinstance(mean, Interval)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low <= mean.estimate <= mean.high
    (difference,) = study.differences()
    assert (difference["of"], difference["seeds"], difference["better"]) == ("ratio", 3, "adam")
    assert difference["basis"] == "t"
    assert str(difference["value"]).count("–") == 1
    assert "value_low" in study.differences().to_pandas().columns
    assert len(study.standings()) == 2
    assert len(study.sensitivity()) == 0
    assert study.scores().columns[1:] == ("interquartile_mean", "optimality_gap", "probability_of_improvement")
    assert len(study.scores()) == 2


def test_its_report_is_written_as_markdown_too(study: Study, tmp_path: Path) -> None:
    assert "## Verdict" in study.report(tmp_path / "report.md").read_text()


def test_a_study_of_several_problems_is_ranked_by_its_profile_scores(lab: Lab, train: Callable[[], None]) -> None:
    study = lab.compare(
        problems=["wine-mlp", {"problem": "rosenbrock", "steps": 60}],
        optimizers=["sgd", {"name": "adam", "learning_rate": 0.05}],
        protocol="search",
        search={"space": {"learning_rate": {"low": 1e-3, "high": 0.3}}, "trials": 3},
        seeds=3,
        steps=30,
        evaluate_every=10,
    )
    train()
    study.wait(progress=False)
    assert len(study.runs) == 2 * 2 * 3 * 3
    assert study.runs[-1].view["part"] == {"problem": 1, "optimizer": 1, "stage": "final", "trial": 2}
    ranking = study.ranking()
    assert ranking.columns == (
        "rank",
        "optimizer",
        "profile_score",
        "targets_met",
        "runs",
        "complete",
        "diverged",
        "blown_up",
    )
    profile = study.profile()
    assert [row["profile_score"] for row in profile] == ranking.column("profile_score")
    assert "Over 2 problems the profile scores are" in study.verdict
