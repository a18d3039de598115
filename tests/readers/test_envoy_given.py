"""`--envoy-format` takes a format as users have it: the string, or the file that holds it."""

from __future__ import annotations

import json

import pytest

from vzflow.flow.errors import UsageProblem
from vzflow.readers.envoy.given import given

TEXT = '%START_TIME% "%DOWNSTREAM_LOCAL_ADDRESS%" %PROTOCOL%'
TEMPLATE = {"t": "%START_TIME%", "to": "%DOWNSTREAM_LOCAL_ADDRESS%"}

MESH = "accessLogFile: /dev/stdout\naccessLogEncoding: {encoding}\naccessLogFormat: |\n  {text}\n"


def of_file(tmp_path, content, name="file.yaml"):
    file = tmp_path / name
    file.write_text(content)
    formats = given(f"@{file}").formats
    return json.loads(formats) if formats is not None else None


def indented(text, by=4):
    return "".join(" " * by + line + "\n" for line in text.splitlines())


MESH_TEXT = MESH.format(encoding="TEXT", text=TEXT)
MESH_JSON = MESH.format(encoding="JSON", text=json.dumps(TEMPLATE))
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |-\n"
PROVIDER = {"name": "x", "envoyFileAccessLog": {"path": "/dev/stdout", "logFormat": {"text": TEXT + "\n"}}}
FILE_LOG = {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/dev/stdout"}


def envoy_filter(log):
    patch = {"operation": "MERGE", "value": {"typed_config": {"access_log": [{"typed_config": FILE_LOG | log}]}}}
    return json.dumps({"kind": "EnvoyFilter", "spec": {"configPatches": [{"patch": patch}]}})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (MESH_TEXT, [TEXT]),
        (MESH_JSON, [TEMPLATE]),
        (CONFIG_MAP + indented(MESH_TEXT), [TEXT]),
        (CONFIG_MAP + indented(MESH_JSON), [TEMPLATE]),
        (json.dumps({"kind": "ConfigMap", "data": {"mesh": MESH_TEXT}}), [TEXT]),
        (json.dumps({"kind": "IstioOperator", "spec": {"meshConfig": {"accessLogFormat": TEXT}}}), [TEXT]),
        (json.dumps({"extensionProviders": [PROVIDER]}), [TEXT]),
        (json.dumps({"extensionProviders": [{"envoyOtelAls": {"logFormat": {"text": TEXT, "labels": TEMPLATE}}}]}),
         [TEXT, TEMPLATE]),
        (json.dumps({"extensionProviders": [{"envoyFileAccessLog": {"logFormat": {"labels": TEMPLATE}}}]}), [TEMPLATE]),
        ("kind: Telemetry\n---\n" + json.dumps({"extensionProviders": [PROVIDER, PROVIDER]}), [TEXT]),
        (envoy_filter({"log_format": {"text_format_source": {"inline_string": TEXT}}}), [TEXT]),
        (envoy_filter({"log_format": {"text_format": TEXT}}), [TEXT]),
        (envoy_filter({"logFormat": {"textFormatSource": {"inlineString": TEXT}}}), [TEXT]),
        (envoy_filter({"log_format": {"json_format": TEMPLATE}}), [TEMPLATE]),
        (envoy_filter({"format": TEXT}), [TEXT]),
        (envoy_filter({"json_format": TEMPLATE}), [TEMPLATE]),
        (TEXT + "\n", [TEXT]),
        ("[%START_TIME%] %DOWNSTREAM_LOCAL_ADDRESS%", ["[%START_TIME%] %DOWNSTREAM_LOCAL_ADDRESS%"]),
        (json.dumps(TEMPLATE, indent=2), [TEMPLATE]),
        ("accessLogFile: /dev/stdout\n", None),
        (CONFIG_MAP + "    accessLogFile: /dev/stdout\n", None),
        ("accessLogFile: /dev/stdout\naccessLogFormat: ''\n", None),
    ],
)  # fmt: skip
def test_format_is_found_where_users_have_it(tmp_path, content, found):
    """MeshConfig, its ConfigMap, providers, an EnvoyFilter, a bare string; null leaves it to Istio."""
    assert of_file(tmp_path, content) == found


def test_mesh_that_leaves_the_format_to_istio_is_told(tmp_path):
    """The user gave a file, and its effect is none."""
    (tmp_path / "mesh.yaml").write_text("accessLogFile: /dev/stdout\n")
    assert "leaves the format to Istio" in given(f"@{tmp_path}/mesh.yaml").notes[0]


def test_string_is_a_template_if_it_is_a_json_object():
    """JSON text is a template; what only looks like it is a format string."""
    assert json.loads(given(json.dumps(TEMPLATE)).formats) == [TEMPLATE]
    text = '{"to": "%DOWNSTREAM_LOCAL_ADDRESS%", "code": %RESPONSE_CODE%}'
    assert json.loads(given(text).formats) == [text]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a: 1\n", "no accessLogFormat"),
        ("hello\n", "no accessLogFormat"),
        ("", "no accessLogFormat"),
        (MESH.format(encoding="JSON", text="not an object %START_TIME%"), "is no JSON object"),
        (MESH.format(encoding="TEXT", text="%START_TIME% %REQ%"), "character 14: %REQ% lacks its argument"),
        (MESH.format(encoding="TEXT", text='{\n    "a": "%START_TIME%"\n  }'), "a line break"),
        (MESH.format(encoding="JSON", text='{"a": {"b": "%REQ(x?y?z)%"}}'), "key a.b, character 1: more than one"),
        (MESH.format(encoding="TEXT", text="%START_TIME% %REQ(USER-AGENT)%"), "tells of no end of a connection"),
    ],
)  # fmt: skip
def test_file_that_cannot_be_used_is_told_by_place_and_what_to_do(tmp_path, content, what):
    """One line, exit 2, before anything is stored."""
    file = tmp_path / "mesh.yaml"
    file.write_text(content)
    with pytest.raises(UsageProblem, match=what.replace("(", "\\(")) as caught:
        given(f"@{file}")
    assert str(caught.value).startswith(f"{file}: ")
    assert caught.value.do
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_is_told(tmp_path):
    """A name that was mistyped."""
    with pytest.raises(UsageProblem, match="cannot be read: No such file"):
        given(f"@{tmp_path}/none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match="not UTF-8"):
        given(f"@{tmp_path}/binary")


def test_option_is_the_place_of_a_string():
    """There is no file to name."""
    with pytest.raises(UsageProblem, match=r"^--envoy-format: format, character 1: no operator"):
        given("hello")
