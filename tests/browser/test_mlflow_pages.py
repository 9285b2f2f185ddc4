"""A mirrored study in MLflow's pages: its runs, their settings, a chart of the cost, one run's page."""

import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from playwright.sync_api import FrameLocator, Page, expect

from talweg.mlflow_server import WORKFLOW, experiment_page, run_page

# The first test also starts MLflow, which takes 20 s on a quiet machine and minutes on a busy one.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
# MLflow's pages are 10 MB of script.
TIMEOUT = 120_000


@pytest.fixture
def page(page: Page) -> Page:
    """A page that waits long enough for what it expects."""
    page.set_default_timeout(TIMEOUT)
    return page


def test_the_study_shows_its_runs_and_a_chart_of_the_cost(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id))
    for run in ("adam s0 · lr 0.001", "sgd s1 · lr 0.1"):
        expect(page.get_by_text(run).first).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_text("9 matching runs")).to_be_visible(timeout=TIMEOUT)
    title = page.get_by_role("heading", name="cost", exact=True)
    chart = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=title)
    # At least one line a run; MLflow draws some twice, smoothed and not.
    expect(chart.locator(".js-line").nth(7)).to_be_attached(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-study-charts.png")
    # Each kind of metric has a section of its own.
    for section in ("Cost", "Gradient norms", "Update norms", "Parameter norms", "System metrics"):
        expect(page.get_by_text(section, exact=True).first).to_be_attached()
    page.get_by_text("Gradient norms", exact=True).first.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "mlflow-study-sections.png")


def test_the_table_shows_parameters(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id).replace("CHART", "TABLE"))
    expect(page.get_by_text("momentum s0 · lr 0.05").first).to_be_visible(timeout=TIMEOUT)
    # The columns that the saved view selects.
    for column in ("optimizer", "learning_rate", "seed", "cost", "cost.validation"):
        expect(page.get_by_role("columnheader", name=column, exact=True).first).to_be_visible(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-study-table.png")


def test_a_runs_page_shows_its_settings_its_description_and_its_data(page: Page, seen: Any, screenshots: Path) -> None:
    (run,) = [run for run in seen.store.runs(study="digits").items if (run.optimizer, run.seed) == ("adam", 0)]
    page.goto(run_page(seen.mlflow_url, run.mlflow_run_id))
    expect(page.get_by_text("It finished after 200 steps")).to_be_visible(timeout=TIMEOUT)
    for parameter in ("learning_rate", "beta1", "epsilon", "batch_size"):
        expect(page.get_by_text(parameter, exact=True).first).to_be_attached(timeout=TIMEOUT)
    expect(page.get_by_text("cost.validation").first).to_be_attached(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-run.png", full_page=True)


def test_the_cost_curve_is_shown_among_the_artifacts(page: Page, seen: Any, screenshots: Path) -> None:
    (run,) = [run for run in seen.store.runs(study="digits").items if (run.optimizer, run.seed) == ("sgd", 0)]
    experiment = seen.study.mlflow_experiment_id
    page.goto(f"{seen.mlflow_url}/#/experiments/{experiment}/runs/{run.mlflow_run_id}/artifacts/cost.png")
    expect(page.get_by_text("cost.png").first).to_be_visible(timeout=TIMEOUT)
    expect(page.locator("img[src^='blob:'], img[alt*='cost']").first).to_be_visible(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-artifact.png")


def test_runs_are_grouped_by_optimizer(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id).replace("CHART", "TABLE"))
    expect(page.get_by_text("momentum s0 · lr 0.05").first).to_be_visible(timeout=TIMEOUT)
    page.get_by_role("button", name="Group by").click()
    page.get_by_role("menuitemcheckbox", name="optimizer", exact=True).first.click()
    for optimizer in ("sgd", "momentum", "rmsprop", "adam"):
        expect(page.get_by_text(f"Group: {optimizer}").first).to_be_visible(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-study-grouped.png")


def test_the_description_has_the_results_and_leads_to_the_report(page: Page, seen: Any, screenshots: Path) -> None:
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id).replace("CHART", "TABLE"))
    expect(page.get_by_text("4 optimizer settings × 2 seeds on").first).to_be_visible(timeout=TIMEOUT)
    link = page.get_by_role("link", name="The whole report").first
    expect(link).to_be_attached(timeout=TIMEOUT)
    expect(page.get_by_role("cell", name="adam", exact=True).first).to_be_attached()
    page.goto(f"{seen.mlflow_url}/{link.get_attribute('href')}")
    report = page.frame_locator("iframe").first
    expect(report.get_by_role("heading", name="digits")).to_be_visible(timeout=TIMEOUT)
    for optimizer in ("sgd", "momentum", "rmsprop", "adam"):
        expect(report.get_by_role("cell", name=optimizer, exact=True).first).to_be_visible()
    expect(report.get_by_role("img").first).to_be_visible()
    page.screenshot(path=screenshots / "mlflow-study-report.png")


def open_page(page: Page, seen: Any, run: Any) -> FrameLocator:
    """The run's interactive page, as MLflow shows it."""
    experiment = MlflowClient(seen.mlflow_url).get_run(run.mlflow_run_id).info.experiment_id
    page.goto(f"{seen.mlflow_url}/#/experiments/{experiment}/runs/{run.mlflow_run_id}/artifacts/run.html?{WORKFLOW}")
    frame = page.frame_locator("iframe").first
    expect(frame.get_by_role("slider")).to_be_visible(timeout=TIMEOUT)
    return frame


def test_a_runs_page_follows_its_slider(page: Page, seen: Any, screenshots: Path) -> None:
    run = seen.line
    frame = open_page(page, seen, run)
    frame.get_by_role("slider").press("End")
    expect(frame.locator("#step")).to_have_text("59")
    frame.get_by_role("slider").press("Home")
    expect(frame.locator("#step")).to_have_text("0")
    # At the first step, by hand: ∂C/∂w₁ = x · w₂ = 1.5 × 2 = 3, and Adam moves each weight by its learning rate.
    chain = frame.locator("#chain")
    expect(chain).to_contain_text("1.5 × 2 = 3")
    expect(chain).to_contain_text("m = β₁ × m + (1 − β₁) × ∂C/∂θ = 0.9 × 0 + 0.1 × 3 = 0.3")
    expect(chain).to_contain_text("θ: 1 → 0.95")
    # Another weight, by its number in the drawing.
    frame.locator(".wire text").nth(2).click()
    expect(frame.get_by_role("heading", name="dense2.weight at step 0")).to_be_visible()
    expect(chain).to_contain_text("1.5 × 1 = 1.5")
    # The cost shown is the recorded one.
    frame.get_by_role("slider").press("ArrowRight")
    expect(frame.locator("#step")).to_have_text("1")
    cost = float(seen.store.steps(run.id, 1, 2).cost[0])
    expect(frame.locator(".tile b").first).to_have_text(f"{cost:.4g}")
    page.screenshot(path=screenshots / "mlflow-run-page.png")


def test_a_larger_runs_page_shows_every_weight(page: Page, seen: Any, screenshots: Path) -> None:
    (run,) = [run for run in seen.store.runs(study="digits").items if (run.optimizer, run.seed) == ("adam", 0)]
    frame = open_page(page, seen, run)
    frame.get_by_role("button", name="derivatives").click()
    expect(frame.get_by_role("button", name="derivatives")).to_have_attribute("aria-pressed", "true")
    frame.locator("canvas").nth(2).click()
    expect(frame.locator("#cell")).to_contain_text("dense2.weight[")
    frame.get_by_role("slider").press("End")
    expect(frame.locator("#cell")).to_contain_text("at step 199")
    page.screenshot(path=screenshots / "mlflow-run-page-large.png")


def test_a_diverged_run_shows_the_chart_of_its_cost_and_where_it_diverged(
    page: Page, seen: Any, screenshots: Path
) -> None:
    run = seen.diverged
    assert run.stop_reason == "diverged"
    address = run_page(seen.mlflow_url, run.mlflow_run_id)
    page.goto(address)
    expect(page.get_by_text(f"at step {run.step - 1}: its cost or gradient")).to_be_visible(timeout=TIMEOUT)
    page.goto(address.replace("?", "/model-metrics?"))
    title = page.get_by_role("heading", name="cost", exact=True)
    chart = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=title)
    expect(chart.locator(".js-line").first).to_be_attached(timeout=TIMEOUT)
    expect(page.get_by_role("heading", name="diverged_at_step", exact=True)).to_be_visible(timeout=TIMEOUT)
    page.screenshot(path=screenshots / "mlflow-diverged.png")


def test_the_pages_request_nothing_from_other_servers(page: Page, seen: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(experiment_page(seen.mlflow_url, seen.study.mlflow_experiment_id))
    expect(page.get_by_text("9 matching runs")).to_be_visible(timeout=TIMEOUT)
    assert [url for url in asked if not re.match(rf"{re.escape(seen.mlflow_url)}/|data:|blob:", url)] == []
