"""Cards for notebooks: inline style, no script, nothing loaded, readable on light and on dark."""

import html
import json
from typing import Any

from talweg.client.table import text

_FRAME = "border:1px solid rgba(128,128,128,0.4);border-radius:6px;padding:0.6em 1em;max-width:60em"


def card(
    title: str, line: str, facts: dict[str, Any], spec: dict[str, Any] | None = None, link: str | None = None
) -> str:
    """A title, one line, facts by name, and what was asked for behind a fold; everything is escaped."""
    rows = "".join(
        f'<tr><td style="padding-right:1.5em;opacity:0.7">{html.escape(name)}</td>'
        f"<td>{html.escape(text(value))}</td></tr>"
        for name, value in facts.items()
    )
    fold = ""
    if spec is not None:
        written = html.escape(json.dumps(spec, indent=2, ensure_ascii=False))
        fold = f"<details><summary>spec</summary><pre>{written}</pre></details>"
    # A link that is no http(s) would be a script.
    web = link is not None and link.startswith(("http://", "https://"))
    anchor = f'<div><a href="{html.escape(link or "")}">MLflow</a></div>' if web else ""
    return (
        f'<div style="{_FRAME}"><b>{html.escape(title)}</b> {html.escape(line)}'
        f"<table>{rows}</table>{fold}{anchor}</div>"
    )
