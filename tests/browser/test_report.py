"""The report of a study in a browser without a network: its charts can be read, and groups can be hidden."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from talweg.comparison.from_store import comparison_of
from talweg.execution.submission import submit_study
from talweg.execution.training import train
from talweg.settings import Settings
from talweg.spec import parse_study
from talweg.store import open_store
from talweg.web.report import study_report

pytestmark = pytest.mark.browser

STUDY = {"problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 3, "steps": 60, "evaluate_every": 10}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the report of a small study."""
    folder = tmp_path_factory.mktemp("report")
    with open_store(f"sqlite:///{folder}/talweg.db", create=True) as store:
        row = submit_study(store, parse_study(STUDY), publish=lambda _: None)
        for cohort in dict.fromkeys(run.cohort_id for run in store.runs_of(row.id)):
            train(store, cohort, owner="test", settings=Settings())
        row = store.study(row.id)
        Path(folder / "report.html").write_text(study_report(row, comparison_of(store, row)), encoding="utf-8")
    return f"file://{folder}/report.html"


def opened(browser: Browser, address: str, scheme: str) -> tuple[Page, list[str]]:
    """The page, and its console messages and errors."""
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", offline=True)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    return page, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn_and_read_without_a_network(browser: Browser, address: str, scheme: str) -> None:
    page, complaints = opened(browser, address, scheme)
    expect(page.locator(".chart canvas")).to_have_count(2)
    expect(page.locator(".still")).to_be_hidden()
    over = page.locator(".chart .u-over").nth(1)
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": box["width"] - 2, "y": 40})
    keys = page.locator(".chart").nth(1).locator(".keys")
    expect(keys).to_contain_text("step 60")
    sgd, adam = keys.locator("button").nth(0), keys.locator("button").nth(1)
    text = adam.text_content() or ""
    assert any(sign.isdigit() for sign in text)
    sgd.click()
    expect(sgd).to_have_attribute("aria-pressed", "false")
    over.hover(position={"x": box["width"] - 2, "y": 41})
    expect(adam).to_have_text(text)
    assert complaints == []


def test_in_print_figures_replace_the_charts(browser: Browser, address: str) -> None:
    page, _ = opened(browser, address, "light")
    page.emulate_media(media="print")
    expect(page.locator(".charts")).to_be_hidden()
    expect(page.locator(".still img")).to_be_visible()
