"""Progress on stderr: a line, a bar or a notebook output."""

import sys
from types import SimpleNamespace

import pytest

from talweg.client.waiting import Progress, progress_display

HALF = Progress(5, 10, "running, step 5 of 10", over=False)
DONE = Progress(10, 10, "finished, step 10 of 10", over=True)


def test_without_a_terminal_there_is_one_plain_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display("run one", shown=True) as show:
        show(HALF)
        show(DONE)
    assert capsys.readouterr() == ("", "run one: finished, step 10 of 10\n")


def test_progress_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display("run one", shown=False) as show:
        show(DONE)
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_there_is_a_bar_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_display("run [bold]one", shown=True) as show:
        show(HALF)
        show(DONE)
    out, err = capsys.readouterr()
    assert out == ""
    assert "run [bold]one" in err
    assert "100%" in err


def test_in_a_notebook_one_output_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda page: shown.append(page))

    def display(page: str, display_id: bool) -> SimpleNamespace:
        shown.append(page)
        return handle

    class ZMQInteractiveShell:
        pass

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    with progress_display("run <one>", shown=True) as show:
        show(HALF)
        show(DONE)
    assert len(shown) == 2
    assert 'value="50"' in shown[0]
    assert 'value="100"' in shown[1]
    assert "<one>" not in shown[0]
