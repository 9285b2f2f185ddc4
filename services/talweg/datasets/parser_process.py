"""The process that parses an upload: `python -m talweg.datasets.parser_process NUMBER`, with the file as stdin.

NUMBER is the file descriptor of its options, in JSON. It writes the packed dataset to the file descriptor `out` of the
options, and one line of JSON to stdout. It limits its own memory and time before it loads any parser: a file that needs
more ends this process only.
"""

import json
import os
import resource
import sys
from typing import Any

# Bytes of address space of an interpreter with NumPy and Arrow before it reads anything.
_BASE = 1_500_000_000
# Copies of the data in memory at once: columns, their stack, the canonical bytes, the compressed bytes.
_COPIES = 6


def limit(maximum: int, seconds: float) -> None:
    """Limit this process's memory (by `maximum`) and CPU seconds, and switch off core dumps."""
    memory = _BASE + _COPIES * maximum
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main(arguments: list[str]) -> int:
    """Parse; the exit status is 0 also where the file is refused: the answer has the error's code and message."""
    with os.fdopen(int(arguments[0]), "rb") as file:
        given: dict[str, Any] = json.load(file)
    out, seconds = int(given.pop("out")), float(given.pop("seconds"))
    limit(int(given["maximum"]), seconds)
    from talweg.errors import InvalidSpec, TooLarge

    try:
        answer = _parsed(given, out)
    except (InvalidSpec, TooLarge) as error:
        answer = {"code": error.code, "message": str(error)}
    except MemoryError:
        answer = {"code": TooLarge.code, "message": "dataset: reading it takes more memory than allowed"}
    except Exception as error:  # noqa: BLE001
        # A hostile file can make a parser raise anything: the file is refused.
        answer = {"code": InvalidSpec.code, "message": f"dataset: cannot be read ({type(error).__name__})"}
    # json.dumps escapes the file's text: one line of ASCII.
    print(json.dumps(answer))  # noqa: T201
    return 0


def _parsed(given: dict[str, Any], out: int) -> dict[str, Any]:
    from talweg.datasets.baselines import baselines
    from talweg.datasets.formats import read
    from talweg.datasets.options import Options
    from talweg.datasets.packing import pack, size_of
    from talweg.errors import TooLarge

    options = Options(**given)
    data = read(sys.stdin.buffer, options)
    # 5 MB for the line that describes the data.
    if (size := size_of(data)) > options.maximum + 5_000_000:
        raise TooLarge(f"dataset: must take at most {options.maximum} bytes, got {size}")
    with os.fdopen(out, "wb") as file:
        digest, size = pack(data, file)
    kind = "values" if data.classes is None else "labels"
    return {
        "digest": digest, "size": size, "kind": kind, "shape": data.about() | {"baselines": baselines(data)}
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
