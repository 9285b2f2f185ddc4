"""Studies of a real store, compared."""

from sqlalchemy import text

from talweg.comparison.from_store import comparison_of
from talweg.execution import submit_study, train
from talweg.settings import Settings
from talweg.spec import StudySpec
from talweg.store import Store
from talweg.web.report import paths_of


def test_a_path_that_cannot_be_read_is_left_out(store: Store) -> None:
    settings = Settings().model_copy(update={"workers": 1})
    asked = {"problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 1, "steps": 20, "record": "replay"}
    study = submit_study(store, StudySpec.model_validate(asked), publish=lambda _: None, settings=settings)
    runs = store.runs_of(study.id)
    for cohort_id in {run.cohort_id for run in runs}:
        assert train(store, cohort_id, owner="test", settings=settings) == "finished"
    found = comparison_of(store, study)
    assert [picture.kind for picture in paths_of(store, found)] == ["image/svg+xml"]
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE steps SET cost = 3 WHERE step = 5 AND run_id = :run"), {"run": runs[0].id})
    # One path alone spans no plane.
    assert paths_of(store, found) == []
