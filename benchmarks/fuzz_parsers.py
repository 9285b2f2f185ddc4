"""Fuzz the parsers of specs, chunks and uploads: `python benchmarks/fuzz_parsers.py [--seconds 600] [--seed N]`.

The three parsers get generated input in turn until the time is up. A spec may raise InvalidSpec, a chunk CorruptRecord,
an upload InvalidSpec or TooLarge; any other exception is a crash, printed with its input, and the exit status is 1.
Input is random, or valid input with random damage, which gets past more checks.
"""

import argparse
import io
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from talweg.api.bodies import check
from talweg.datasets.formats import read
from talweg.datasets.options import Options
from talweg.errors import CorruptRecord, InvalidSpec, TooLarge
from talweg.records import normalise
from talweg.records.from_spec import normalise_study
from talweg.spec import parse_run, parse_study
from talweg.store import codec
from talweg_core import optimizers, problems, schedules

EACH = 200
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 100),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=20),
    st.sampled_from([*optimizers.names(), *problems.names(), "dense", "relu", "digits", "wine", "cross_entropy"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=12,
)
LAYERS = ("dense", "relu", "tanh", "conv2d", "flatten", "reshape", "dropout", "batch_norm", "lstm", "attention")


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A run or a study, valid in some parts, damaged in others."""
    names = {"optimizer": optimizers.names(), "schedule": schedules.names()}
    problem: Any = draw(
        st.one_of(
            st.sampled_from(problems.names()),
            st.fixed_dictionaries(
                {
                    "dataset": st.sampled_from(["wine", "diabetes", "mine"]),
                    "network": st.lists(
                        st.fixed_dictionaries(
                            {"layer": st.sampled_from(LAYERS)},
                            optional={"units": VALUES, "channels": VALUES, "shape": VALUES, "rate": VALUES},
                        ),
                        max_size=4,
                    ),
                    "cost": st.sampled_from(["cross_entropy", "squared_error"]),
                }
            ),
            VALUES,
        )
    )
    spec: dict[str, Any] = {"problem": problem, "optimizer": draw(st.sampled_from(names["optimizer"])), "steps": 5}
    for key in draw(st.lists(st.sampled_from(["problem", "optimizer", "schedule"]), max_size=2, unique=True)):
        name = spec.get(key) if key != "schedule" else draw(st.sampled_from(names["schedule"]))
        if isinstance(name, str):
            extra = st.sampled_from(["learning_rate", "beta1", "start", "dimension", "momentum", "around", "warmup"])
            spec[key] = {"name": name} | draw(
                st.dictionaries(st.one_of(extra, st.text(max_size=8)), VALUES, max_size=3)
            )
    if draw(st.booleans()):
        spec["optimizers"] = draw(st.one_of(st.just([spec.pop("optimizer")]), VALUES))
        spec["seeds"] = draw(VALUES)
    damaged = draw(
        st.dictionaries(st.sampled_from([*spec, "batch_size", "seed", "precision", "name"]), VALUES, max_size=2)
    )
    return spec | damaged


def try_spec(spec: dict[str, Any]) -> None:
    """Parse and normalise, as the API does."""
    try:
        value = json.loads(json.dumps(spec))
        check(value)
        if "optimizers" in value:
            normalise_study(parse_study(value)).runs()
        else:
            normalise(parse_run(value))
    except InvalidSpec:
        return


@st.composite
def chunks(draw: st.DrawFn) -> tuple[bytes, str, str, tuple[int, int]]:
    """A payload, its digest, and the dtype and shape to decode it as."""
    shape = (draw(st.integers(0, 9)), draw(st.integers(0, 9)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    payload = draw(st.one_of(st.binary(max_size=200), st.just(codec.encode(np.ones(shape, dtype))[0])))
    payload = damaged(draw, payload)
    digest = draw(st.sampled_from([codec.digest_of(payload), "0" * 64]))
    return (
        payload,
        digest,
        dtype,
        (draw(st.integers(0, 9)), draw(st.integers(0, 2**40))) if draw(st.booleans()) else shape,
    )


def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some bytes changed, removed or inserted."""
    held = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(held)))
        held[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(held)


def try_chunk(chunk: tuple[bytes, str, str, tuple[int, int]]) -> None:
    """Decode, as the records room does."""
    try:
        array = codec.decode(*chunk)
    except CorruptRecord:
        return
    assert array.shape == chunk[3]


def _good_uploads() -> dict[str, bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    inputs, labels = np.arange(40.0).reshape(20, 2) ** 2, np.array(["a", "b"] * 10)
    npz, npy, columns = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(npz, inputs=inputs, targets=labels)
    np.save(npy, inputs)
    parquet.write_table(pa.table({"x": inputs[:, 0], "y": inputs[:, 1], "label": labels}), columns)
    csv = "x,y,label\n" + "\n".join(f"{x},{y},{label}" for (x, y), label in zip(inputs, labels, strict=True))
    return {"npz": npz.getvalue(), "npy": npy.getvalue(), "parquet": columns.getvalue(), "csv": csv.encode()}


UPLOADS = _good_uploads()


@st.composite
def uploads(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """A file's format, its damaged content, and the kind of its targets."""
    form = draw(st.sampled_from(sorted(UPLOADS)))
    content = damaged(draw, draw(st.one_of(st.just(UPLOADS[form]), st.binary(max_size=300))))
    return form, content, draw(st.sampled_from(["auto", "labels", "values"]))


def try_upload(upload: tuple[str, bytes, str]) -> None:
    """Read, as the parser process does, but in this process."""
    form, content, kind = upload
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        try:
            read(file, Options(form, kind=kind, maximum=10_000_000))  # type: ignore[arg-type]
        except (InvalidSpec, TooLarge):
            return


def main() -> int:
    """Fuzz and print the results; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    warnings.simplefilter("error")
    tried: Counter[str] = Counter()
    crashes: list[str] = []
    end, seed = time.monotonic() + options.seconds, options.seed
    print(f"seed {options.seed}")
    while time.monotonic() < end and len(crashes) < 20:
        for name, strategy, attempt in (
            ("specs", specs(), try_spec),
            ("chunks", chunks(), try_chunk),
            ("uploads", uploads(), try_upload),
        ):
            _round(name, strategy, attempt, seed, tried, crashes)
        seed += 1
    for name, count in tried.items():
        print(f"  {name}: {count}")
    for crash in crashes:
        print(f"CRASH {crash}")
    return 1 if crashes else 0


def _round(
    name: str, strategy: Any, attempt: Callable[[Any], None], seed: int, tried: "Counter[str]", crashes: list[str]
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def run(value: Any) -> None:
        tried[name] += 1
        try:
            attempt(value)
        except Exception as error:  # noqa: BLE001 - any other exception is a finding
            kind = f"{name}: {type(error).__name__}: {str(error)[:200]}"
            if not any(crash.startswith(kind[:60]) for crash in crashes):
                crashes.append(f"{kind}: {value!r:.600}")

    run()


if __name__ == "__main__":
    sys.exit(main())
