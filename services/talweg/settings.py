"""Settings, by precedence: argument > environment (`TALWEG_*`) > `talweg.toml` > default.

A secret can be in a file named by `TALWEG_TOKEN_FILE`, `TALWEG_DATABASE_URL_FILE` or `TALWEG_BROKER_URL_FILE`, which
keeps it out of the environment of processes. `[tool.talweg]` in `pyproject.toml` is read after `talweg.toml`.
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

SECRETS = (
    "token",
    "metrics_token",
    "database_url",
    "broker_url",
    "mlflow_database_url",
    "mlflow_password",
    "api_database_password",
    "worker_database_password",
    "reader_database_password",
)


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets from the files named by TALWEG_*_FILE."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file, without leading and trailing white space; an unreadable file is an error."""
        path = os.environ.get(f"TALWEG_{field_name.upper()}_FILE") if field_name in SECRETS else None
        return (None if path is None else Path(path).read_text(encoding="utf-8").strip()), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every secret with a file."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            try:
                value, _, _ = self.get_field_value(field, name)
            except (OSError, ValueError) as error:
                # The path is not secret; the content may be.
                reason = getattr(error, "strerror", None) or "is not text"
                where = f"TALWEG_{name.upper()}_FILE"
                raise InvalidSpec(f"{where}: {os.environ[where]} cannot be read: {reason}") from None
            if value is not None:
                found[name] = value
        return found


class Settings(BaseSettings):
    """All settings of the laboratory; frozen. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="TALWEG_",
        # The prefix holds for aliases too.
        env_prefix_target="all",
        env_nested_delimiter="__",
        toml_file="talweg.toml",
        pyproject_toml_table_header=("tool", "talweg"),
        frozen=True,
        extra="ignore",
        secrets_dir=None,
    )

    # The laboratory for clients; without `url` they find or start the local stack in `home`.
    url: str | None = None
    token: SecretStr | None = None
    # A token with scope `read`, for a reader of /metrics.
    metrics_token: SecretStr | None = None
    home: Path = Path(".talweg")

    # Connections of the services. URLs are secrets, since they can hold passwords.
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    mlflow_url: str | None = None
    # MLflow's own database, for its server and for the mirror; without it the mirror sends everything to `mlflow_url`.
    mlflow_database_url: SecretStr | None = None
    # Name and password that MLflow's server asks for; none on loopback.
    mlflow_username: str = "talweg"
    mlflow_password: SecretStr | None = None
    # For the migration only: passwords of the PostgreSQL roles that it creates for the API and the workers.
    api_database_password: SecretStr | None = None
    worker_database_password: SecretStr | None = None
    # For the role of MLflow's server, which only reads.
    reader_database_password: SecretStr | None = None
    # The address of MLflow for browsers, where it differs from that for the mirror.
    mlflow_public_url: str | None = None

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    # A Unix socket for the API, in place of host and port.
    socket: Path | None = None
    # Host names that the API accepts in addition to the loopback ones, separated by commas.
    allowed_hosts: str = ""
    # Limits of a token without its own: what it may hold at once, and its requests a second. A token with scope `admin`
    # has no limits, since it could create another one.
    token_runs: int = Field(10_000, ge=1)
    token_steps: int = Field(10_000_000_000, ge=1)
    token_bytes: int = Field(1_000_000_000, ge=1)
    token_rate: float = Field(100.0, gt=0)
    # Limits of an uploaded dataset: the size of its file, packed and unpacked, and the time to read it. What is stored
    # of it may take 900 MB at most.
    upload_bytes: int = Field(128_000_000, ge=1, le=4_000_000_000)
    upload_seconds: float = Field(300.0, gt=0)

    # The folder in which clients of the local stack put the sources of their own optimizers; only the local stack sets
    # it. Without it, no source is stored, and none that is stored is loaded.
    rules: Path | None = None
    # Seconds that one step of a user's own optimizer may take; then its run is given up.
    rule_seconds: float = Field(30.0, gt=0)

    mlflow_port: int = Field(5055, ge=0, le=65535)
    workers: int = Field(2, ge=1, le=256)

    # The lease must be longer than three heartbeats.
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
    # Bytes of one cohort's arrays: a larger cohort is split, a single run that needs more is refused.
    cohort_memory: int = Field(500_000_000, ge=1_000_000)

    # `rows`: our own MLflow server, whose plug-in reads the laboratory; the mirror writes rows into MLflow's database.
    # `rest`: any MLflow server, also one of a version that the plug-in does not know; the mirror sends everything.
    mirror: Literal["rows", "rest"] = "rows"
    mirror_seconds: float = Field(1.0, gt=0)
    # Metric values of one run in MLflow; a run with more is thinned evenly, and tagged so.
    mirror_budget: int = Field(50_000, ge=100)
    # Metric values of all runs of a study together; each run may have 1000 in any case.
    mirror_study_budget: int = Field(300_000, ge=100)
    # Runs that are sent at the same time, and processes that draw figures and pages of waiting runs.
    mirror_at_once: int = Field(2, ge=1, le=32)
    mirror_drawers: int = Field(1, ge=0, le=32)
    # Whether runs that are sent by REST get figures, page and record too.
    mirror_files: bool = True

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
        """Arguments, environment, files named there, talweg.toml, pyproject.toml."""
        return (
            init_settings,
            env_settings,
            SecretFiles(settings_cls),
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
