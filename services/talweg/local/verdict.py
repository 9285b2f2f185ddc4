"""Why a stack did not start, told by the child that ended."""

import re

from talweg.errors import ChildFailed, TalwegError, from_code
from talweg.local.child import Child
from talweg.local.logs import tail

# What a child that knows what is wrong prints last: `talweg: error: newer-laboratory: …`.
_KNOWN = re.compile(r"talweg: error: (?P<code>[a-z]+(?:-[a-z]+)*): (?P<message>.+)")


def verdict(child: Child) -> dict[str, str]:
    """The error's code and message: what the child says itself, or how it ended with its last lines."""
    for line in reversed(tail(child.log, 3)):
        known = _KNOWN.fullmatch(line)
        if known and type(from_code(known["code"], "")) is not TalwegError:
            return {"code": known["code"], "message": known["message"]}
    return {"code": ChildFailed.code, "message": last_words(child)}


def last_words(child: Child) -> str:
    """How it ended, and the end of its log."""
    lines = "".join(f"\n    {line}" for line in child.state.last_lines) or " (it wrote nothing)"
    return f"{child.plan.name}: ended, {child.state.last_exit}; the last lines of {child.log}:{lines}"
