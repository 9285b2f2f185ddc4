"""The source text of a user's class: its own lines, with the imports, constants and functions that it uses.

Nothing is executed here. The text can be stored, and loaded in another process (talweg_core.optimizers.brought).
"""

import ast
import builtins
import hashlib
import inspect
import linecache
import re
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from talweg_core.errors import EngineError, UnknownName

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__doc__", "__module__", "__qualname__", "__class__"}
# Module-level values that are read with the class: numbers, words, and lists of them.
_CONSTANT = (
    ast.Constant, ast.Name, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List, ast.Set, ast.Dict,
    ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip
_FUTURE = "from __future__ import annotations"


class UnusableSource(EngineError):
    """The source of a class cannot be stored alone: the message names the class, what it uses, and the rule."""


def source_of(kind: object) -> str:
    """The source of a class or function, from its file or notebook cell; raises UnusableSource.

    What it uses from the same file or cell is included: imports, functions, classes and constants. Names from other
    cells of a notebook are included where they are imports, functions or classes.
    """
    name = getattr(kind, "__name__", repr(kind))
    code = _code_of(kind, name)
    if code.co_freevars and (bound := [free for free in code.co_freevars if free != "__class__"]):
        raise UnusableSource(_variable(name, bound[0], "a variable of the function around it"))
    text = "".join(linecache.getlines(code.co_filename))
    module = sys.modules.get(str(getattr(kind, "__module__", "")))
    return _Collector(text, name, code.co_filename, module, code.co_firstlineno).collect()


def source_in(text: str, name: str, where: str) -> str:
    """The source of the class or function `name` in the text of a file; raises UnusableSource. `where`: the file."""
    return _Collector(text, name, where, None, None).collect()


def source_in_file(path: Path, name: str) -> str:
    """`source_in` for a file; raises UnusableSource where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableSource(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    return source_in(text, name, str(path))


def entry_of(source: str) -> str:
    """The name of the class or function that a source from here is about: it is the last."""
    last = ast.parse(source).body[-1]
    assert isinstance(last, ast.ClassDef | ast.FunctionDef)
    return last.name


def name_of(source: str) -> str:
    """The name of a rule with this source: `MyRule` is my_rule@3f2a91, with the start of the source's digest."""
    last = ast.parse(source).body[-1]
    assert isinstance(last, ast.ClassDef | ast.FunctionDef)
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last.name).lower().strip("_")
    for statement in last.body:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        value = getattr(statement, "value", None)
        if any(isinstance(one, ast.Name) and one.id == "name" for one in targets) and isinstance(value, ast.Constant):
            word = str(value.value)
    return f"{word}@{digest_of(source)[:6]}"


def digest_of(source: str) -> str:
    """SHA-256 of the source, in hex."""
    return hashlib.sha256(source.encode()).hexdigest()


def _code_of(kind: object, name: str) -> CodeType:
    """A code object whose file and line lie in the definition; raises UnusableSource, also for a closure inside it."""
    members = [kind] if inspect.isfunction(kind) else list(vars(kind).values()) if isinstance(kind, type) else []
    found: CodeType | None = None
    for member in members:
        function = inspect.unwrap(member.__func__ if isinstance(member, staticmethod | classmethod) else member)
        code: CodeType | None = getattr(function, "__code__", None)
        # Functions that `dataclass` writes have no source.
        if code is None or not linecache.getlines(code.co_filename):
            continue
        if any(free != "__class__" for free in code.co_freevars):
            return code
        found = found or code
    if found is None:
        raise UnusableSource(
            f"{name}: its source must be in a file or a notebook cell, and it must have a method of its own"
        )
    return found


def _variable(name: str, used: str, what: str) -> str:
    return (
        f"{name}: uses {used}, {what}, and a worker does not have it; make it a hyperparameter "
        f"({used}: float = …), or a number written in the same file or cell"
    )


class _Collector:
    """Collects a definition, and what it uses, from one text."""

    def __init__(self, text: str, name: str, where: str, module: ModuleType | None, line: int | None) -> None:
        self._text, self._name, self._where, self._line = text, name, where, line
        self._module = module
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise UnusableSource(f"{where}, line {error.lineno}: is not Python: {error.msg}") from error
        self._tree = tree
        self._future = any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in tree.body)
        self._defined = dict(_definitions(tree))
        # Name to source, in the order in which they must stand.
        self._parts: dict[str, str] = {}
        # Functions may call each other.
        self._begun: set[str] = set()

    def collect(self) -> str:
        """The whole source; the definition itself is last."""
        self._add(self._definition())
        own = list(self._parts.values())
        return "\n\n".join([_FUTURE] * self._future + own) + "\n"

    def _definition(self) -> ast.stmt:
        wanted = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            and node.name == self._name
            and (self._line is None or _first_line(node) <= self._line <= (node.end_lineno or 0))
        ]
        if not wanted:
            found = [name for name, node in self._defined.items() if isinstance(node, ast.ClassDef | ast.FunctionDef)]
            raise UnusableSource(str(UnknownName(f"{self._where}: class", self._name, found)))
        return wanted[-1]

    def _add(self, node: ast.stmt) -> None:
        text = self._segment(node)
        name = getattr(node, "name", text)
        self._begun.add(name)
        for used in sorted(_used(text, self._where)):
            if used not in self._parts and used not in self._begun:
                self._resolve(used)
        self._parts[name] = text

    def _segment(self, node: ast.stmt) -> str:
        lines = self._text.splitlines()[_first_line(node) - 1 : node.end_lineno]
        return textwrap.dedent("\n".join(lines)).rstrip()

    def _resolve(self, name: str) -> None:
        """Include what `name` means in the text, or else in the notebook."""
        node = self._defined.get(name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._parts[name] = self._import(node, name)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            self._add(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_constant(node):
            text = self._segment(node)
            for used in sorted(_used(text, self._where) - {name}):
                if used not in self._parts:
                    self._resolve(used)
            self._parts[name] = text
        elif node is not None and (self._module is None or isinstance(node, ast.Assign | ast.AnnAssign)):
            what = "a computed value" if isinstance(node, ast.Assign | ast.AnnAssign) else "which a block there sets"
            raise UnusableSource(f"{self._where}, line {node.lineno}: {_variable(self._name, name, what)}")
        else:
            self._from_module(name)

    def _import(self, node: ast.Import | ast.ImportFrom, name: str) -> str:
        alias = next(one for one in node.names if _bound(one) == name)
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            return f"import {alias.name}{renamed}"
        if node.level:
            raise UnusableSource(
                f"{self._where}, line {node.lineno}: {self._name} must import {name} by its whole name, "
                "not relative to a package"
            )
        return f"from {node.module} import {alias.name}{renamed}"

    def _from_module(self, name: str) -> None:
        """Include a name of another cell or a block; raises UnusableSource for a variable and for an unknown name."""
        space: Mapping[str, Any] = vars(self._module) if self._module is not None else {}
        if name not in space:
            raise UnusableSource(f"{self._where}: {self._name} uses {name}, which is not defined there")
        value = space[name]
        if isinstance(value, ModuleType):
            self._parts[name] = f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}"
        elif isinstance(value, type) or inspect.isfunction(value) or inspect.isbuiltin(value):
            home = sys.modules.get(str(getattr(value, "__module__", None)))
            own = str(getattr(value, "__name__", name))
            if home is not None and home is not self._module and getattr(home, own, None) is value:
                renamed = f" as {name}" if name != own else ""
                self._parts[name] = f"from {home.__name__} import {own}{renamed}"
            else:
                text = source_of(value)
                self._future = self._future or text.startswith(_FUTURE)
                self._parts[name] = text.removeprefix(_FUTURE).strip()
        else:
            raise UnusableSource(_variable(self._name, name, "a variable of the notebook or script"))


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Each name that a statement at the top level binds, with that statement; the last one stays."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield _bound(alias), node
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        else:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id, node
                elif isinstance(inner, ast.Import | ast.ImportFrom):
                    for alias in inner.names:
                        yield _bound(alias), node


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min(node.lineno, *(int(one.lineno) for one in decorators)) if decorators else node.lineno


def _is_constant(node: ast.Assign | ast.AnnAssign) -> bool:
    return node.value is not None and all(isinstance(one, _CONSTANT) for one in ast.walk(node.value))


def _used(text: str, where: str) -> set[str]:
    """The names that a piece of source reads from its module, without Python's own."""
    found: set[str] = set()
    tables = [symtable.symtable(text, where, "exec")]
    top = tables[0]
    while tables:
        table = tables.pop()
        for symbol in table.get_symbols():
            outside = symbol.is_global() if table is not top else not (symbol.is_assigned() or symbol.is_namespace())
            if symbol.is_referenced() and outside:
                found.add(symbol.get_name())
        tables += table.get_children()
    return found - _BUILTINS
