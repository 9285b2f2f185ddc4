"""Pages: a run's page, a study's report, and what they carry within them, since they ask for nothing when opened.

`vendor` holds uPlot (https://github.com/leeoniya/uPlot, MIT, its licence beside it), version 1.6.32 as of commit
dd3ffc568903.
"""

from functools import cache
from importlib.resources import files


@cache
def vendored(name: str) -> str:
    """The text of one of the files: uPlot.iife.min.js, uPlot.min.css."""
    return files("talweg.web").joinpath("vendor", name).read_text(encoding="utf-8")
