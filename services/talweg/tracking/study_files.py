"""The files of an ended study in MLflow: its report and its figure."""

from talweg.comparison.compare import Comparison
from talweg.store import Store, StudyRow
from talweg.tracking.naming import MARKDOWN, REPORT, STUDY_PICTURES
from talweg.web.report import paths_of, study_markdown, study_picture, study_report


def study_files(store: Store, study: StudyRow, compared: Comparison) -> dict[str, bytes]:
    """By path: the report as a page and as Markdown, and the figure of its costs."""
    png, svg = STUDY_PICTURES
    return {
        REPORT: study_report(study, compared, paths_of(store, compared)).encode(),
        MARKDOWN: study_markdown(study, compared).encode(),
        png: study_picture(study, compared, "png"),
        svg: study_picture(study, compared, "svg"),
    }
