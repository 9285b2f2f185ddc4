"""What can be set from outside: argument > environment (`TALWEG_*`) > `talweg.toml` > default.

A secret may stand in a file instead, which `TALWEG_TOKEN_FILE`, `TALWEG_DATABASE_URL_FILE` or
`TALWEG_BROKER_URL_FILE` names: whoever can see a process's environment does not see it.
`[tool.talweg]` in `pyproject.toml` counts like `talweg.toml`, after it.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from talweg.errors import InvalidSpec

SECRETS = ("token", "metrics_token", "database_url", "broker_url", "api_database_password", "worker_database_password")


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets out of the files that TALWEG_*_FILE names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """What the file holds, without the white space around it; an unreadable one is an error, never skipped."""
        path = os.environ.get(f"TALWEG_{field_name.upper()}_FILE") if field_name in SECRETS else None
        return (None if path is None else Path(path).read_text(encoding="utf-8").strip()), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every secret that has a file."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            try:
                value, _, _ = self.get_field_value(field, name)
            except (OSError, ValueError) as error:
                # The path is no secret; what was read of the file may be one.
                reason = getattr(error, "strerror", None) or "is not text"
                where = f"TALWEG_{name.upper()}_FILE"
                raise InvalidSpec(f"{where}: {os.environ[where]} cannot be read: {reason}") from None
            if value is not None:
                found[name] = value
        return found


class Settings(BaseSettings):
    """Every setting of the laboratory; frozen once read. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="TALWEG_",
        # Aliases too.
        env_prefix_target="all",
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
    # Let in by the API with scope `read`, for whoever reads /metrics.
    metrics_token: SecretStr | None = None
    home: Path = Path(".talweg")

    # What services connect to. URLs may hold passwords, hence secrets.
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    mlflow_url: str | None = None
    # For the migration alone: the PostgreSQL roles that it makes for the API and for the workers.
    api_database_password: SecretStr | None = None
    worker_database_password: SecretStr | None = None
    # Where people open MLflow, when that differs from what the mirror connects to.
    mlflow_public_url: str | None = None

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    # The API listens on this Unix socket instead, where it is set.
    socket: Path | None = None
    # Names besides the loopback ones under which the API may be asked for, separated by commas.
    allowed_hosts: str = ""
    # What one token may hold at once, and how many requests a second it may make, unless it was made with limits of
    # its own. A token of scope `admin` is held to none: it could give itself another.
    token_runs: int = Field(10_000, ge=1)
    token_steps: int = Field(10_000_000_000, ge=1)
    token_bytes: int = Field(1_000_000_000, ge=1)
    token_rate: float = Field(100.0, gt=0)
    # The most that an uploaded dataset may take, as sent and unpacked, and how long reading it may take.
    upload_bytes: int = Field(128_000_000, ge=1, le=900_000_000)
    upload_seconds: float = Field(300.0, gt=0)

    mlflow_port: int = Field(5055, ge=0, le=65535)
    workers: int = Field(2, ge=1, le=256)

    # Whose cohort is it, and for how long: the lease must outlast three heartbeats.
    lease_seconds: float = Field(30.0, gt=0)
    heartbeat_seconds: float = Field(5.0, gt=0)
    commit_seconds: float = Field(0.5, gt=0)
    reconcile_seconds: float = Field(3.0, gt=0)
    # How long a worker retries an unreachable database before it gives its cohort back with that reason. The second
    # alias is the name in 0.1.
    store_retry_seconds: float = Field(
        60.0, ge=0, validation_alias=AliasChoices("store_retry_seconds", "store_patience_seconds")
    )
    max_attempts: int = Field(3, ge=1)
    cohort_size: int = Field(64, ge=1, le=4096)
    # Bytes of one cohort's arrays: larger ones are split, and a run that alone needs more is refused.
    cohort_memory: int = Field(500_000_000, ge=1_000_000)

    mirror_seconds: float = Field(1.0, gt=0)
    # A run sends at most this many metric points to MLflow; above it they are evenly thinned, as a tag says.
    mirror_budget: int = Field(50_000, ge=100)
    # And all runs of a study together this many, but each a thousand in any case.
    mirror_study_budget: int = Field(300_000, ge=100)
    # Runs whose points are sent at a time, and processes that draw runs' figures and pages where many wait for theirs.
    mirror_at_once: int = Field(2, ge=1, le=32)
    mirror_drawers: int = Field(1, ge=0, le=32)

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
        """Arguments, then environment, then files that it names, then talweg.toml, then pyproject.toml."""
        return (
            init_settings,
            env_settings,
            SecretFiles(settings_cls),
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )


@cache
def settings() -> Settings:
    """The settings of this process, read at the first call."""
    return Settings()
