"""`talweg doctor`, `version` and `config`: what is wrong, and the settings with their sources."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from talweg.cli.output import AsJson, Home, Wide, as_json, clean, data, hint, laboratory, listing, read_settings
from talweg.errors import TalwegError

if TYPE_CHECKING:
    from talweg.local import StackState


_LINES = 3


def version(json: AsJson = False) -> None:
    """The version of Talweg and of its Python."""
    from importlib.metadata import version as installed

    if json:
        as_json({"talweg": installed("talweg"), "python": platform.python_version(), "platform": platform.platform()})
        return
    data(f"talweg {installed('talweg')} (Python {platform.python_version()})")


def show(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every setting: its value and its source."""
    from talweg.client import Table

    rows = _rows({} if home is None else {"home": home})
    shown = Table(("setting", "value", "from"), tuple(rows))
    then = "set TALWEG_NAME in the environment, or NAME in talweg.toml"
    settings = {name: {"value": value, "from": source} for name, value, source in rows}
    listing(shown, json=json, wide=wide, then=then, rows=settings)


def _rows(given: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    """(name, value, source) of every setting; secrets show only whether they are set."""
    from pydantic_settings import EnvSettingsSource, PyprojectTomlConfigSettingsSource, TomlConfigSettingsSource

    from talweg.settings import SecretFiles, Settings

    settings = read_settings(**given)
    sources: list[tuple[str, dict[str, Any]]] = [
        ("argument", given),
        ("environment", EnvSettingsSource(Settings)()),
        ("file", SecretFiles(Settings)()),
        ("talweg.toml", TomlConfigSettingsSource(Settings)()),
        ("pyproject.toml", PyprojectTomlConfigSettingsSource(Settings)()),
    ]
    rows = []
    for name in Settings.model_fields:
        source = next((where for where, found in sources if name in found), "default")
        value = getattr(settings, name)
        where = f"TALWEG_{name.upper()}" if source == "environment" else source
        rows.append((name, None if value is None else str(value), where))
    return rows


def doctor(home: Home = None, json: AsJson = False) -> None:
    """What is wrong with the laboratory, and what to do about it.

    It starts nothing. The exit status is 1 if something is wrong.
    """
    settings = read_settings(home=home)
    if settings.url is not None and home is None:
        found = _of_laboratory(None)
    else:
        from talweg.local import status

        state = status(settings.home)
        if state is None:
            found = [(f"nothing runs in {settings.home}", "talweg up")]
        else:
            found = _of_stack(state)
            if state.phase == "ready":
                found += _of_laboratory(settings.home)
    if json:
        as_json([{"what": what, "remedy": remedy} for what, remedy in found])
    else:
        for what, remedy in found:
            data(f"{clean(what)}\n  {clean(remedy)}")
        if not found:
            data("Nothing is wrong.")
        hint("talweg status, talweg logs" if found else "talweg runs")
    if found:
        raise typer.Exit(1)


def _of_laboratory(home: Path | None) -> list[tuple[str, str]]:
    """The troubles that the API reports, or that it does not answer."""
    try:
        with laboratory(home) as lab:
            return [(trouble["what"], trouble["remedy"]) for trouble in lab.troubles()]
    except TalwegError as error:
        return [(str(error), "talweg status; talweg logs api")]


def _of_stack(state: "StackState") -> list[tuple[str, str]]:
    found = []
    if state.error is not None:
        # The same cause ends the process again until the user removes it.
        message = " ".join(state.error["message"].split())
        remedy = "fix what it names, then talweg up" if state.error["code"] == "child-failed" else "talweg up"
        found.append((message, remedy))
    for child in state.children:
        if child.phase == "restarting" or (child.restarts and child.phase != "running"):
            last = " / ".join(line.strip() for line in child.last_lines[-_LINES:])
            found.append((f"{child.name}: ended {child.last_exit}: {last}", f"talweg logs {child.name}"))
    return found
