"""Environment variables of the laboratory's processes: the inherited ones, and those for numerics.

A user's shell may hold variables for other work. Celery, MLflow, libpq and Python read such variables by themselves;
some of them would connect a laboratory to another broker, end its workers at start, or change its numbers. These are
removed. The rest is kept: module search paths, locale, certificates, proxies, credentials for PostgreSQL and MLflow.
"""

import os
import platform
from collections.abc import Mapping
from typing import Final, Literal

# Prefixes of removed variables.
_FAMILIES: Final = (
    "CELERY_", "KOMBU_", "DJANGO_", "FLASK_", "GUNICORN_", "UVICORN_", "SQLALCHEMY_", "OTEL_", "NUMBA_", "OMP_",
    "GOMP_", "KMP_", "MLFLOW_",
)  # fmt: skip
# Names of removed variables.
_NAMES: Final = frozenset(
    {
        # Celery and Kombu.
        "AUTOSCALE_KEEPALIVE", "C_BENCH", "C_BENCH_EVERY", "C_FAKEFORK", "C_FORCE_ROOT", "C_IMPDEBUG", "C_REMDEBUG",
        "C_STRICT_APP", "C_WARN_APP", "C_WNOCONF", "DISABLE_TRACEBACKS", "EVENTLET_NOBLOCK",
        "FORKED_BY_MULTIPROCESSING", "MP_LOG", "MP_MAIN_FILE", "NOSETPS", "PICKLE_PROTOCOL", "TIMER_DEBUG",
        "USE_FAST_LOCALS",
        # Web servers.
        "FORWARDED_ALLOW_IPS", "PROMETHEUS_MULTIPROC_DIR", "WEB_CONCURRENCY",
        # libpq: variables that override a database URL. Passwords and certificates, which the URL omits, are kept.
        "PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGGEQO", "PGHOSTADDR", "PGOPTIONS",
        "PGREPLICATION", "PGSERVICE", "PGSERVICEFILE", "PGTARGETSESSIONATTRS", "PGTZ",
        # Python: variables that turn warnings into errors, remove assertions or change the output encoding.
        "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCASEOK", "PYTHONDEBUG", "PYTHONDEVMODE", "PYTHONHASHSEED",
        "PYTHONINSPECT", "PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONPROFILEIMPORTTIME",
        "PYTHONSTARTUP", "PYTHONTRACEMALLOC", "PYTHONVERBOSE", "PYTHONWARNINGS",
        # A notebook's matplotlib backend does not exist outside the notebook.
        "MATPLOTLIBRC", "MPLBACKEND",
    }
)  # fmt: skip
# Kept although the prefix matches: access to a remote MLflow server, and the cache of compiled kernels.
_MEANT: Final = frozenset(
    {
        "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS",
        "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_AWS_SIGV4",
        "NUMBA_CACHE_DIR",
    }
)  # fmt: skip
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# BLAS results differ in bits between one and two threads, and several processes with several threads each overload
# the cores.
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"),
    "1",
)
# With these, every x86-64 host with AVX2 computes the same bits. NUMBA_CPU_FEATURES must be set and empty: without it
# Numba adds the host's features to those of the CPU in NUMBA_CPU_NAME.
PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
    # PyTorch's kernels and MKL, for runs with its optimizers.
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2,STRICT",
}


def inherited(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (None: the environment of this process) without the removed variables.

    Where it names a proxy, loopback addresses are added to `no_proxy`.
    """
    found = os.environ if base is None else base
    kept = {name: value for name, value in found.items() if not is_foreign(name)}
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in kept):
        past = [part for part in (kept.get("no_proxy") or kept.get("NO_PROXY") or "").split(",") if part]
        text = ",".join([*past, *(host for host in LOOPBACK if host not in past)])
        kept |= {"no_proxy": text, "NO_PROXY": text}
    return kept


def is_foreign(name: str) -> bool:
    """Whether the variable is removed."""
    return name in _NAMES or (name.startswith(_FAMILIES) and name not in _MEANT)


def numerics_environment(profile: Literal["native", "portable"]) -> dict[str, str]:
    """The variables for numerics: one BLAS thread; with `portable` on x86-64 also fixed kernels."""
    fixed = profile == "portable" and platform.machine() == "x86_64"
    return ONE_THREAD | (PORTABLE if fixed else {})
