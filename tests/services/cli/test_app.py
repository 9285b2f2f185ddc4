"""Commands over a real API: data on stdout, messages on stderr, exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talweg.client import Lab
from talweg.errors import AccessDenied

Talweg = Callable[..., Any]
SMALL = ("two-layer-line", "sgd:learning_rate=0.01", "adam", "--seeds", "2", "--steps", "6")


@pytest.mark.usefixtures("training")
def test_a_plan_names_the_seeds_that_a_difference_takes(remote: Talweg) -> None:
    done = remote("plan", "wine-mlp", "sgd", "adam", "--difference", "50%", "--steps", "6")
    assert done.status == 0
    assert "To find a difference of 50 % in the final cost in 80% of studies" in done.out
    refused = remote("plan", "wine-mlp", "sgd", "adam", "--difference", "0")
    assert refused.status != 0
    assert "difference: must be above 0 % and below 100 %, got 0 %" in refused.err
    refused = remote("compare", "wine-mlp", "sgd", "adam", "--at-most", "30")
    assert "--at-most: belongs to --until-settled, got 30 without it" in refused.err


@pytest.mark.usefixtures("training")
def test_compare_prints_a_ranking_and_what_to_type_next(remote: Talweg) -> None:
    done = remote("compare", *SMALL, "--name", "first")
    assert done.status == 0, done.err
    assert "sgd" in done.out
    assert "adam" in done.out
    assert done.err.splitlines()[-1].startswith("Next: talweg show first")
    assert "\x1b" not in done.out + done.err


@pytest.mark.usefixtures("training")
@pytest.mark.parametrize("columns", ["80", "100"])
def test_tables_fit_the_terminal_a_line_a_row(remote: Talweg, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    optimizers = ["sgd:learning_rate=0.01", "sgd:learning_rate=0.02", "adam", "momentum"]
    name = f"as-wide-as-{columns}"
    done = remote("compare", "wine-mlp", *optimizers, "--seeds", "3", "--steps", "6", "--name", name)
    ranking = done.out.partition("\n\n")[0].splitlines()
    assert ranking[0] == f"study {name}"
    assert ranking[1].split()[:4] == ["rank", "optimizer", "validation_cost", "validation_accuracy"]
    assert len(ranking) == 2 + len(optimizers)
    assert "mean" in remote("show", name, "--wide").out
    runs = remote("runs", name).out.splitlines()
    assert len(runs) == 1 + 3 * len(optimizers)
    assert runs[0].split()[:2] == ["name", "state"]
    for line in [*ranking, *runs, *remote("studies").out.splitlines()]:
        assert len(line) <= int(columns), line


@pytest.mark.usefixtures("training")
def test_of_many_settings_the_best_are_shown(remote: Talweg) -> None:
    settings = [f"sgd:learning_rate={0.001 * (1 + i):.3f}" for i in range(14)]
    done = remote("compare", "wine-mlp", *settings, "--seeds", "2", "--steps", "3", "--name", "many")
    assert len(done.out.partition("\n\n")[0].splitlines()) == 2 + 12
    assert "Not shown: 2 more rows (--wide)." in done.err
    assert len(remote("show", "many", "--wide").out.partition("study many\nrank")[2].splitlines()) >= 14


@pytest.mark.usefixtures("training")
def test_compare_as_json_is_nothing_but_json(remote: Talweg) -> None:
    done = remote("compare", *SMALL, "--json")
    assert done.status == 0, done.err
    assert len(done.json) == 2
    assert {row["rank"] for row in done.json} == {1, 2}


def test_a_run_is_submitted_found_cancelled_and_shown(remote: Talweg, train: Callable[[], None]) -> None:
    done = remote(
        "submit", "two-layer-line", "adam:beta1=0.8", "--learning-rate", "0.01", "--steps", "6", "--seed", "3"
    )
    assert done.status == 0, done.err
    name = done.out.strip()
    assert done.err == f"Next: talweg show {name}\n"
    view = remote("show", name, "--json").json
    assert (view["state"], view["seed"], view["steps"]) == ("queued", 3, 6)
    assert view["spec"]["optimizer"]["beta1"] == 0.8
    assert view["spec"]["optimizer"]["learning_rate"] == 0.01
    train()
    shown = remote("show", name, "--wait")
    assert "finished" in shown.out
    assert "6 of 6" in shown.out
    assert "talweg explain" in shown.err
    assert remote("cancel", name).status == 0
    assert name in remote("runs", "--limit", "100").out
    assert name in {run["name"] for run in remote("runs", "--json", "--limit", "100").json}


def test_a_study_is_listed_shown_with_its_ranking_and_cancelled(remote: Talweg, train: Callable[[], None]) -> None:
    done = remote("compare", *SMALL, "--no-wait", "--name", "listed")
    assert done.out == "listed\n"
    assert "listed" in remote("studies").out
    assert len(remote("runs", "listed", "--json").json) == 4
    assert remote("cancel", "listed", "--json").json["name"] == "listed"
    train()
    shown = remote("show", "listed", "--json").json
    assert len(shown["ranking"]) == 2
    assert remote("show", "listed").status == 0


def test_a_run_is_paused_unpaused_and_retried_after_it_failed(
    remote: Talweg, served: Any, train: Callable[[], None]
) -> None:
    name = remote("submit", "two-layer-line", "adam", "--steps", "6").out.strip()
    assert remote("pause", name).out == f"{name}: queued, paused\n"
    train()
    done = remote("unpause", name)
    assert (done.out, done.err) == (f"{name}: queued\n", f"Next: talweg show {name} --wait\n")
    refused = remote("retry", name)
    assert refused.status == 1
    assert "only a failed run can be retried" in refused.err
    claim = served.store.claim(served.store.run(name).cohort_id, "tests", 60)
    assert claim is not None
    served.store.fail(claim, "Traceback: it broke", 1)
    assert remote("retry", name, "--json").json["state"] == "queued"
    train()
    assert remote("show", name, "--json").json["state"] == "finished"
    assert remote("mirror", name).status == 2
    assert remote("mirror", name, "--again").out == f"{name}: finished\n"
    assert name in {run.name for run in served.store.outbox(500)}


def test_a_derivative_is_explained_in_words(remote: Talweg, train: Callable[[], None]) -> None:
    name = remote("submit", "two-layer-line", "sgd:learning_rate=0.01", "--steps", "3").out.strip()
    train()
    done = remote("explain", name, "--step", "0")
    assert done.status == 0, done.err
    assert "derivative" in done.out
    as_data = remote("explain", name, "--step", "0", "--json").json
    assert as_data["text"] == done.out.rstrip("\n")
    tensor = remote("show", name, "--json").json["tensors"][0]["name"]
    assert remote("explain", name, "--step", "99").status == 1
    wrong = remote("explain", name, "--step", "0", "--tensor", "nowhere")
    assert (wrong.status, tensor in wrong.err) == (2, True)
    assert remote("explain", name, "--step", "0", "--index", "a").status == 2


def test_a_file_holds_a_run_or_a_study(remote: Talweg, tmp_path: Path) -> None:
    run, study = tmp_path / "run.json", tmp_path / "study.json"
    run.write_text(json.dumps({"problem": "two-layer-line", "optimizer": "sgd", "steps": 4, "seed": 5}))
    study.write_text(json.dumps({"problem": "two-layer-line", "optimizers": ["sgd", "adam"], "seeds": 1}))
    name = remote("submit", str(run), "--steps", "7").out.strip()
    view = remote("show", name, "--json").json
    assert (view["steps"], view["seed"]) == (7, 5)
    found = remote("compare", str(study), "--no-wait", "--json", "--steps", "3")
    assert found.status == 0, found.err
    assert len(remote("runs", found.json["name"], "--json").json) == 2
    assert remote("submit", str(study), "--steps", "3").status == 0
    assert remote("submit", str(study), "--seed", "1").status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "digits-mpl", "sgd"], ["digits-mpl", "digits-mlp"]),
        (["compare", "digits-mlp", "adm"], ["adm", "adam"]),
        (["compare", "digits-mlp", "adam:beta1=1.5"], ["beta1", "1.5"]),
        (["compare", "digits-mlp", "adam:beta=0.5"], ["'beta'", "did you mean 'beta"]),
        (["compare", "digits-mlp", "adam:learning_rate=NaN"], ["learning_rate"]),
        (["compare", "digits-mlp", "adam", "--steps", "0"], ["steps", "0"]),
        (["compare", "digits-mlp", "adam", "--batch-size", "1000000"], ["batch", "1000000"]),
        (["compare", "digits-mlp", "adam", "--seeds", "many"], ["seeds", "many"]),
        (["compare", "digits-mlp", "adam", "--record", "some"], ["record", "some"]),
        (["compare", "digits-mlp"], ["optimizers", "talweg compare digits-mlp sgd"]),
        (["compare", "digits-mlp", "adam:beta1"], ["key=value", "beta1"]),
        (
            ["compare", "--suite", "standard", "digits-mlp", "sgd"],
            ["problem: must not stand beside a suite", "digits-mlp"],
        ),
        (["compare", "--suite", "standard", "spec.json"], ["problem: must not stand beside a suite", "spec.json"]),
        (["compare", "--suite", "standrad", "sgd"], ["suite: there is no 'standrad'", "standard"]),
        (["compare", "--suite", "standard", "sgd", "--steps", "5"], ["steps: each problem of the suite", "got 5"]),
        (["submit", "nowhere.json"], ["nowhere.json", "cannot be read"]),
        (["submit", "digits-mlp"], ["optimizer"]),
        (["submit", "digits-mlp", "adam", "--seed", "-1"], ["seed", "-1"]),
        (["compare", "digits-mlp", "adam", "--steps", "many"], ["--steps"]),
        (["comprae"], ["compare"]),
        (["runs", "--limit", "0"], ["limit"]),
    ],
)
def test_bad_input_ends_with_2_and_names_thing_rule_and_value(
    remote: Talweg, arguments: list[str], words: list[str]
) -> None:
    done = remote(*arguments)
    assert done.status == 2, done.err
    assert [word for word in words if word not in done.err] == []
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_suite_stands_in_place_of_the_problem(remote: Talweg) -> None:
    done = remote(
        "compare", "--suite", "standard", "adam:learning_rate=0.01", "sgd", "--seeds", "1", "--no-wait", "--json"
    )
    assert done.status == 0, done.err
    view = remote("show", done.json["name"], "--json").json
    assert view["spec"]["suite"] == "standard"
    assert len(view["spec"]["problems"]) == 10
    assert [optimizer["name"] for optimizer in view["spec"]["optimizers"]] == ["adam", "sgd"]
    assert "suite standard" in remote("show", done.json["name"]).out
    assert remote("cancel", done.json["name"]).status == 0


def test_an_unreadable_file_is_refused(remote: Talweg, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    assert "must be JSON" in remote("submit", "broken.json").err
    assert "must hold a JSON object" in remote("submit", "list.json").err


def test_a_missing_thing_is_one_line_and_exit_status_1(remote: Talweg) -> None:
    done = remote("show", "nobody")
    assert done.status == 1
    assert done.err == "talweg: error: there is no run and no study 'nobody'; talweg runs, talweg studies list them\n"


def test_status_of_a_remote_laboratory_is_its_own(remote: Talweg, url: str) -> None:
    assert remote("status", "--json").json["url"] == url
    assert remote("ui", "--no-browser").out == "http://127.0.0.1:5055\n"


def test_an_unreachable_laboratory_is_named(talweg: Talweg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALWEG_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("talweg.client.wire.RETRY_SECONDS", 0.1)
    done = talweg("runs")
    assert done.status == 1
    assert "http://127.0.0.1:9 does not answer" in done.err


def test_ctrl_c_stops_only_the_waiting_and_prints_how_to_resume_it(
    remote: Talweg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("talweg.client.waiting.time.sleep", interrupted)
    done = remote("compare", *SMALL, "--name", "interrupted")
    assert done.status == 130
    assert "the study interrupted continues" in done.err
    assert "talweg show interrupted --wait" in done.err
    assert "talweg cancel interrupted" in done.err
    assert remote("show", "interrupted", "--json").json["state"] == "queued"


@pytest.mark.usefixtures("training")
def test_the_demo_ends_with_a_table_a_picture_and_an_explanation(remote: Talweg, tmp_path: Path) -> None:
    done = remote("demo", "--seeds", "1", "--steps", "60")
    assert done.status == 0, done.err
    for name in ("sgd", "momentum", "rmsprop", "adam"):
        assert name in done.out
    assert (tmp_path / "demo" / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo" / "report.html").is_file()
    assert "derivative" in done.out
    assert "talweg ui demo-" in done.out
    again = remote("demo", "--seeds", "1", "--steps", "5")
    assert again.status == 0, again.err


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; sys.argv = ['talweg', '--help']\n"
        "from talweg.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'mlflow', 'fastapi', 'pydantic', 'httpx2', 'sqlalchemy', 'rich.console'}\n"
        "sys.exit(f'{heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "talweg demo" in done.stdout


def test_the_package_itself_can_be_run() -> None:
    command = [sys.executable, "-m", "talweg", "config", "show", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)


def test_a_token_is_made_listed_and_revoked(remote: Talweg, url: str) -> None:
    made = remote("token", "create", "ada", "--scope", "read", "--expires", "12h", "--runs", "5")
    assert made.status == 0
    token = made.out.strip()
    assert token.startswith("talweg_")
    assert token not in made.err
    rows = {row["name"]: row for row in remote("token", "list", "--json").json}
    assert (rows["ada"]["scope"], rows["ada"]["revoked"], rows["ada"]["limits"]) == ("read", None, {"runs": 5})
    assert token not in remote("token", "list").out
    with Lab(url, token=token) as lab:
        assert lab.runs(limit=1) is not None
        with pytest.raises(AccessDenied, match="scope must be 'submit'"):
            lab.submit(problem="quadratic", optimizer="sgd", steps=1)
        assert remote("token", "revoke", "ada").out == "ada: revoked\n"
        with pytest.raises(AccessDenied, match="was revoked"):
            lab.runs(limit=1)
    assert remote("token", "revoke", "ada").status == 1
    refused = remote("token", "create", "bob", "--expires", "soon")
    assert refused.status == 2
    assert "expires: must be like 12h" in refused.err


def test_a_dataset_is_added_from_a_file_and_listed(remote: Talweg, tmp_path: Path) -> None:
    file = tmp_path / "animals.csv"
    file.write_text("legs,weight,animal\n" + "\n".join(f"{i % 5},{i},{'cat' if i % 2 else 'hen'}" for i in range(30)))
    added = remote("dataset", "add", str(file))
    assert added.out.startswith("<Dataset animals: 30 rows of 2, 2 classes>\n")
    assert "talweg compare --dataset 'animals' sgd adam" in added.err
    (row,) = [row for row in remote("dataset", "list", "--json").json if row["name"] == "animals"]
    assert (row["name"], row["rows"], row["kind"]) == ("animals", 30, "labels")
    values = remote("dataset", "add", str(file), "--name", "weights", "--target", "legs", "--json")
    assert values.status == 0
    assert [row["taken_as"] for row in values.json["report"]] == ["number", "category"]
    refused = remote("dataset", "add", str(file), "--target", "weight")
    assert refused.status == 2
    assert 'kind="classification" or kind="regression"' in refused.err
    assert remote("dataset", "add", str(tmp_path / "none.csv")).status == 2


def test_each_of_the_ten_tables_is_added_and_compared_on(remote: Talweg, served: Any) -> None:
    tables = Path(__file__).parents[1] / "datasets" / "tables"
    for file in sorted(tables.iterdir()):
        added = remote("dataset", "add", str(file), "--name", f"ten {file.name}")
        assert added.status == 0, added.err
        assert "taken_as" in added.out
        assert "baseline linear model: validation cost" in added.out
        # Equal data keeps the notes of the file that came first.
        kept = [
            [line for line in one.out.splitlines() if not line.startswith("read: ")]
            for one in (added, remote("dataset", "show", f"ten {file.name}"))
        ]
        assert kept[0] == kept[1]
    started = remote("compare", "--dataset", "ten dates.csv", "adam", "--seeds", "1", "--steps", "20", "--no-wait")
    assert started.status == 0, started.err
    served.train()
    (row,) = remote("runs", started.out.strip(), "--json").json
    assert (row["state"], row["problem"]) == ("finished", "ten dates.csv-network")


def test_options_of_a_dataset_reach_the_laboratory(remote: Talweg, tmp_path: Path) -> None:
    file = tmp_path / "own.data.csv"
    file.write_text("".join(f"{i % 7};p{i % 6};{i},5;{i % 2};-1\n" for i in range(40)))
    added = remote(
        "dataset", "add", str(file), "--no-header", "--target", "c4", "--groups", "c2", "--column", "c1=category",
        "--column", "c5=leave out", "--missing", "3", "--decimal", ",", "--categories", "4", "--json",
    )  # fmt: skip
    assert added.status == 0, added.err
    found = added.json
    assert (found["name"], found["split"]["by"], found["target"]) == ("own", "group c2", "c4")
    assert [(row["column"], row["taken_as"], row["missing"], row["inputs"]) for row in found["report"]] == [
        ("c1", "category", 6, 6), ("c2", "left out", 0, 0), ("c3", "number", 0, 1), ("c5", "left out", 0, 0),
    ]  # fmt: skip
    for wrong in (["--column", "c1"], ["--image-size", "3"], ["--column", "c1=numeric"]):
        assert remote("dataset", "add", str(file), "--no-header", *wrong).status == 2
    assert remote("compare", "--dataset", "own", "--suite", "standard", "sgd").status == 2
