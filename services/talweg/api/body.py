"""Reading a JSON body: plain data, finite, shallow and storable, before anything looks at its meaning."""

import json
import math
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from talweg.errors import InvalidSpec

MAXIMUM_DEPTH: Final = 32
# Keys and values together: a starting point is the longest thing that a spec holds.
MAXIMUM_VALUES: Final = 250_000
LARGEST_INTEGER: Final = 2**63


async def _json_object(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        value = json.loads(body) if body else {}
    except RecursionError:
        raise InvalidSpec(f"body: must not be nested more than {MAXIMUM_DEPTH} deep") from None
    except ValueError as error:
        raise InvalidSpec(f"body: must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidSpec(f"body: must be a JSON object, got {type(value).__name__}")
    if (count := _count(value)) > MAXIMUM_VALUES:
        raise InvalidSpec(f"body: must have at most {MAXIMUM_VALUES} keys and values, got {count}")
    check(value)
    return value


def _count(value: object) -> int:
    """Keys and values, however deep: without recursion, since depth is not known to be bounded here."""
    found, left = 0, [value]
    while left:
        one = left.pop()
        found += 1
        if isinstance(one, dict):
            found += len(one)
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


JsonBody = Annotated[dict[str, Any], Depends(_json_object)]


def check(value: object, where: str = "", depth: int = 0) -> None:
    """Refuse what JSON can hold and the laboratory cannot.

    Raises:
        InvalidSpec: NaN or infinite numbers (Python's parser takes `NaN`, and 1e400 overflows), integers past
            64 bits, text that no database stores (NUL, lone surrogates), or too deep a nesting; names the key.
    """
    name = where or "body"
    if depth > MAXIMUM_DEPTH:
        raise InvalidSpec(f"{name}: must not be nested more than {MAXIMUM_DEPTH} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            check(key, f"a key of {name}", depth)
            check(inner, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            check(inner, f"{where}[{position}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidSpec(f"{name}: must be finite, got {value}")
    elif isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        raise InvalidSpec(f"{name}: must fit into 64 bits, got an integer of {value.bit_length()} bits")
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise InvalidSpec(f"{name}: must be text without NUL and lone surrogates, got {value[:80]!r}")
