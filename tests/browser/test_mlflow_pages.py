"""What a person sees in MLflow after a study: its runs, their settings, a chart of the cost, one run's page."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from talweg.mlflow_server import experiment_page, run_page

# The first test also starts MLflow, which takes 20 s on a quiet machine and minutes on a busy one.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
# MLflow's pages are 10 MB of script.
PATIENCE = 120_000


@pytest.fixture
def page(page: Page) -> Page:
    """A page that waits long enough for what it expects."""
    page.set_default_timeout(PATIENCE)
    return page


def test_the_study_shows_its_runs_and_a_chart_of_the_cost(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id))
    for run in ("adam · learning_rate 0.001 · seed 0", "sgd · learning_rate 0.1 · seed 1"):
        expect(page.get_by_text(run).first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("8 matching runs")).to_be_visible(timeout=PATIENCE)
    title = page.get_by_role("heading", name="cost", exact=True)
    chart = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=title)
    # At least one line a run; MLflow draws some twice, smoothed and not.
    expect(chart.locator(".js-line").nth(7)).to_be_attached(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-study-charts.png")


def test_the_table_shows_parameters(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id).replace("CHART", "TABLE"))
    expect(page.get_by_text("momentum · learning_rate 0.05 · seed 0").first).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-study-table.png")


def test_a_runs_page_shows_its_settings_its_note_and_its_data(page: Page, seen: Any, screenshots: Path) -> None:
    (run,) = [run for run in seen.store.runs(study="digits").items if (run.optimizer, run.seed) == ("adam", 0)]
    page.goto(run_page(seen.mlflow_url, run.mlflow_run_id))
    expect(page.get_by_text("It finished after 200 steps")).to_be_visible(timeout=PATIENCE)
    for parameter in ("learning_rate", "beta1", "epsilon", "batch_size"):
        expect(page.get_by_text(parameter, exact=True).first).to_be_attached(timeout=PATIENCE)
    expect(page.get_by_text("cost.validation").first).to_be_attached(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-run.png", full_page=True)


def test_the_cost_curve_is_shown_among_the_artifacts(page: Page, seen: Any, screenshots: Path) -> None:
    (run,) = [run for run in seen.store.runs(study="digits").items if (run.optimizer, run.seed) == ("sgd", 0)]
    experiment = seen.study.mlflow_experiment_id
    page.goto(f"{seen.mlflow_url}/#/experiments/{experiment}/runs/{run.mlflow_run_id}/artifacts/cost.png")
    expect(page.get_by_text("cost.png").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("img[src^='blob:'], img[alt*='cost']").first).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=screenshots / "mlflow-artifact.png")


def test_the_pages_ask_nobody_else(page: Page, seen: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id))
    expect(page.get_by_text("8 matching runs")).to_be_visible(timeout=PATIENCE)
    assert [url for url in asked if not re.match(rf"{re.escape(seen.mlflow_url)}/|data:|blob:", url)] == []
