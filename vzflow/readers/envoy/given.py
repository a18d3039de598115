"""
`--envoy-format`: a format string or JSON template, or a file that holds one as users have it.

Read as files: the MeshConfig, alone, in the ConfigMap `istio` (`data.mesh`) or in an IstioOperator;
`extensionProviders` with their `logFormat`; an EnvoyFilter or Envoy's own configuration with a file access log; a bare
format string.

Source: istio/api mesh/v1alpha1/config.proto (accessLogFormat, accessLogEncoding, ExtensionProvider.logFormat),
envoyproxy/envoy api/envoy/config/core/v3/substitution_format_string.proto and
api/envoy/extensions/access_loggers/file/v3/file.proto.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from vzflow.flow.errors import Place, UsageProblem
from vzflow.readers.envoy.format import FormatProblem, TextLayout
from vzflow.readers.envoy.template import JsonLayout

OPTION = "--envoy-format"

#: A format string, or a JSON template.
Format = str | dict[str, Any]


class Given(NamedTuple):
    """
    The formats that the user gave.

    Args:
        formats: A JSON array of them, as inputs are told apart by it; null if the file leaves the format to Istio.
        notes: What to know about them, a line each.
    """

    formats: str | None
    notes: tuple[str, ...]


class Layouts(NamedTuple):
    """Formats, compiled."""

    texts: tuple[TextLayout, ...]
    templates: tuple[JsonLayout, ...]


def given(argument: str) -> Given:
    """
    Return the formats of the option's value: STR, or @FILE.

    Raises:
        UsageProblem: The file cannot be read or holds no format, or a format cannot be used; the message names the
            place in it.
    """
    place = argument[1:] if argument.startswith("@") else OPTION
    formats = _of_file(Path(argument[1:])) if argument.startswith("@") else [_of_text(argument)]
    # With the line's end or without, it is the same format.
    found = [one.removesuffix("\n") if isinstance(one, str) else one for one in formats]
    found = [one for number, one in enumerate(found) if one not in found[:number]]
    notes: list[str] = []
    for one in found:
        try:
            layout = TextLayout(one) if isinstance(one, str) else JsonLayout(one)
        except FormatProblem as problem:
            raise UsageProblem(f"format, {problem.at}: {problem.what}", at=Place(place), do=problem.do) from problem
        if not layout.columns & _ENDS:
            what = "the format tells of no end of a connection"
            raise UsageProblem(what, at=Place(place), do="It needs an operator such as %DOWNSTREAM_LOCAL_ADDRESS%.")
        notes += [f"{place}: {note}." for note in layout.notes]
    if not found:
        return Given(None, (f"{place}: leaves the format to Istio, so its default layouts are read.",))
    return Given(json.dumps(found, sort_keys=True, default=str), tuple(notes))


#: A flow without one of these would be of nobody.
_ENDS = frozenset((
    "downstream_local_address", "downstream_remote_address", "downstream_direct_remote_address",
    "downstream_local_address_without_port", "downstream_remote_address_without_port",
    "downstream_direct_remote_address_without_port", "upstream_host", "upstream_remote_address",
    "upstream_remote_address_without_port",
))  # fmt: skip


@lru_cache(maxsize=16)
def compiled(formats: str) -> Layouts:
    """Return the parsers of what `given` returned."""
    found: list[Format] = json.loads(formats)
    return Layouts(
        tuple(TextLayout(one) for one in found if isinstance(one, str)),
        tuple(JsonLayout(one) for one in found if not isinstance(one, str)),
    )


def _of_text(text: str) -> Format:
    if text.lstrip().startswith("{"):
        try:
            template = json.loads(text)
        except ValueError:
            return text
        if isinstance(template, dict):
            return template
    return text


def _of_file(path: Path) -> list[Format]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UsageProblem(what, at=Place(str(path)), do="Name a file with a format.") from error
    except UnicodeDecodeError as error:
        raise UsageProblem("not UTF-8 text", at=Place(str(path)), do="Name a file with a format.") from error
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError, ValueError):
        documents = []
    if not any(isinstance(one, (dict, list)) for one in documents):
        documents = []
    found = [one for document in documents for one in _formats_in(document, path)]
    if found or _is_mesh(documents):
        return found
    bare = _of_text(text.strip())
    if "%" not in text or (documents and isinstance(bare, str)):
        what = "no accessLogFormat, logFormat, text_format, json_format or format string"
        raise UsageProblem(what, at=Place(str(path)), do="Name the MeshConfig, the EnvoyFilter or the format string.")
    return [bare]


def _is_mesh(value: object) -> bool:
    """Whether this is a mesh configuration, which need not name a format."""
    if isinstance(value, list):
        return any(_is_mesh(one) for one in value)
    if not isinstance(value, dict):
        return False
    return "accessLogFile" in value or any(
        _is_mesh(_mesh_of(inner) if key == "mesh" and isinstance(inner, str) else inner) for key, inner in value.items()
    )


def _formats_in(value: object, path: Path) -> Iterator[Format]:
    """Yield every format in a document, wherever it stands."""
    if isinstance(value, list):
        for one in value:
            yield from _formats_in(one, path)
        return
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == "accessLogFormat" and isinstance(inner, str) and inner.strip():
            yield _of_mesh(inner, str(value.get("accessLogEncoding", "TEXT")), path)
        elif key == "mesh" and isinstance(inner, str):
            yield from _formats_in(_mesh_of(inner), path)
        elif key in ("logFormat", "log_format") and isinstance(inner, Mapping):
            yield from _of_log_format(inner)
        elif _is_old_format(key, inner, value):
            yield inner
        else:
            yield from _formats_in(inner, path)


def _is_old_format(key: object, inner: object, beside: Mapping[str, Any]) -> bool:
    """Whether this is a format of Envoy's file access log before 1.16, which stands beside the path."""
    if key == "format":
        return isinstance(inner, str) and "path" in beside and "%" in inner
    names = ("jsonFormat", "json_format", "typedJsonFormat", "typed_json_format")
    return key in names and isinstance(inner, dict)


def _of_mesh(text: str, encoding: str, path: Path) -> Format:
    if encoding.upper() != "JSON":
        return text
    template = _of_text(text)
    if isinstance(template, str):
        what = "accessLogEncoding is JSON and accessLogFormat is no JSON object, so Istio prints its default"
        raise UsageProblem(what, at=Place(str(path)), do="Correct it, or leave the option out.")
    return template


def _of_log_format(inner: Mapping[str, Any]) -> Iterator[Format]:
    """Yield what Istio's `logFormat` (text, labels) or Envoy's `log_format` gives; an OpenTelemetry one has both."""
    source = inner.get("textFormatSource", inner.get("text_format_source"))
    inline = source.get("inlineString", source.get("inline_string")) if isinstance(source, Mapping) else None
    for text in (inner.get("text"), inner.get("textFormat", inner.get("text_format")), inline):
        if isinstance(text, str) and text.strip():
            yield text
    for labels in (inner.get("labels"), inner.get("jsonFormat", inner.get("json_format"))):
        if isinstance(labels, dict) and labels:
            yield labels


def _mesh_of(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
