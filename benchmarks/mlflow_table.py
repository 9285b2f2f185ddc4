"""Time until MLflow shows the table of a large study, from requesting the page to its first page of rows.

    python benchmarks/mlflow_table.py [runs] [repeats]

A study of two-layer-line is trained and its points are mirrored to a server started as the local stack starts it. A
headless Chromium opens the experiment's page, each time with an empty cache and no cookies.
"""

import shutil
import sys
import time
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from tracked import laboratory, mirror_to, repeat, trained

from talweg.mlflow_server import experiment_page
from talweg.settings import Settings
from talweg.store import Store

OPTIMIZERS = [{"name": "sgd", "learning_rate": rate} for rate in (0.001, 0.01, 0.1, 1.0)]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
TIMEOUT_MILLISECONDS = 120_000


def main(runs: int = 200, repeats: int = 5) -> None:
    """Print the seconds of each visit."""
    with laboratory() as (store, _, url), sync_playwright() as playwright:
        page = experiment_page(url, _mirrored(store, runs, url)).replace("CHART", "TABLE")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        seconds = [_visit(browser, page) for _ in range(repeats)]
        browser.close()
    shown = ", ".join(f"{each:.1f}" for each in seconds)
    print(f"{runs} runs: median {median(seconds):.1f} s to the table, least {min(seconds):.1f} ({shown})")


def _mirrored(store: Store, runs: int, url: str) -> str:
    """Train a study and mirror its points; its experiment's id."""
    study, _ = trained(store, "two-layer-line", OPTIMIZERS, runs=runs, steps=20)
    repeat(mirror_to(url, store, budget=Settings().mirror_budget).send_metrics)
    return str(store.study(study.id).mlflow_experiment_id)


def _visit(browser: Browser, page: str) -> float:
    context = browser.new_context(viewport={"width": 1680, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(TIMEOUT_MILLISECONDS)
    begun = time.perf_counter()
    tab.goto(page)
    tab.get_by_text("sgd s0").first.wait_for()
    # Shown when MLflow has fetched a hundred runs.
    tab.get_by_text("matching runs").first.wait_for()
    seconds = time.perf_counter() - begun
    context.close()
    return seconds


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
