"""Our own MLflow server: rows that the mirror writes in bulk, histories that the server reads from the laboratory."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from pydantic import SecretStr

from talweg.errors import Unreachable
from talweg.execution import fork_run, train
from talweg.settings import Settings
from talweg.spec import parse_fork
from talweg.store import RunRow
from talweg.tracking.archive import archive, forget, restore
from talweg.tracking.mlflow_rows import MlflowRows, mlflow_id
from talweg.tracking.rows_mirror import RowsMirror

# One study of each kind of run, trained once for this module.
OPTIMIZERS = ["sam", "adam", {"name": "adam", "learning_rate": 0.1}, {"name": "sgd", "learning_rate": 1e30}]
TIMEOUT = 600


@pytest.fixture
def mirror(own_server: Any, own_laboratory: Any) -> Iterator[RowsMirror]:
    """The mirror from the laboratory to the server that reads it."""
    with closing(RowsMirror(own_laboratory.store, MlflowRows(own_server.database_url))) as mirror:
        yield mirror


def drain(mirror: RowsMirror) -> None:
    """Mirror everything."""
    while mirror.drain():
        pass


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """The ids of studies that a test of this module has trained."""
    return {}


@pytest.fixture
def trained(
    own_laboratory: Any, mirror: RowsMirror, names: dict[str, str], train_own: Callable[..., str]
) -> list[RunRow]:
    """The runs of the module's study, mirrored; the last is a fork of the one before it."""
    store = own_laboratory.store
    if "kinds" not in names:
        names["kinds"] = train_own(
            name="kinds", problem="two-layer-line", optimizers=OPTIMIZERS, seeds=3, steps=90, evaluate_every=7
        )
        parent = store.runs_of(names["kinds"])[4]
        fork = fork_run(store, parent, parse_fork({"step": 70, "optimizer": "sgd"}), publish=lambda _: None)
        train(store, fork.cohort_id, owner="tests", settings=Settings().model_copy(update={"workers": 1}))
        names["fork"] = fork.id
    drain(mirror)
    return [*store.runs_of(names["kinds"]), store.run(names["fork"])]


def test_every_step_of_every_metric_is_what_sql_has(
    own_laboratory: Any, trained: list[RunRow], client: MlflowClient, metrics: Any
) -> None:
    assert {run.stop_reason for run in trained} == {"finished", "diverged"}
    for run in trained:
        metrics.same(metrics.history(client, own_laboratory.store, run), metrics.recorded(own_laboratory.store, run))
    assert own_laboratory.store.outbox() == []


def test_the_last_value_of_each_metric_is_the_last_of_its_history(trained: list[RunRow], client: MlflowClient) -> None:
    for run in (trained[0], trained[-2], trained[-1]):
        data = client.get_run(mlflow_id(run.id)).data
        assert len(data.metrics) > 20
        for key, value in data.metrics.items():
            assert client.get_metric_history(mlflow_id(run.id), key)[-1].value == value, key


def ask(url: str, path: str, **query: Any) -> Any:
    """The answer of one of the requests that MLflow's pages send."""
    pairs = [(key, one) for key, value in query.items() for one in (value if isinstance(value, list) else [value])]
    address = f"{url}/ajax-api/2.0/mlflow/{path}?{urllib.parse.urlencode(pairs)}"
    with urllib.request.urlopen(address, timeout=TIMEOUT) as response:  # noqa: S310 - our own, on loopback
        return json.load(response)


def test_pages_of_a_history_and_histories_of_several_runs_are_whole(
    own_server: Any, own_laboratory: Any, trained: list[RunRow]
) -> None:
    run, other = trained[0], trained[1]
    costs = own_laboratory.store.steps(run.id).cost.tolist()
    found, token = [], ""
    while True:
        more = {"page_token": token} if token else {}
        page = ask(
            own_server.url, "metrics/get-history", run_id=mlflow_id(run.id), metric_key="cost", max_results=40, **more
        )
        found += [(point["step"], point["value"]) for point in page["metrics"]]
        assert len(page["metrics"]) <= 40
        if not (token := page.get("next_page_token", "")):
            break
    assert found == list(enumerate(costs))
    both = [mlflow_id(run.id), mlflow_id(other.id)]
    bulk = ask(own_server.url, "metrics/get-history-bulk", run_id=both, metric_key="cost")["metrics"]
    assert {point["run_id"] for point in bulk} == set(both)
    assert [point["value"] for point in bulk if point["run_id"] == both[0]] == costs
    # A part, as a chart asks for it when it is zoomed.
    interval = {"run_ids": both, "metric_key": "cost", "start_step": 10, "end_step": 19, "max_results": 320}
    inside = ask(own_server.url, "metrics/get-history-bulk-interval", **interval)["metrics"]
    assert [point["step"] for point in inside if point["run_id"] == both[0]] == list(range(10, 20))


def test_a_chart_of_a_long_run_keeps_its_spikes(own_server: Any, own_laboratory: Any, mirror: RowsMirror) -> None:
    worker, (run,) = own_laboratory.submit(study="spikes", problem="quadratic", steps=5000, evaluate_every=0)
    costs = np.random.default_rng(3).lognormal(size=5000)
    costs[1234], costs[2345] = 1e4, 1e-4
    worker.record(run, 5000, costs=costs, state="finished", stop_reason="finished")
    drain(mirror)
    asked = {"run_ids": [mlflow_id(run.id)], "metric_key": "cost", "max_results": 320}
    points = ask(own_server.url, "metrics/get-history-bulk-interval", **asked)["metrics"]
    kept = {point["step"]: point["value"] for point in points}
    assert {0, 1234, 2345, 4999} <= kept.keys()
    assert 250 < len(points) <= 320
    assert all(value == costs[step] for step, value in kept.items())


def test_search_filters_orders_and_pages_by_what_the_runs_have(trained: list[RunRow], client: MlflowClient) -> None:
    # Not the laboratory's note of it, which the test of PostgreSQL sets to another server's.
    experiment = client.get_run(mlflow_id(trained[0].id)).info.experiment_id
    adam = client.search_runs([experiment], "params.optimizer = 'adam' and tags.seed = '1'")
    assert {run.info.run_name for run in adam} == {"adam s1 · lr 0.001", "adam s1 · lr 0.1"}
    diverged = client.search_runs([experiment], "metrics.diverged_at_step >= 0")
    assert {run.data.tags["stop_reason"] for run in diverged} == {"diverged"}
    assert len(diverged) == 3
    finished = [run for run in trained[:-1] if run.stop_reason == "finished"]
    ordered, token = list[Run](), None
    while True:
        found = client.search_runs(
            [experiment],
            "tags.stop_reason = 'finished'",
            order_by=["metrics.cost ASC"],
            max_results=4,
            page_token=token,
        )
        ordered += found
        if not (token := found.token):
            break
    assert [run.info.run_id for run in ordered] == [
        mlflow_id(run.id) for run in sorted(finished, key=lambda run: run.cost or 0.0)
    ]


def test_each_optimizer_setting_has_a_colour_of_its_own(
    own_laboratory: Any, trained: list[RunRow], client: MlflowClient
) -> None:
    colours: dict[str, set[str]] = {}
    for run in trained[:-1]:
        found = client.get_run(mlflow_id(run.id))
        setting = found.data.params["optimizer"] + found.data.params["learning_rate"]
        colours.setdefault(setting, set()).add(found.data.tags["mlflow.runColor"])
    assert all(len(own) == 1 for own in colours.values())
    assert len({min(own) for own in colours.values()}) == len(OPTIMIZERS)


def test_the_run_of_the_study_has_its_verdict_and_its_report(
    own_laboratory: Any, trained: list[RunRow], client: MlflowClient, names: dict[str, str], tmp_path: Path
) -> None:
    study = own_laboratory.store.study(names["kinds"])
    run = client.get_run(mlflow_id(study.id))
    assert (run.info.run_name, run.info.status) == ("kinds · study", "FINISHED")
    note = run.data.tags["mlflow.note.content"]
    assert "workflowType=machine_learning" in note
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"] == note
    page = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert page.read_text().startswith("<!doctype html>")


def test_files_are_made_when_they_are_opened_and_then_kept(
    own_server: Any, trained: list[RunRow], client: MlflowClient, tmp_path: Path
) -> None:
    run = mlflow_id(trained[0].id)
    listed = {file.path: file.is_dir for file in client.list_artifacts(run)}
    assert listed == {"cost.png": False, "figures": True, "note.md": False, "record.parquet": False, "run.html": False}
    made = own_server.folder / "artifacts" / "made" / run
    assert not made.exists()
    picture = Path(client.download_artifacts(run, "cost.png", str(tmp_path))).read_bytes()
    assert picture.startswith(b"\x89PNG")
    (folder,) = made.iterdir()
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    names = [file.path for file in client.list_artifacts(run) if not file.is_dir]
    names += [file.path for file in client.list_artifacts(run, "figures")]
    # Every name that is listed was made, and nothing else.
    assert kept == set(names)
    # It is read, not drawn again.
    (folder / "cost.png").write_bytes(b"kept")
    assert Path(client.download_artifacts(run, "cost.png", str(tmp_path))).read_bytes() == b"kept"
    # A user's own file is beside them.
    own = tmp_path / "mine.txt"
    own.write_text("mine")
    client.log_artifact(run, str(own))
    assert "mine.txt" in {file.path for file in client.list_artifacts(run)}
    assert Path(client.download_artifacts(run, "mine.txt", str(tmp_path / "folder"))).read_text() == "mine"


def test_what_users_changed_survives_mirroring_everything_again(
    own_laboratory: Any, mirror: RowsMirror, client: MlflowClient
) -> None:
    worker, runs = own_laboratory.submit(study="edited", seeds=3, steps=20)
    worker.finish(runs[0])
    worker.finish(runs[1])
    worker.record(runs[2], 10)
    drain(mirror)
    store = own_laboratory.store
    first, second, third = (mlflow_id(run.id) for run in runs)
    experiment = client.get_run(first).info.experiment_id
    client.update_run(first, name="the good one")
    client.set_tag(first, "mine", "kept")
    client.set_tag(first, "mlflow.note.content", "my words")
    client.set_tag(first, "mlflow.runColor", "#123456")
    client.log_metric(first, "my_metric", 3.5)
    client.rename_experiment(experiment, "renamed")
    client.set_experiment_tag(experiment, "mlflow.note.content", "my experiment")
    client.create_registered_model("edited")
    version = client.create_model_version("edited", f"runs:/{first}/model", first)
    client.delete_run(second)
    worker.finish(store.run(runs[2].id))
    assert store.mirror_again(study="edited") == 3
    drain(mirror)
    tags = client.get_run(first).data.tags
    assert client.get_run(first).info.run_name == tags["mlflow.runName"] == "the good one"
    assert (tags["mine"], tags["mlflow.note.content"], tags["mlflow.runColor"]) == ("kept", "my words", "#123456")
    assert [point.value for point in client.get_metric_history(first, "my_metric")] == [3.5]
    assert client.get_run(second).info.lifecycle_stage == "deleted"
    found = client.get_experiment(experiment)
    assert (found.name, found.tags["mlflow.note.content"]) == ("renamed", "my experiment")
    assert client.get_model_version("edited", version.version).run_id == first
    # What no user changed follows the laboratory.
    third_run = client.get_run(third)
    assert (third_run.info.status, third_run.info.run_name) == ("FINISHED", "adam s2 · lr 0.001")
    assert "It finished after 20 steps" in third_run.data.tags["mlflow.note.content"]
    # Two runs and the study's own.
    assert len(client.search_runs([experiment])) == 3
    assert len(client.search_runs([experiment], run_view_type=ViewType.ALL)) == 4


def test_a_run_grows_while_it_trains_and_changes_its_name_only_where_it_diverges(
    own_laboratory: Any, mirror: RowsMirror, client: MlflowClient, metrics: Any
) -> None:
    worker, (run,) = own_laboratory.submit(study="grows", steps=20)
    for stop in (7, 13):
        worker.record(run, stop)
        drain(mirror)
        metrics.same(metrics.history(client, own_laboratory.store, run), metrics.recorded(own_laboratory.store, run))
        assert client.get_run(mlflow_id(run.id)).info.status == "RUNNING"
    worker.record(run, 14, costs=np.array([np.inf]), state="finished", stop_reason="diverged")
    drain(mirror)
    found = client.get_run(mlflow_id(run.id))
    assert (found.info.status, found.info.run_name) == ("FINISHED", "adam s0 diverged · lr 0.001")
    assert found.data.metrics["diverged_at_step"] == 13.0
    assert len(client.get_metric_history(mlflow_id(run.id), "cost")) == 13


class Killed(BaseException):
    """Ends the mirror at once: none of our code catches it."""


def test_a_mirror_killed_before_it_records_what_it_wrote_writes_it_again_to_no_effect(
    own_server: Any, own_laboratory: Any, mirror: RowsMirror, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, runs = own_laboratory.submit(study="killed rows", seeds=2, steps=10)
    for run in runs:
        worker.finish(run)

    def killed(_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(own_laboratory.store, "mark_all_mirrored", killed)
        with pytest.raises(Killed):
            mirror.drain()
    before = [client.get_run(mlflow_id(run.id)).to_dictionary() for run in runs]
    with closing(RowsMirror(own_laboratory.store, MlflowRows(own_server.database_url))) as second:
        drain(second)
    assert [client.get_run(mlflow_id(run.id)).to_dictionary() for run in runs] == before
    assert own_laboratory.store.outbox() == []


def test_a_laboratory_whose_database_is_being_migrated_is_reported_and_the_page_recovers(
    own_server: Any, own_laboratory: Any, mirror: RowsMirror, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    worker, (run,) = own_laboratory.submit(study="migrated", steps=10)
    worker.finish(run)
    drain(mirror)

    def answer() -> tuple[int, str]:
        try:
            asked = ask(own_server.url, "metrics/get-history", run_id=mlflow_id(run.id), metric_key="cost")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["message"]
        return 200, str(len(asked["metrics"]))

    assert answer() == (200, "10")
    engine = sqlalchemy.create_engine(own_server.laboratory_url)
    with engine.begin() as connection:
        present = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    try:
        eventually(lambda: answer()[0] == 503, "the error")
        code, message = answer()
        assert code == 503
        assert message.startswith("The laboratory's database, which has the histories of metrics, cannot be read now")
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = :one"), {"one": present})
        engine.dispose()
    assert answer() == (200, "10")


def test_runs_that_the_rest_mirror_made_keep_their_ids_and_get_every_step(
    own_server: Any, own_laboratory: Any, mirror: RowsMirror, client: MlflowClient
) -> None:
    worker, (run,) = own_laboratory.submit(study="upgraded", steps=30)
    worker.finish(run)
    experiment = client.create_experiment("upgraded by rest", tags={"talweg.study": run.study_id})
    older = client.create_run(experiment, tags={"talweg.run": run.id}).info.run_id
    client.log_metric(older, "cost", 1e9, step=0)
    drain(mirror)
    assert own_laboratory.store.run(run.id).mlflow_run_id == older
    assert [found.info.run_id for found in client.search_runs([experiment], "attributes.status = 'FINISHED'")][
        -1
    ] == older
    costs = own_laboratory.store.steps(run.id).cost.tolist()
    assert [point.value for point in client.get_metric_history(older, "cost")] == costs


def test_a_forgotten_study_is_gone_from_both_and_comes_back_from_its_archive(
    own_server: Any, own_laboratory: Any, mirror: RowsMirror, client: MlflowClient, tmp_path: Path
) -> None:
    store = own_laboratory.store
    worker, runs = own_laboratory.submit(study="forgotten", seeds=2, steps=10)
    for run in runs:
        worker.finish(run)
    worker.store.finish(worker.claim)
    drain(mirror)
    experiment = client.get_run(mlflow_id(runs[0].id)).info.experiment_id
    found = archive(store, "forgotten", tmp_path / "forgotten.parquet")
    forget(store, Settings(mlflow_database_url=SecretStr(own_server.database_url)), found)
    for gone in (mlflow_id(runs[0].id), mlflow_id(found.id)):
        with pytest.raises(MlflowException, match="not found"):
            client.get_run(gone)
    assert experiment not in {one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)}
    restore(store, tmp_path / "forgotten.parquet")
    # A mirror that knew the experiment notices that it is gone, and makes it again.
    with suppress(Unreachable):
        drain(mirror)
    drain(mirror)
    costs = [point.value for point in client.get_metric_history(mlflow_id(runs[0].id), "cost")]
    assert costs == store.steps(runs[0].id).cost.tolist()


def test_a_restored_study_gets_no_other_study_s_experiment(
    own_server: Any, own_laboratory: Any, mirror: RowsMirror, client: MlflowClient, tmp_path: Path
) -> None:
    store = own_laboratory.store
    worker, (run,) = own_laboratory.submit(study="leaves", steps=10)
    worker.finish(run)
    worker.store.finish(worker.claim)
    drain(mirror)
    found = archive(store, "leaves", tmp_path / "leaves.parquet")
    left = client.get_run(mlflow_id(run.id)).info.experiment_id
    forget(store, Settings(mlflow_database_url=SecretStr(own_server.database_url)), found)
    # The removed experiment was the newest: SQLite gives its number again.
    assert client.create_experiment("of another") == left
    restore(store, tmp_path / "leaves.parquet")
    with suppress(Unreachable):
        drain(mirror)
    drain(mirror)
    assert client.get_run(mlflow_id(run.id)).info.experiment_id != left
    assert client.search_runs([left]) == []


def test_a_mirror_that_describes_studies_apart_ends_with_the_same(
    own_server: Any, own_laboratory: Any, client: MlflowClient, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    worker, (run,) = own_laboratory.submit(study="apart", steps=10)
    worker.finish(run)
    rows = MlflowRows(own_server.database_url)
    with closing(RowsMirror(own_laboratory.store, rows, apart=True)) as mirror:
        drain(mirror)
        eventually(lambda: not mirror.drain() and not own_laboratory.store.unreported_studies(), "the study's run")
    assert client.get_run(mlflow_id(run.study_id)).info.run_name == "apart · study"


def test_a_mirror_that_is_up_before_the_server_waits_and_makes_no_database(laboratory: Any, tmp_path: Path) -> None:
    worker, (run,) = laboratory.submit()
    worker.finish(run)
    path = tmp_path / "mlflow.db"
    mirror = RowsMirror(laboratory.store, MlflowRows(f"sqlite:///{path}"))
    with closing(mirror), pytest.raises(Unreachable, match="MLflow's database: is not made yet"):
        mirror.drain()
    assert not path.exists()
    assert [row.id for row in laboratory.store.outbox()] == [run.id]


# MLflow's store uses an option that SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_rows_are_the_same_on_postgresql(
    own_laboratory: Any,
    mirror: RowsMirror,
    trained: list[RunRow],
    client: MlflowClient,
    new_postgres_database: Callable[[], str],
) -> None:
    from mlflow.store.db import utils

    from talweg.tracking.mlflow_store import Laboratory, LaboratoryStore

    url = new_postgres_database()
    engine = utils.create_sqlalchemy_engine(url)
    utils._initialize_tables(engine)
    engine.dispose()
    store = own_laboratory.store
    for _ in range(2):
        store.mirror_again(study="kinds")
        with closing(RowsMirror(store, MlflowRows(url))) as second:
            drain(second)
    # The laboratory's record of where the study is, for the other tests.
    store.mirror_again(study="kinds")
    drain(mirror)
    there: Any = LaboratoryStore(url, "mlflow-artifacts:/", Laboratory(store.engine.url.render_as_string()))
    for run in trained[:-1:4]:
        here: Any = client.get_run(mlflow_id(run.id))
        other = there.get_run(mlflow_id(run.id))
        assert other.data.metrics == here.data.metrics
        assert other.data.params == here.data.params
        assert {k: v for k, v in other.data.tags.items() if "note" not in k} == {
            k: v for k, v in here.data.tags.items() if "note" not in k
        }
        assert other.inputs.to_dictionary() == here.inputs.to_dictionary()
        mine = there.get_metric_history(mlflow_id(run.id), "cost")
        assert [point.value for point in mine] == [
            p.value for p in client.get_metric_history(mlflow_id(run.id), "cost")
        ]
    there.engine.dispose()
