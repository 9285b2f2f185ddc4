"""The process that parses: `python -m talweg.datasets.parser_process OPTIONS`, the file as its standard input.

What it made of the file goes to the descriptor that the options name, and one line of JSON about it to standard
output. It limits itself before it loads any parser: a file that needs more than is allowed ends this process alone.
"""

import json
import os
import resource
import sys
from typing import Any

# What an interpreter with NumPy and Arrow takes before it reads anything.
_BASE = 1_500_000_000
# Copies of the data that are alive at once: columns, their stack, the canonical bytes, the compressed ones.
_COPIES = 6


def limit(maximum: int, seconds: float) -> None:
    """From here on: so much memory, so much time, no core dump."""
    memory = _BASE + _COPIES * maximum
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main(arguments: list[str]) -> int:
    """Parse; the exit status is 0 also where the file is refused, which the answer says."""
    given: dict[str, Any] = json.loads(arguments[0])
    out, seconds = int(given.pop("out")), float(given.pop("seconds"))
    limit(int(given["maximum"]), seconds)
    from talweg.errors import InvalidSpec, TooLarge

    try:
        answer = _parsed(given, out)
    except (InvalidSpec, TooLarge) as error:
        answer = {"code": error.code, "message": str(error)}
    except MemoryError:
        answer = {"code": TooLarge.code, "message": "dataset: reading it takes more memory than is allowed"}
    except Exception as error:  # noqa: BLE001
        # What a parser raises over a file that means harm is not all foreseen; it is the file's fault.
        answer = {"code": InvalidSpec.code, "message": f"dataset: cannot be read ({type(error).__name__})"}
    # Text of the file may be in it: ASCII only, one line.
    print(json.dumps(answer))  # noqa: T201
    return 0


def _parsed(given: dict[str, Any], out: int) -> dict[str, Any]:
    from talweg.datasets.formats import read
    from talweg.datasets.preparing import Options, compress, digest_of, pack
    from talweg.errors import TooLarge

    options = Options(**given)
    data = read(sys.stdin.buffer, options)
    packed = pack(data)
    # The line that describes the data comes on top of it.
    if len(packed) > options.maximum + 5_000_000:
        raise TooLarge(f"dataset: must take at most {options.maximum} bytes, got {len(packed)}")
    with os.fdopen(out, "wb") as file:
        file.write(compress(packed))
    return {
        "digest": digest_of(packed),
        "size": len(packed),
        "kind": "values" if data.classes is None else "labels",
        "shape": {
            "inputs": list(data.inputs.shape),
            "targets": list(data.targets.shape),
            "classes": data.classes,
            "columns": data.columns,
            "target": data.target,
            "standardise": data.standardise,
        },
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
