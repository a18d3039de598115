"""A cluster is read through the official client, from a test API server that speaks real HTTP."""

from __future__ import annotations

import json
import re
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from identity.identity_support import us
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kubernetes import ATTEMPTS, RESOURCES, fetch
from vzflow.identity.snapshot import load, save

ISTIO_V1 = "/apis/security.istio.io/v1/peerauthentications"
ISTIO_V1BETA1 = "/apis/security.istio.io/v1beta1/peerauthentications"
DATE = "Fri, 02 Jan 2026 12:00:00 GMT"


def path_of(plural: str, group: str, version: str) -> str:
    return f"/api/{version}/{plural}" if not group else f"/apis/{group}/{version}/{plural}"


class ApiServer:
    """Answers each list with what the test gave, two objects a page; whatever was not given is an empty list."""

    def __init__(self, server: HTTPServer) -> None:
        self.lists: dict[str, list[dict[str, object]]] = {
            path_of(r.plural, r.group, r.versions[0]): [] for r in RESOURCES
        }
        self.status: dict[str, int] = {}
        self.expired = 0
        self.asked: list[tuple[str, str]] = []
        server.expect_request(re.compile(".*")).respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        self.asked.append((request.method, request.path))
        if request.path in self.status:
            return Response(json.dumps({"kind": "Status"}), self.status[request.path])
        if request.path not in self.lists:
            return Response("{}", 404)
        begin = int(request.args.get("continue", "0"))
        if begin and self.expired:
            self.expired -= 1
            return Response("{}", 410)
        items = self.lists[request.path][begin : begin + 2]
        more = str(begin + 2) if begin + 2 < len(self.lists[request.path]) else ""
        content = {"kind": "XList", "metadata": {"continue": more, "resourceVersion": "7"}, "items": items}
        return Response(json.dumps(content), content_type="application/json")


@pytest.fixture
def api(httpserver: HTTPServer) -> ApiServer:
    return ApiServer(httpserver)


@pytest.fixture
def kubeconfig(tmp_path: Path, httpserver: HTTPServer) -> str:
    return str(config_for(tmp_path, httpserver.url_for("")))


def config_for(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def named(*names: str) -> list[dict[str, object]]:
    return [{"metadata": {"name": n, "namespace": "shop", "uid": n}} for n in names]


def test_all_pages_of_a_list_are_followed_and_objects_have_kubectls_shape(api, kubeconfig):
    """A list of more than one page continues by token; items of raw lists lack kind and apiVersion."""
    api.lists["/api/v1/pods"] = named("a", "b", "c", "d", "e")
    fetched = fetch(kubeconfig=kubeconfig)
    assert [o["metadata"]["name"] for o in fetched.objects] == ["a", "b", "c", "d", "e"]
    assert {(o["kind"], o["apiVersion"]) for o in fetched.objects} == {("Pod", "v1")}
    assert fetched.notes == []


def test_reading_only_ever_lists_and_never_secrets(api, kubeconfig):
    """Vzflow needs get, list and watch, and no Secret."""
    fetch(kubeconfig=kubeconfig)
    assert {method for method, _ in api.asked} == {"GET"}
    assert not [path for _, path in api.asked if "secret" in path]


def test_a_refused_kind_is_a_note_and_the_others_go_on(api, kubeconfig):
    """Least-privilege accounts may lack one kind; it must not count as listed, or its absence would be believed."""
    api.lists["/api/v1/pods"] = named("a")
    api.status[ISTIO_V1] = 403
    fetched = fetch(kubeconfig=kubeconfig)
    (note,) = fetched.notes
    assert note.startswith("peerauthentications: not permitted (403")
    assert "PeerAuthentication" not in fetched.listed
    assert {"Pod", "Node", "NetworkPolicy"} <= set(fetched.listed)


def test_an_older_api_version_is_asked_where_the_newer_is_absent(api, kubeconfig):
    """Istio served PeerAuthentication as v1beta1 before 1.22."""
    del api.lists[ISTIO_V1]
    api.lists[ISTIO_V1BETA1] = named("default")
    fetched = fetch(kubeconfig=kubeconfig)
    assert [o["apiVersion"] for o in fetched.objects] == ["security.istio.io/v1beta1"]
    assert fetched.notes == []


def test_a_kind_the_cluster_lacks_is_a_note(api, kubeconfig):
    """A cluster without Istio has no PeerAuthentications to list."""
    del api.lists[ISTIO_V1]
    fetched = fetch(kubeconfig=kubeconfig)
    assert fetched.notes == ["peerauthentications: not in this cluster (404 NOT FOUND); not in the snapshot"]


def test_a_list_whose_continuation_expired_is_begun_again(api, kubeconfig):
    """410 means that the pages no longer belong together."""
    api.lists["/api/v1/pods"] = named("a", "b", "c")
    api.expired = 1
    assert [o["metadata"]["name"] for o in fetch(kubeconfig=kubeconfig).objects] == ["a", "b", "c"]
    api.expired = ATTEMPTS
    fetched = fetch(kubeconfig=kubeconfig)
    assert fetched.notes == ["pods: failed (410 GONE); not in the snapshot"]
    assert fetched.objects == []


def test_the_snapshot_is_dated_by_the_api_servers_clock(api, kubeconfig, tmp_path, monkeypatch):
    """A laptop's clock may be wrong, and objects carry the cluster's times."""
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: DATE)
    api.lists["/api/v1/pods"] = named("a")
    fetched = fetch(kubeconfig=kubeconfig)
    save(fetched.objects, tmp_path / "s.json", fetched.taken_at, fetched.listed)
    rows = load([tmp_path / "s.json"], "c")
    assert set(rows.column("taken_at").cast("int64").to_pylist()) == {us("12:00")}
    assert rows.column("name").to_pylist()[1:] == ["a"]


def test_a_refused_connection_is_service_unavailable(tmp_path, caplog):
    """Exit 5, one line, at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        kubeconfig = config_for(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ServiceUnavailable, match=r"^http://127\.0\.0\.1:\d+: no list .* refused.* Check") as error:
            fetch(kubeconfig=str(kubeconfig))
    assert "\n" not in str(error.value)
    assert caplog.records == [], "warnings of retries would be printed"


def test_an_api_server_that_gives_no_list_at_all_is_service_unavailable(api, kubeconfig):
    """An empty snapshot would look like an empty cluster."""
    for r in RESOURCES:
        for version in r.versions:
            api.status[path_of(r.plural, r.group, version)] = 500
    with pytest.raises(ServiceUnavailable, match="pods: failed"):
        fetch(kubeconfig=kubeconfig)


def test_an_answer_that_is_no_list_is_service_unavailable(httpserver, kubeconfig):
    """A captive portal answers 200 to everything."""
    httpserver.expect_request("/api/v1/pods").respond_with_data("<html>Welcome</html>")
    with pytest.raises(ServiceUnavailable, match="the answer is not JSON"):
        fetch(kubeconfig=kubeconfig)
    httpserver.clear()
    httpserver.expect_request("/api/v1/pods").respond_with_data("[]")
    with pytest.raises(ServiceUnavailable, match="not a list of objects"):
        fetch(kubeconfig=kubeconfig)


def test_refused_credentials_are_a_usage_problem(api, kubeconfig):
    """An expired token is the user's to renew."""
    api.status["/api/v1/pods"] = 401
    with pytest.raises(UsageProblem, match="refuses the credentials"):
        fetch(kubeconfig=kubeconfig)


@pytest.mark.parametrize(
    "content", [None, "", "- a\n- b\n", "{", "contexts: 7\n", "current-context: x\ncontexts: []\n", "\x00"]
)
def test_a_bad_kubeconfig_is_a_usage_problem(tmp_path, content):
    """Whatever the client makes of it, the user sees one line with the file's name."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageProblem) as error:
        fetch(kubeconfig=str(path))
    assert str(error.value).startswith(f"{path}: cannot be used: ")
    assert "\n" not in str(error.value)


def test_an_unknown_context_is_a_usage_problem(kubeconfig):
    """A typing mistake must not read another cluster."""
    with pytest.raises(UsageProblem, match="nowhere"):
        fetch(context="nowhere", kubeconfig=kubeconfig)


def test_reading_never_rewrites_the_kubeconfig(api, kubeconfig):
    """The client would store refreshed tokens."""
    before = Path(kubeconfig).read_bytes()
    fetch(kubeconfig=kubeconfig)
    assert Path(kubeconfig).read_bytes() == before
