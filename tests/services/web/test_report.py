"""Reports: they hold the numbers, and names from users stay text."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from talweg.comparison import Result, compare, ranking, table
from talweg.spec import StudySpec
from talweg.web.report import markdown, page
from talweg.web.report_sections import Picture, Section, Words, sections

Make = Callable[..., Result]
HOSTILE = ["<script>alert(1)</script>", "a|b", "![x](http://x.invalid)", "`c`\n# d", '"><img src=x onerror=y>', "$x$"]


@pytest.fixture
def runs(result: Make) -> list[Result]:
    """Two optimizers; one run diverged."""
    found = [result("adam", seed=s, validation=[0.5 + s], accuracy=[0.9]) for s in range(3)]
    return [*found, result("sgd", validation=[0.9], accuracy=[0.8]), result("sgd", seed=1, stop_reason="diverged")]


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [value or "" for key, value in attrs if key in {"src", "href"}]


def elements(text: str) -> Elements:
    parser = Elements()
    parser.feed(text)
    return parser


def test_the_table_shows_median_and_range_and_how_runs_ended(runs: list[Result]) -> None:
    found = table(ranking(runs))
    assert found.head == (
        "#",
        "optimizer",
        "validation cost",
        "validation accuracy, %",
        "final cost",
        "best cost",
        "runs",
    )
    assert tuple(map(str, found.rows[0])) == (
        "1",
        "adam",
        "1.50 (0.500–2.50)",
        "90.0 (90.0–90.0)",
        "1.00 (1.00–1.00)",
        "1.00 (1.00–1.00)",
        "3",
    )
    assert found.rows[1][-1].text == "1 of 2, 1 diverged"


def reported(results: list[Result], seeds: int = 3, problem: str = "digits-mlp") -> list[Section]:
    """The sections of a study of these runs."""
    settings = {repr(dict(result.optimizer)): dict(result.optimizer) for result in results}
    spec = {"problem": problem, "optimizers": list(settings.values()), "seeds": seeds, "steps": 3}
    return sections(compare(StudySpec.model_validate(spec), results), lambda _: b"<svg/>")


def test_markdown_holds_the_verdict_the_tables_and_the_figure(runs: list[Result]) -> None:
    text = markdown("digits", {"problem": "digits-mlp"}, reported(runs), figure="cost.png")
    assert "| 1 | adam | 1.50 | " in text
    assert "](cost.png)" in text
    assert "runs diverged: sgd 1 of 2" in text
    assert "is not shown to be better than" in text


def test_the_page_is_one_file_and_requests_nothing(runs: list[Result]) -> None:
    found = elements(page("digits", {"problem": "digits-mlp"}, reported(runs)))
    assert [link.partition(",")[0] for link in found.links] == ["data:image/svg+xml;base64"]
    # The charts' data, uPlot, and charts.js.
    assert found.found.count("script") == 3
    without = elements(page("t", {}, [Section("s", (Words("w"),))]))
    assert "script" not in without.found


def test_the_policy_lets_run_what_the_page_holds_and_nothing_else(runs: list[Result]) -> None:
    text = page("digits", {}, reported(runs))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("script-src " + " ".join(f"'sha256-{found}'" for found in hashes))


def test_a_page_of_many_long_runs_keeps_its_size_and_every_spike(result: Make) -> None:
    random = np.random.default_rng(0)
    costs = np.exp(random.normal(0, 0.5, (12, 20_000)) - np.linspace(0, 5, 20_000))
    costs[:, 12_345] = 1e6
    runs = [result(f"rule{i}", costs=row, validation=[1.0]) for i, row in enumerate(costs)]
    text = page("long", {}, reported(runs))
    assert len(text.encode()) < 2_000_000
    (data,) = re.findall(r'id="charts">(.*?)</script>', text)
    (chart, _) = json.loads(data)
    assert "steps a point, extremes kept" in chart["note"]
    for group in chart["groups"]:
        assert max(group["median"]) == 1e6
        assert group["steps"][group["median"].index(1e6)] == 12_345
        assert len(group["steps"]) <= 2000


def test_each_groups_numbers_are_its_own(result: Make) -> None:
    """Each group has its own numbers, so hiding one in the page cannot change another."""
    adam = [result("adam", seed=s, costs=[4.0, 2.0 + s]) for s in range(3)]
    sgd = [result("sgd", seed=s, costs=[4.0, 9.0]) for s in range(3)]
    (alone,), (both,) = ([json.loads(data)[0]["groups"][0] for data in charts(runs)] for runs in (adam, adam + sgd))
    assert alone == both
    assert (alone["median"], alone["low"], alone["high"]) == ([4.0, 3.0], [4.0, 2.0], [4.0, 4.0])


def charts(runs: list[Result]) -> list[str]:
    """The charts' data in the page of these runs."""
    return re.findall(r'id="charts">(.*?)</script>', page("t", {}, reported(runs)))


def test_a_refused_comparison_is_set_off() -> None:
    text = page("t", {}, [Section("Verdict", (Words("No verdict", "refused"), Picture("a", b"")))])
    assert '<p class="refused">No verdict</p>' in text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_add_no_element_to_the_page(result: Make, name: str) -> None:
    # A spec takes no control character and no slash in a name.
    named = name.replace("\n", " ").replace("/", "|").replace("\\", "|")
    plain = elements(page("t", {"k": "v"}, reported([result("adam")])))
    hostile = elements(page(name, {name: name}, reported([result(named)])))
    assert hostile.found == plain.found
    assert hostile.links == plain.links


@pytest.mark.parametrize("name", HOSTILE)
def test_names_add_no_row_column_link_or_element_to_the_markdown(result: Make, name: str) -> None:
    named = name.replace("\n", " ").replace("/", "|").replace("\\", "|")
    text = markdown(name, {name: name}, reported([result(named)]))
    plain = markdown("t", {"k": "v"}, reported([result("adam")]))
    assert len(text.splitlines()) == len(plain.splitlines())
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]
    assert bars == [line.count("|") for line in plain.splitlines()]
    assert not re.search(r"<\w|(?<!\\)!\[|(?<!\\)`", text)
