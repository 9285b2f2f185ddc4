"""Importing talweg is fast, and the client loads no service."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import talweg", ["numpy", "pydantic", "httpx2", "rich", "typer"]),
        (
            "from talweg import Lab; Lab('http://127.0.0.1:1')",
            ["numpy", "numba", "talweg_core", "sqlalchemy", "celery", "fastapi", "mlflow", "structlog", "talweg.local"],
        ),
    ],
)
def test_an_import_loads_only_what_it_needs(code: str, never: list[str]) -> None:
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "talweg" in loaded
    assert not loaded & set(never)


def test_public_names_are_found_and_others_are_not() -> None:
    import talweg
    from talweg.client import Lab

    assert talweg.Lab is Lab
    assert set(talweg.__all__) == set(dir(talweg))
    assert talweg.__version__
    with pytest.raises(AttributeError, match="no attribute 'Labb'"):
        _ = talweg.Labb
