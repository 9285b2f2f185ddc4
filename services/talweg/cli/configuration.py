"""The version, and the settings with where each comes from."""

import platform
from typing import Any

from talweg.cli.options import AsJson, Home, Wide, read_settings
from talweg.cli.output import as_json, data, hint, table


def version(json: AsJson = False) -> None:
    """The version of Talweg and of its Python."""
    from importlib.metadata import version as installed

    if json:
        as_json({"talweg": installed("talweg"), "python": platform.python_version(), "platform": platform.platform()})
        return
    data(f"talweg {installed('talweg')} (Python {platform.python_version()})")


def show(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every setting: its value, and where that comes from."""
    from talweg.client import Table

    rows = _rows({} if home is None else {"home": home})
    if json:
        as_json({name: {"value": value, "from": source} for name, value, source in rows})
        return
    table(Table(("setting", "value", "from"), tuple(rows)), wide=wide)
    hint("set TALWEG_NAME in the environment, or NAME in talweg.toml")


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
