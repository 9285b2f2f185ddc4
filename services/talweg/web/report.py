"""A study's report as one HTML file or as Markdown, its figures, and the paths of its optimizers."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version

import numpy as np

from talweg.comparison.baselines import Baseline, in_words
from talweg.comparison.compare import Comparison, leaders, shown
from talweg.comparison.contenders import Contender
from talweg.comparison.guards import guards
from talweg.comparison.responses import responses
from talweg.comparison.results import Floats
from talweg.comparison.scores import Cell, Table
from talweg.comparison.times import UNITS
from talweg.comparison.verdict import verdict
from talweg.errors import CorruptRecord, ReplayDiverged
from talweg.records import problems_of, records, size_of
from talweg.spec import StudySpec
from talweg.store import RunRow, Store, StudyRow
from talweg.web.inline import asset, content_hash, embedded
from talweg.web.report_sections import Charts, Picture, Section, Words, sections
from talweg_core.problems import Problem
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.problems.surface import SurfaceProblem

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Response surfaces drawn in one report.
_MOST_RESPONSES = 12
_SCRIPTED = _POLICY + "; script-src {scripts}"

# Hidden in print, and where no script runs.
_HOW = (
    '<p class="note how">Hover over a chart to read its values, drag to zoom, double-click to reset, '
    "click a name to hide its line.</p>\n"
)

_STYLE = """
:root { color-scheme: light dark; --line: #d5dae0; --muted: #59636e; --ink: #1b1f24; --paper: #fff;
  --panel: #f4f6f8; --grid: #e3e7eb; --verdict: #0072b2; --warning: #b45309; --refused: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --line: #3a424b; --muted: #9aa5b1; --ink: #e6e9ec; --paper: #14181c;
  --panel: #1d2329; --grid: #2b323a; --verdict: #56b4e9; --warning: #e69f00; --refused: #ff8a80; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 66rem; margin: 2.5rem auto; padding: 0 1.25rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
dl { display: flex; flex-wrap: wrap; gap: .25rem 1.75rem; margin: 0 0 1.5rem; color: var(--muted); }
dl div { display: flex; gap: .5rem; }
dd { margin: 0; color: var(--ink); }
p { margin: .6rem 0; max-width: 46rem; }
p.verdict, p.refused { font-size: 1.1rem; padding: .8rem 1.1rem; max-width: none; background: var(--panel);
  border-left: 4px solid var(--verdict); border-radius: 4px; }
p.refused { border-color: var(--refused); }
p.warning, p.note { font-size: .92rem; color: var(--muted); }
p.warning::before { content: "Warning  "; color: var(--warning); font-weight: 600; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .4rem 1.2rem .4rem 0; text-align: left; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; vertical-align: top; }
th { font-weight: 600; vertical-align: bottom; }
.number { text-align: right; }
small { display: block; color: var(--muted); font-size: .85em; }
img { width: 100%; height: auto; background: #fff; border-radius: 6px; margin: .5rem 0; }
.charts { display: none; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.25rem 1.5rem; }
.live .charts { display: grid; }
.how { display: none; }
.live .how { display: block; }
.live .still { display: none; }
.chart { min-width: 0; }
.chart h3 { font-size: .95rem; margin: .4rem 0 0; }
.chart p { font-size: .8rem; color: var(--muted); margin: .1rem 0 .3rem; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .82rem; font-variant-numeric: tabular-nums; }
.keys button { all: unset; cursor: pointer; display: inline-flex; align-items: center; gap: .4rem; }
.keys button:focus-visible { outline: 2px solid var(--verdict); outline-offset: 2px; border-radius: 2px; }
.keys button[aria-pressed="false"] { opacity: .4; text-decoration: line-through; }
.keys output { color: var(--muted); }
.keys svg { flex: none; }
@media print { .live .how, .live .charts, .animated { display: none; } .live .still { display: block; } }
@media print { body { font-size: 10.5pt; max-width: none; margin: 0; padding: 0; }
  p.verdict, p.refused { font-size: 11.5pt; print-color-adjust: exact; } table { font-size: 8.5pt; }
  p.warning, p.note { font-size: 9pt; }
  th, td { padding: .25rem .7rem .25rem 0; } .wide { overflow: visible; } h2 { break-after: avoid; margin-top: 1.4rem; }
  tr, img, p { break-inside: avoid; } @page { margin: 16mm; } }
"""
# The paths of runs with more steps are not drawn.
_LONGEST_PATH = 20_000
# Points of a network's path on the plane.
_PLANE_POINTS = 60
# Numbers read for one path; reading more takes too long for a report.
_READ_AT_MOST = 20_000_000


def markdown(title: str, protocol: Mapping[str, str], sections: Sequence[Section], *, figure: str | None = None) -> str:
    """The report as Markdown; `figure` is the address of an image of the curves."""
    facts = " · ".join(f"{escape(key)}: {escape(value)}" for key, value in protocol.items())
    parts = [f"# {escape(title)}", facts]
    for section in sections:
        parts.append(f"## {escape(section.title)}")
        for part in section.parts:
            if isinstance(part, Words):
                parts.append(f"**Warning:** {escape(part.text)}" if part.tone == "warning" else escape(part.text))
            elif isinstance(part, Table):
                parts.append(markdown_table(part))
    if figure is not None:
        parts.append(f"![cost by step, one line per optimizer]({figure})")
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(rows: Table) -> str:
    """A table with right-aligned numbers."""
    ruler = ["---:" if numeric else "---" for numeric in rows.numeric]
    lines = [[escape(str(cell)) for cell in line] for line in (rows.head, *rows.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ruler, *lines[1:]])


def page(title: str, protocol: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The report as one HTML file that requests nothing when opened."""
    facts = "".join(
        f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd></div>" for key, value in protocol.items()
    )
    body = "\n".join(_section(section) for section in sections)
    charts = [
        chart.content
        for section in sections
        for part in section.parts
        if isinstance(part, Charts)
        for chart in part.charts
    ]
    policy, style, scripts = _POLICY, _STYLE, ""
    if charts:
        parts = asset("vendor", "uPlot.iife.min.js"), asset("assets", "charts.js")
        policy = _SCRIPTED.format(scripts=" ".join(f"'{content_hash(part)}'" for part in parts))
        style = asset("vendor", "uPlot.min.css") + _STYLE
        data = f'<script type="application/json" id="charts">{embedded(charts)}</script>'
        scripts = "\n".join([data, *(f"<script>{part}</script>" for part in parts)])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<dl>{facts}</dl>
{body}
{scripts}
</body>
</html>
"""


def escape(text: str) -> str:
    """Escape text for Markdown: one line, without elements, links or other markup."""
    flat = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|$~#!])", r"\\\1", flat)


def _section(section: Section) -> str:
    return "\n".join([f"<h2>{html.escape(section.title)}</h2>", *(_part(part) for part in section.parts)])


def _part(part: Words | Table | Picture | Charts) -> str:
    if isinstance(part, Charts):
        empty = "".join('<div class="chart"></div>' for _ in part.charts)
        return f'{_HOW}<div class="charts">{empty}</div>\n<div class="still">{_part(part.still)}</div>'
    if isinstance(part, Words):
        opening = "<p>" if part.tone == "plain" else f'<p class="{part.tone}">'
        return f"{opening}{html.escape(part.text)}</p>"
    if isinstance(part, Table):
        return f'<div class="wide">{_html_table(part)}</div>'
    # An SVG in an <img> runs no scripts and loads nothing.
    picture = base64.b64encode(part.svg).decode()
    animated = ' class="animated"' if part.kind == "image/gif" else ""
    return f'<img{animated} alt="{html.escape(part.alt)}" src="data:{part.kind};base64,{picture}">'


def _html_table(rows: Table) -> str:
    titles = [Cell(title) for title in rows.head]
    head = _html_row("th", titles, rows.numeric)
    body = "".join(f"<tr>{_html_row('td', cells, rows.numeric)}</tr>\n" for cells in rows.rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _html_row(tag: str, cells: Sequence[Cell], numeric: Sequence[bool]) -> str:
    found = []
    for cell, number in zip(cells, numeric, strict=True):
        detail = f"<small>{html.escape(cell.range)}</small>" if cell.range else ""
        opening = f'<{tag} class="number">' if number else f"<{tag}>"
        found.append(f"{opening}{html.escape(cell.text)}{detail}</{tag}>")
    return "".join(found)


def protocol(study: StudyRow, baselines: Sequence[Baseline] = ()) -> dict[str, str]:
    """The settings that all runs share, and the baselines of their dataset, for the report's head."""
    spec = StudySpec.model_validate(study.spec)
    names, steps = spec.problem_names(), {own.steps for own in spec.each_problem()}
    facts = {
        "suite": spec.suite,
        "problem" if len(names) == 1 else "problems": names[0] if len(names) == 1 else len(names),
        "protocol": spec.protocol,
        "steps": " to ".join(f"{count:,}" for count in sorted({min(steps), max(steps)})),  # type: ignore[type-var]
        "batch size": spec.batch_size,
        "seeds": len(spec.seed_list()),
        "precision": spec.precision,
        "schedule": spec.schedule.name,
        "budget in": UNITS[spec.clock],
        "baselines (validation cost)": in_words(baselines) or None,
        "talweg": version("talweg"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def study_picture(study: StudyRow, found: Comparison, kind: str) -> bytes:
    """The cost curves as "png" or "svg"; with several problems, one panel each."""
    # matplotlib takes a second to import, and only pictures need it.
    from talweg.figures import study_figures

    few = leaders(found)
    drawn = study_figures.overview(few) if found.several else study_figures.curves(few, title=study.name)
    return study_figures.png(drawn) if kind == "png" else study_figures.svg(drawn)


def study_report(
    study: StudyRow, found: Comparison, more: Sequence[Picture] = (), baselines: Sequence[Baseline] = ()
) -> str:
    """The report as one HTML file; the pictures in `more`, such as those of `paths_of`, follow the results."""
    from talweg.figures.study_figures import draw

    shown_last = [*_responses(found), *([Section("Paths", tuple(more))] if more else [])]
    parts = sections(found, lambda kind: draw(found, kind, title=study.name), shown_last)
    return page(study.name, protocol(study, baselines), parts)


def _responses(found: Comparison) -> list[Section]:
    """One section with the response surfaces of optimizers that were tried with many settings; none without these."""
    tried = responses(found)[:_MOST_RESPONSES]
    if not tried:
        return []
    from talweg.figures.response_figures import surfaces
    from talweg.figures.study_figures import svg

    drawn = Picture("the final cost by hyperparameter, for each optimizer and problem", svg(surfaces(tried)))
    words = "Final costs: medians over seeds; of a search each trial's. Ring: the lowest. Crosses: did not train."
    return [Section("Settings tried", (drawn, Words(words, "note")))]


def paths_of(store: Store, found: Comparison) -> list[Picture]:
    """The path of each optimizer's first finished run: over a test function's contours, or on a plane for networks.

    Empty for several problems, and for records that take long to read.
    """
    problem, *others = problems_of(found.spec)
    if others:
        return []
    from talweg.figures import study_figures

    if isinstance(problem, SurfaceProblem):
        taken = _taken(store, found, 1) if problem.layout.size == 2 else {}
        if not taken:
            return []
        from talweg.figures.path_figures import animation, paths

        return [
            Picture("contours of the cost with each optimizer's path", study_figures.svg(paths(problem, taken))),
            Picture("the same paths, step by step", animation(problem, taken), kind="image/gif"),
        ]
    taken = _taken(store, found, _PLANE_POINTS) if "validation" in problem.splits and not _stateful(problem) else {}
    if len(taken) < 2:
        return []
    from talweg.figures.path_figures import plane_figure as plane

    return [Picture("the cost over a plane, with each optimizer's path", study_figures.svg(plane(problem, taken)))]


def _stateful(problem: Problem) -> bool:
    # The cost then depends on more than the parameters: the running statistics of batch norm belong to a run.
    return isinstance(problem, NetworkProblem) and problem.network.state.size > 0


def _taken(store: Store, found: Comparison, points: int) -> dict[Contender, Floats]:
    """By contender the path (n, P) of its first finished run: about `points` of its steps, every step where 1."""
    taken = {}
    for contender in leaders(found).contenders:
        runs = [run for run in shown(found, found.problems[0], contender) if run.complete or points == 1]
        runs = [run for run in runs if 0 < run.costs.count <= _LONGEST_PATH]
        if runs:
            # Without this record, which cannot be read or recomputed on this machine, the report is still useful.
            with suppress(CorruptRecord, ReplayDiverged):
                taken[contender] = _path(store, store.run(runs[0].run), points)
    return {contender: path for contender, path in taken.items() if path is not None}


def _path(store: Store, row: RunRow, points: int) -> Floats | None:
    if points == 1:
        return records(store, row, "parameters", 0, row.step).astype(np.float64)
    if size_of(row) * row.step > _READ_AT_MOST:
        return None
    path = records(store, row, "parameters", 0, row.step + 1)
    # Closer together at the start, where the path changes most.
    steps = np.unique((np.linspace(0, 1, points) ** 2 * row.step).round().astype(np.int64))
    return path[steps].astype(np.float64)


def study_markdown(study: StudyRow, found: Comparison, baselines: Sequence[Baseline] = ()) -> str:
    """The report as Markdown, without pictures."""
    return markdown(study.name, protocol(study, baselines), sections(found))


def study_summary(found: Comparison) -> str:
    """The first table and the verdict, as Markdown."""
    parts = [part for section in sections(found) for part in section.parts]
    tables = [markdown_table(part) for part in parts if isinstance(part, Table)]
    return "\n\n".join([*tables[:1], escape(verdict(found, guards(found)))])
