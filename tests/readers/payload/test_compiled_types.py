"""Types for the compiler, in a .pxd beside a module: a failed build is optional and silent, so drift is found here."""

import ast
import re
from pathlib import Path

import pytest

from vzflow.readers import payload

FILES = sorted(Path(payload.__path__[0]).glob("*.pxd"))
_FUNCTION = re.compile(r"^( *)c(?:p?)def [\w ]*?(\w+)\(([^)]*)\)", re.MULTILINE)
_CLASS = re.compile(r"^cdef class (\w+):\n((?:(?:    .*)?\n)*)", re.MULTILINE)
_FIELD = re.compile(r"^    cdef (?:public )?\w+ (\w+)$", re.MULTILINE)
_CONSTANTS = re.compile(r"^cdef \w+ ((?:\w+, )*\w+)$", re.MULTILINE)


def declared_in_python(path):
    """Names of parameters by function, slots by class, and the names the module assigns."""
    functions, classes, constants = {}, {}, set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = [argument.arg for argument in node.args.args]
        elif isinstance(node, ast.ClassDef):
            slots = [n.value for n in node.body if isinstance(n, ast.Assign) and n.targets[0].id == "__slots__"]
            classes[node.name] = set(ast.literal_eval(slots[0])) if slots else set()
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            constants.add(node.id)
    return functions, classes, constants


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_types_for_the_compiler_are_those_of_the_module(path):
    """Every function with its parameters, every class with its slots, every constant."""
    functions, classes, constants = declared_in_python(path.with_suffix(".py"))
    text = path.read_text()
    assert path.with_suffix(".py").read_text().startswith("# cython: annotation_typing=False\n")
    for _, name, parameters in _FUNCTION.findall(text):
        assert [part.removesuffix("=*").split()[-1] for part in parameters.split(",")] == functions[name], name
    for name, body in _CLASS.findall(text):
        assert set(_FIELD.findall(body)) == classes[name], name
    for names in _CONSTANTS.findall(text):
        assert set(names.split(", ")) <= constants, names


def test_there_are_types_to_compare():
    """The test above would be empty if none were found."""
    text = "".join(path.read_text() for path in FILES)
    assert len(_FUNCTION.findall(text)) > 20
    assert len(_CLASS.findall(text)) >= 4
    assert len(_CONSTANTS.findall(text)) >= 10
