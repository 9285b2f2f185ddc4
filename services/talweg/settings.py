"""What can be set from outside: argument > environment (`TALWEG_*`) > `talweg.toml` > default.

`[tool.talweg]` in `pyproject.toml` counts like `talweg.toml`, after it.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    """Every setting of the laboratory; frozen once read. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="TALWEG_",
        env_nested_delimiter="__",
        toml_file="talweg.toml",
        pyproject_toml_table_header=("tool", "talweg"),
        frozen=True,
        extra="ignore",
        secrets_dir=None,
    )

    # Where a client finds the laboratory; without `url` it starts or finds the local stack in `home`.
    url: str | None = None
    token: SecretStr | None = None
    home: Path = Path(".talweg")

    # What services connect to. URLs may hold passwords, hence secrets.
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    mlflow_url: str | None = None
    # Where people open MLflow, when that differs from what the mirror connects to.
    mlflow_public_url: str | None = None

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    # The API listens on this Unix socket instead, where it is set.
    socket: Path | None = None
    # Names besides the loopback ones under which the API may be asked for, separated by commas.
    allowed_hosts: str = ""
    mlflow_port: int = Field(5055, ge=0, le=65535)
    workers: int = Field(2, ge=1, le=256)

    # Whose cohort is it, and for how long: the lease must outlast three heartbeats.
    lease_seconds: float = Field(30.0, gt=0)
    heartbeat_seconds: float = Field(5.0, gt=0)
    commit_seconds: float = Field(0.5, gt=0)
    reconcile_seconds: float = Field(3.0, gt=0)
    # How long a worker waits for a database that is away, before it leaves its cohort with that reason.
    store_patience_seconds: float = Field(60.0, ge=0)
    max_attempts: int = Field(3, ge=1)
    cohort_size: int = Field(64, ge=1, le=4096)
    # Bytes of one cohort's arrays: larger ones are split, and a run that alone needs more is refused.
    cohort_memory: int = Field(500_000_000, ge=1_000_000)

    mirror_seconds: float = Field(1.0, gt=0)
    # A run sends at most this many metric points to MLflow; above it they are evenly thinned, as a tag says.
    mirror_budget: int = Field(50_000, ge=100)

    numerics: Literal["native", "portable"] = "native"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then talweg.toml, then pyproject.toml."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )


@cache
def settings() -> Settings:
    """The settings of this process, read at the first call."""
    return Settings()
