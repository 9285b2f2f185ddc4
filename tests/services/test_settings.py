"""Sources of settings, of secrets in particular."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from talweg.client import Lab
from talweg.errors import InvalidSpec
from talweg.settings import Settings, settings


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("name", ["token", "database_url", "broker_url"])
def test_a_secret_comes_from_the_file_that_the_environment_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("  what-the-file-holds\n")
    monkeypatch.delenv(f"TALWEG_{name.upper()}", raising=False)
    monkeypatch.setenv(f"TALWEG_{name.upper()}_FILE", str(tmp_path / "secret"))
    read = Settings()
    assert getattr(read, name).get_secret_value() == "what-the-file-holds"
    assert "what-the-file-holds" not in repr(read)
    monkeypatch.setenv(f"TALWEG_{name.upper()}", "what-stands-there-itself")
    assert getattr(Settings(), name).get_secret_value() == "what-stands-there-itself"


def test_a_file_that_cannot_be_read_is_an_error_without_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALWEG_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidSpec, match=r"TALWEG_TOKEN_FILE: .*none cannot be read: No such file"):
        Settings()
    (tmp_path / "none").write_bytes(b"secret\xff")
    with pytest.raises(InvalidSpec, match="cannot be read: is not text") as caught:
        Settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["store_retry_seconds", "store_patience_seconds"])
def test_store_retry_seconds_has_its_earlier_name_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("TALWEG_STORE_RETRY_SECONDS", "TALWEG_STORE_PATIENCE_SECONDS"):
        monkeypatch.delenv(variable, raising=False)
    # Without the prefix it is another program's.
    monkeypatch.setenv(name.upper(), "1")
    assert Settings().store_retry_seconds == 60.0
    (tmp_path / "talweg.toml").write_text(f"{name} = 7.5\n")
    assert Settings().store_retry_seconds == 7.5
    monkeypatch.setenv(f"TALWEG_{name.upper()}", "12.5")
    read = Settings()
    assert read.store_retry_seconds == 12.5
    assert "store_retry_seconds" in read.model_fields_set


def test_store_retry_seconds_by_its_new_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALWEG_STORE_PATIENCE_SECONDS", "5")
    monkeypatch.setenv("TALWEG_STORE_RETRY_SECONDS", "6")
    assert Settings().store_retry_seconds == 6.0


def test_from_env_wants_an_address_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALWEG_URL", raising=False)
    with pytest.raises(InvalidSpec, match="TALWEG_URL: must name a laboratory"):
        Lab.from_env()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TALWEG_URL", "https://talweg.example/")
    settings.cache_clear()
    with Lab.from_env() as lab:
        assert lab.url == "https://talweg.example"
