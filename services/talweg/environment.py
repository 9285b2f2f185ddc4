"""The environment of our processes: what they take over from who starts them, and what numerics need.

A shell holds what its user needs for other work. Celery, MLflow, libpq and Python itself read variables without being
asked, and some of them turn a laboratory away from its own broker, end its workers at their start, or change how it
computes. Those are left out. What a user may mean for us stays: the search paths of their own modules, locale,
certificates, proxies to the outside, credentials for PostgreSQL and MLflow.
"""

import os
import platform
from collections.abc import Mapping
from typing import Final, Literal

# Whatever begins so.
_FAMILIES: Final = (
    "CELERY_", "KOMBU_", "DJANGO_", "FLASK_", "GUNICORN_", "UVICORN_", "SQLALCHEMY_", "OTEL_", "NUMBA_", "OMP_",
    "GOMP_", "KMP_", "MLFLOW_",
)  # fmt: skip
# And these.
_NAMES: Final = frozenset(
    {
        # Celery and Kombu.
        "AUTOSCALE_KEEPALIVE", "C_BENCH", "C_BENCH_EVERY", "C_FAKEFORK", "C_FORCE_ROOT", "C_IMPDEBUG", "C_REMDEBUG",
        "C_STRICT_APP", "C_WARN_APP", "C_WNOCONF", "DISABLE_TRACEBACKS", "EVENTLET_NOBLOCK",
        "FORKED_BY_MULTIPROCESSING", "MP_LOG", "MP_MAIN_FILE", "NOSETPS", "PICKLE_PROTOCOL", "TIMER_DEBUG",
        "USE_FAST_LOCALS",
        # Web servers.
        "FORWARDED_ALLOW_IPS", "PROMETHEUS_MULTIPROC_DIR", "WEB_CONCURRENCY",
        # libpq: what overrules a database's URL. Passwords and certificates, which a URL leaves out, stay.
        "PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGGEQO", "PGHOSTADDR", "PGOPTIONS",
        "PGREPLICATION", "PGSERVICE", "PGSERVICEFILE", "PGTARGETSESSIONATTRS", "PGTZ",
        # Python: where a warning ends a process, an assertion is left out, or output has another encoding.
        "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCASEOK", "PYTHONDEBUG", "PYTHONDEVMODE", "PYTHONHASHSEED",
        "PYTHONINSPECT", "PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONPROFILEIMPORTTIME",
        "PYTHONSTARTUP", "PYTHONTRACEMALLOC", "PYTHONVERBOSE", "PYTHONWARNINGS",
        # A notebook's drawing back end does not exist outside of it.
        "MATPLOTLIBRC", "MPLBACKEND",
    }
)  # fmt: skip
# Of the families, what is meant for us: a server of MLflow elsewhere, and where compiled kernels are kept.
_MEANT: Final = frozenset(
    {
        "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS",
        "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_AWS_SIGV4",
        "NUMBA_CACHE_DIR",
    }
)  # fmt: skip
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# Two BLAS threads give other bits than one, and several processes with several threads each fight over the cores.
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"),
    "1",
)
# Every x86-64 host with AVX2 computes the same bits. NUMBA_CPU_FEATURES must be there, and empty: without it Numba
# adds the features of the host to those of the CPU that NUMBA_CPU_NAME names.
PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}


def inherited(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (this process's environment, where None) without what would change how a process of ours behaves.

    Where it names a proxy, this machine is reached without.
    """
    found = os.environ if base is None else base
    kept = {name: value for name, value in found.items() if not is_foreign(name)}
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in kept):
        past = [part for part in (kept.get("no_proxy") or kept.get("NO_PROXY") or "").split(",") if part]
        text = ",".join([*past, *(host for host in LOOPBACK if host not in past)])
        kept |= {"no_proxy": text, "NO_PROXY": text}
    return kept


def is_foreign(name: str) -> bool:
    """Whether the variable is left out."""
    return name in _NAMES or (name.startswith(_FAMILIES) and name not in _MEANT)


def numerics_environment(profile: Literal["native", "portable"]) -> dict[str, str]:
    """The variables under which a process computes: one BLAS thread, and under `portable` fixed kernels."""
    fixed = profile == "portable" and platform.machine() == "x86_64"
    return ONE_THREAD | (PORTABLE if fixed else {})
