"""Numbers as text, for tables, reports, figures and the terminal."""

import math
from collections.abc import Callable


def figures(value: float) -> str:
    """At least three significant digits: 0.0423, 1.50, 12,345, 3.20e-09, inf, nan."""
    if not math.isfinite(value):
        return f"{value:g}"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(digits, 0)}f}"


def percent(value: float) -> str:
    """A fraction in percent, without the percent sign."""
    return f"{100 * value:.1f}"


def span(low: float | None, high: float | None, write: Callable[[float], str] = figures) -> str:
    """A range without brackets: 0.100–0.210, -2.00 to 1.00; `–` for a missing end."""
    ends = ["–" if end is None else write(end) for end in (low, high)]
    # Next to a dash, a minus sign or a missing end is ambiguous.
    return (" to " if any(end.startswith(("-", "−", "–")) for end in ends) else "–").join(ends)
