"""A comparison on one page: how it was made, the ranking, the curves. As Markdown, or as one HTML file.

Every word that came from outside is escaped, the figure is an image without script, and the page forbids
itself any script and any request.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence

from talweg.comparison.scores import Ranking
from talweg.comparison.tables import Cell, Table, table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin-bottom: .25rem; }
dl { display: flex; flex-wrap: wrap; gap: .25rem 1.75rem; margin: 0 0 1.5rem; color: GrayText; }
dl div { display: flex; gap: .5rem; }
dd { margin: 0; color: CanvasText; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .9rem .4rem 0; text-align: left; border-bottom: 1px solid #8884; }
td { white-space: nowrap; vertical-align: top; }
th { font-weight: 600; vertical-align: bottom; }
.number { text-align: right; }
small { display: block; color: GrayText; font-size: .8em; }
img { width: 100%; height: auto; background: #fff; border-radius: 6px; }
p.note { color: GrayText; font-size: .9rem; }
"""


def verdict(ranking: Ranking) -> str:
    """What the order means, and what it leaves out; no claim about which optimizer is better."""
    by = "validation cost at the last evaluation" if ranking.ranked_by == "validation_cost" else "final cost"
    text = f"Ordered by the median {by}; with the range over seeds."
    if any(row.diverged for row in ranking.rows):
        text += " Runs that diverged are counted, never averaged in."
    return text


def markdown(title: str, protocol: Mapping[str, str], ranking: Ranking, *, figure: str | None = None) -> str:
    """The report as Markdown; `figure` is the address of the picture of the curves."""
    facts = " · ".join(f"{escape(key)}: {escape(value)}" for key, value in protocol.items())
    parts = [f"# {escape(title)}", facts, markdown_table(table(ranking)), verdict(ranking)]
    if figure is not None:
        parts.append(f"![cost by step, one line per optimizer]({figure})")
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(rows: Table) -> str:
    """A table with right-aligned numbers."""
    ruler = ["---:" if numeric else "---" for numeric in rows.numeric]
    lines = [[escape(str(cell)) for cell in line] for line in (rows.head, *rows.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ruler, *lines[1:]])


def page(title: str, protocol: Mapping[str, str], ranking: Ranking, *, svg: bytes) -> str:
    """The report as one HTML file that needs nothing else; `svg` is the figure."""
    facts = "".join(
        f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd></div>" for key, value in protocol.items()
    )
    # As an image, whatever an SVG might hold can neither run nor ask for anything.
    picture = base64.b64encode(svg).decode()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<dl>{facts}</dl>
<div class="wide">{_html_table(table(ranking))}</div>
<p class="note">{html.escape(verdict(ranking))}</p>
<img alt="cost by step, one line per optimizer" src="data:image/svg+xml;base64,{picture}">
</body>
</html>
"""


def escape(text: str) -> str:
    """Text that Markdown shows as it stands, on one line, with no element and no link in it."""
    flat = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|$~#!])", r"\\\1", flat)


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
