"""Fuzz the parsers of specs, chunks and uploads: `python benchmarks/fuzz_parsers.py [--only uploads] [--seed N]`.

The three parsers get generated input in turn until the time is up. A spec may raise InvalidSpec, a chunk CorruptRecord,
an upload InvalidSpec or TooLarge; any other exception is a crash, printed with its input, and the exit status is 1.
Input is random, or valid input with random damage, which gets past more checks.
"""

import argparse
import bz2
import gzip
import io
import json
import lzma
import random
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import zstandard
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from talweg.api.bodies import check
from talweg.datasets.baselines import baselines
from talweg.datasets.formats import read
from talweg.datasets.options import TAKEN, Options
from talweg.datasets.packing import pack
from talweg.datasets.unpacking import unpack
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


def _good_uploads() -> list[tuple[str, bytes]]:
    import pyarrow as pa
    from PIL import Image
    from pyarrow import feather, ipc, parquet

    inputs, labels = np.arange(40.0).reshape(20, 2) ** 2, np.array(["a", "b"] * 10)
    npz, npy, columns, file, stream, images = (io.BytesIO() for _ in range(6))
    np.savez(npz, inputs=inputs, targets=labels)
    np.save(npy, inputs)
    days = pa.array([f"2024-01-{i + 1:02d}" for i in range(20)]).cast(pa.date32())
    gaps = pa.array([None if i % 5 == 0 else i for i in range(20)])
    table = pa.table({"x": inputs[:, 0], "d": days, "g": gaps, "l": pa.array(labels).dictionary_encode()})
    parquet.write_table(table, columns)
    feather.write_feather(table, file)
    with ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with zipfile.ZipFile(images, "w") as archive:
        for i in range(12):
            picture = io.BytesIO()
            Image.new("RGB" if i % 3 else "L", (3, 4), i).save(picture, "PNG" if i % 2 else "JPEG")
            archive.writestr(f"{'ab'[i % 2]}/{i}.{'jpg' if i % 2 == 0 else 'png'}", picture.getvalue())
    csv = "x,y,label\n" + "\n".join(f"{x},{y},{label}" for (x, y), label in zip(inputs, labels, strict=True))
    packed: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mine.csv", csv)
    texts = [csv.encode(), csv.encode("utf-16"), zipped.getvalue(), *(pack(csv.encode()) for pack in packed)]
    return [
        ("npz", npz.getvalue()), ("npy", npy.getvalue()), ("parquet", columns.getvalue()), ("arrow", file.getvalue()),
        ("arrow", stream.getvalue()), ("images", images.getvalue()), *(("csv", text) for text in texts),
    ]  # fmt: skip


UPLOADS = _good_uploads()
# Cells that mean something to a reader, and some that only look so.
TELLING = r"""|NA|1|0|-3.5|1e400|-inf|nan|1,5|1.234,5|1'000|12 kg|12 %|€ 5|yes|No|2024-01-31|31.12.2024|03/04/2024|12:30
|0001|2024-01-31T25:00|test|train|x|é|"a|a"b|'q'|#|a b|0x1f|--|日本|1_000""".replace("\n", "").split("|")
TELLING += ["\ufeff", "\x85", "\u2028"]
CELLS = st.one_of(
    st.sampled_from([*TELLING, "9" * 400]),
    st.text(max_size=6),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1", "koi8-r")
COLUMNS = ["a", "b", "c", "split", "id", "", "a", "Unnamed: 0"]
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from(["auto", "classification", "regression"]),
    "columns": st.dictionaries(st.sampled_from("abc"), st.sampled_from(TAKEN), max_size=2),
    "target": st.sampled_from("abc"),
    "groups": st.sampled_from("abc"),
    "order_by": st.sampled_from("abc"),
    "split": st.sampled_from(["split", "a"]),
    "missing_target": st.just("leave out"),
    "missing": st.lists(CELLS, max_size=2),
    "header": st.booleans(),
    "decimal": st.sampled_from([".", ","]),
    "encoding": st.sampled_from(ENCODINGS),
    "categories": st.integers(1, 5),
    "standardise": st.booleans(),
    "image_size": st.lists(st.integers(-1, 40), min_size=2, max_size=2),
}


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A table of few different cells, so that columns are constant, mixed, missing or categories."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " ", "  ", ", "]))
    width = draw(st.integers(1, 5))
    cells = draw(st.lists(CELLS, min_size=1, max_size=8))
    rows = [draw(st.lists(st.sampled_from(COLUMNS), min_size=width, max_size=width))]
    rows += [[draw(st.sampled_from(cells)) for _ in range(width)] for _ in range(draw(st.integers(0, 14)))]
    # Ten rows at least are a dataset.
    rows += rows[1:] * draw(st.integers(0, 3))
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    text = end.join(delimiter.join(row) + draw(st.sampled_from(["", delimiter])) for row in rows)
    content = text.encode(draw(st.sampled_from(ENCODINGS)), "replace")
    packed = draw(st.sampled_from([None, gzip, bz2]))
    return content if packed is None else bytes(packed.compress(content))


@st.composite
def uploads(draw: st.DrawFn) -> tuple[str, bytes, dict[str, Any]]:
    """A file's format, its damaged content, and options."""
    form, good = draw(st.sampled_from(UPLOADS))
    if form == "csv" and draw(st.booleans()):
        good = draw(texts())
    content = damaged(draw, draw(st.one_of(st.just(good), st.just(good), st.binary(max_size=300))))
    chosen = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True))
    return form, content, {name: draw(OPTIONS[name]) for name in chosen}


def try_upload(upload: tuple[str, bytes, dict[str, Any]]) -> None:
    """Read, pack and unpack, as the parser process and a worker do, but in this process."""
    form, content, options = upload
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        try:
            data = read(file, Options(form, maximum=10_000_000, **options))  # type: ignore[arg-type]
        except (InvalidSpec, TooLarge):
            return
    json.dumps(data.about() | {"baselines": baselines(data)}, allow_nan=False)
    payload = io.BytesIO()
    digest, size = pack(data, payload)
    made = unpack("fuzzed", digest, size, payload.getvalue())
    assert np.isfinite(made.inputs).all(), "inputs are not finite"
    assert made.inputs.shape == (len(data.parts), *data.input_shape)
    assert all(len(part) for part in made.splits.values()), "a part is empty"


def main() -> int:
    """Fuzz and print the results; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=("specs", "chunks", "uploads"), help="One of the parsers.")
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
            if options.only in (None, name):
                _round(name, strategy, attempt, seed, tried, crashes)
        seed += 1
    for name, count in tried.items():
        print(f"  {name}: {count}")
    print(f"  memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:,.0f} MB")
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
