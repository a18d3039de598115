"""
Stands in for the `cython` module where Python interprets a compiled module's source and Cython is not installed.

    try:
        import cython
    except ImportError:
        from vzflow.readers import _nocython as cython

Cython itself never sees this: while it compiles, `cython` is its own. Mypy is told of `cython` in typings/.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

compiled = False


class _Kind:
    """A C type: `declare` and `cast` take it, and what is written around it in annotations means nothing here."""

    def __init__(self, python: type) -> None:
        self.python = python

    def __call__(self, value: Any = 0) -> Any:  # noqa: ANN401 - any value
        return value if isinstance(value, self.python) else self.python(value)

    def __getitem__(self, part: object) -> _Kind:  # a buffer: kind[::1]
        return self


class _Modifier:
    """`const[kind]` is that kind."""

    def __getitem__(self, kind: _T) -> _T:
        return kind


# As in C's headers: s- is signed, u- unsigned. Nothing wraps around: sources mask where C would.
char = schar = uchar = short = ushort = int = uint = long = ulong = longlong = ulonglong = _Kind(builtins.int)
Py_ssize_t = size_t = ssize_t = Py_hash_t = _Kind(builtins.int)
float = double = _Kind(builtins.float)
bint = _Kind(builtins.bool)
void = _Kind(builtins.object)
const = _Modifier()


def _as_it_is(thing: _T, /) -> _T:
    return thing


def _says_nothing(*_: object, **__: object) -> Callable[[_T], _T]:
    return _as_it_is


cclass = cfunc = ccall = inline = final = typedef = _as_it_is
boundscheck = wraparound = cdivision = initializedcheck = overflowcheck = nonecheck = _says_nothing
exceptval = returns = locals = freelist = auto_pickle = _says_nothing


class _Gil:
    """A decorator, one with an argument, and a context, in one."""

    def __call__(self, thing: Any, /) -> Any:  # noqa: ANN401 - a function, or whether it holds
        return thing if callable(thing) else self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


nogil = gil = with_gil = _Gil()


def declare(kind: Any = None, value: Any = None, **_: object) -> Any:  # noqa: ANN401 - as Cython has it
    """Return *value* as *kind*, or nothing yet."""
    return None if value is None else cast(kind, value)


def cast(kind: Any, value: Any, *, typecheck: builtins.bool = False) -> Any:  # noqa: ANN401 - as Cython has it
    """Return *value*, converted where it is not of *kind* already. A cast to a class of Python's changes nothing."""
    return kind(value) if isinstance(kind, _Kind) else value


def likely(condition: _T) -> _T:
    """Return *condition*."""
    return condition


unlikely = likely
