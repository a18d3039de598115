"""Snapshot files in, rows of objects out, and back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from identity.identity_support import KINDS, at, endpoint_slice, node, peer_authentication, pod, service, us

from vzflow.flow.errors import UnreadableInput, UsageProblem
from vzflow.identity.snapshot import OBJECT_SCHEMA, load, save


def written(path: Path, *documents: object) -> Path:
    path.write_text("\n".join(json.dumps(d) for d in documents))
    return path


def a_list(*items: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


def listed(path: Path) -> dict[str, list[str]]:
    rows = load([path], "c").to_pylist()
    (row,) = [r for r in rows if r["kind"] == "Snapshot"]
    return json.loads(row["object"])["listed"]


def names(path: Path) -> set[str]:
    return {r["name"] for r in load([path], "c").to_pylist() if r["kind"] != "Snapshot"}


EVERYTHING = [
    pod("web", "10.0.0.1", "12:00"),
    node("n1", "192.168.0.1"),
    service("web", [{"port": 80}], clusterIP="10.96.0.7"),
    endpoint_slice("web", ["10.0.0.1"], 8080),
    peer_authentication("default", "STRICT"),
]


def test_rows_are_in_the_declared_schema_with_cluster_kind_namespace_and_name(tmp_path):
    """The store appends these rows as they are."""
    table = load([written(tmp_path / "s.json", a_list(*EVERYTHING))], "prod")
    assert table.schema.equals(OBJECT_SCHEMA)
    assert {(r["cluster"], r["kind"], r["namespace"], r["name"]) for r in table.to_pylist()} >= {
        ("prod", "Pod", "shop", "web"),
        ("prod", "Node", None, "n1"),
        ("prod", "PeerAuthentication", "istio-system", "default"),
    }


def test_the_same_content_has_one_digest_whatever_its_name_or_compression(tmp_path):
    """Adding a snapshot twice must change nothing."""
    plain = written(tmp_path / "a.json", a_list(*EVERYTHING))
    packed = tmp_path / "b"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    other = written(tmp_path / "c.json", a_list(*EVERYTHING[:-1]))
    digests = [set(load([p], "c").column("snapshot").to_pylist()) for p in (plain, packed, other)]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] != set(load([plain], "other").column("snapshot").to_pylist())
    assert load([plain, packed], "c").num_rows == load([plain], "c").num_rows


def test_seen_until_is_the_newest_past_time_inside_the_objects(tmp_path):
    """Kubectl writes no time of its own, and a deletion time lies in the future."""
    dying = pod("web", "10.0.0.1", "12:00", ran="12:01", deleted="23:00")
    dying["metadata"]["managedFields"] = [{"manager": "kubelet", "time": at("12:07")}]
    path = written(tmp_path / "s.json", a_list(dying))
    assert load([path], "c").column("seen_until").cast("int64").to_pylist() == [us("12:07")] * 2
    assert load([path], "c").column("taken_at").null_count == 2
    dying["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": at("12:08")}]
    path = written(tmp_path / "t.json", a_list(dying))
    assert load([path], "c").column("seen_until").cast("int64").to_pylist() == [us("12:08")] * 2


def test_secrets_are_neither_kept_nor_named(tmp_path):
    """A list made with `kubectl get all,secrets` must not carry them any further."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3cr3t", "namespace": "shop"}, "data": {}}
    path = written(tmp_path / "s.json", a_list(secret, *EVERYTHING))
    assert "s3cr3t" not in str(load([path], "c").to_pylist())
    assert load([written(tmp_path / "t.json", secret)], "c").num_rows == 1
    unnamed = {"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": 5}]}
    assert load([written(tmp_path / "u.json", unnamed)], "c").num_rows == 1


def test_environment_and_commands_are_kept_neither_in_rows_nor_in_a_saved_snapshot(tmp_path):
    """Passwords are written down there."""
    secretive = {
        "name": "app",
        "env": [{"name": "PASSWORD", "value": "hunter2"}],
        "args": ["--password=hunter2"],
        "readinessProbe": {
            "exec": {"command": ["mysql", "-phunter2"]},
            "httpGet": {"port": 80, "httpHeaders": ["hunter2"]},
        },
    }
    item = pod("web", "10.0.0.1", "12:00", containers=[secretive], labels={"env": "prod"})
    item["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "hunter2"
    save([item], tmp_path / "saved.json", us("12:30"), KINDS)
    assert "hunter2" not in (tmp_path / "saved.json").read_text()
    saved = load([tmp_path / "saved.json"], "c")
    raw = load([written(tmp_path / "raw.json", a_list(item))], "c")
    assert "hunter2" not in str(raw.to_pylist())
    assert saved.column("object")[1] == raw.column("object")[1]
    assert '"env":"prod"' in saved.column("object")[1].as_py()


def test_which_ports_are_redirected_is_saved_and_no_other_argument(tmp_path):
    """Mesh-wide exclusions stand in no annotation."""
    words = ["istio-iptables", "-p", "15001", "-b", "*", "-d", "15090,9300", "-u", "hunter2"]
    item = pod("web", "10.0.0.1", "12:00", spec={"initContainers": [{"name": "istio-init", "args": words}]})
    save([item], tmp_path / "s.json", us("12:00"), KINDS)
    assert "hunter2" not in (tmp_path / "s.json").read_text()
    (saved,) = json.loads((tmp_path / "s.json").read_text())["items"]
    assert saved["spec"]["initContainers"][0]["args"] == ["istio-iptables", "-b", "*", "-d", "15090,9300"]


def test_a_service_selector_named_like_a_withheld_field_survives_saving(tmp_path):
    """`env` is a common label; only containers are cut."""
    save([service("web", [], selector={"env": "prod", "command": "x"})], tmp_path / "s.json", us("12:00"), KINDS)
    (item,) = json.loads((tmp_path / "s.json").read_text())["items"]
    assert item["spec"]["selector"] == {"env": "prod", "command": "x"}


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_what_save_writes_load_reads_with_its_time_and_the_kinds_it_asked_for(tmp_path, suffix):
    """Our own snapshots say what kubectl's cannot: when, and which kinds have no objects."""
    path = tmp_path / f"snap{suffix}"
    save(EVERYTHING, path, us("12:30") + 7, KINDS)
    table = load([path], "c")
    assert set(table.column("taken_at").cast("int64").to_pylist()) == {us("12:30") + 7}
    assert table.column("seen_until").equals(table.column("taken_at"))
    assert listed(path) == {kind: ["*"] for kind in KINDS}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_list_over_several_namespaces_lists_all_and_one_namespace_lists_only_itself(tmp_path):
    """`kubectl get -n shop` says nothing of pods elsewhere, and its file does not tell how it was made."""
    both = a_list(pod("a", "10.0.0.1", "12:00"), pod("b", "10.0.0.2", "12:00", namespace="bank"), node("n", "1.2.3.4"))
    assert listed(written(tmp_path / "all.json", both)) == {"Node": ["*"], "Pod": ["*"]}
    assert listed(written(tmp_path / "one.json", a_list(pod("a", "10.0.0.1", "12:00")))) == {"Pod": ["shop"]}


def test_a_single_object_is_read_and_lists_nothing(tmp_path):
    """`kubectl get pod web -o json` must not end every other pod."""
    path = written(tmp_path / "pod.json", pod("web", "10.0.0.1", "12:00"))
    assert names(path) == {"web"}
    assert listed(path) == {}


def test_documents_one_after_another_are_one_snapshot_unless_they_are_dated(tmp_path):
    """Files appended to each other are common; two dated snapshots are two moments."""
    path = written(tmp_path / "s.json", a_list(*EVERYTHING[:2]), *EVERYTHING[2:])
    assert len(names(path)) == 4
    assert len(set(load([path], "c").column("snapshot").to_pylist())) == 1
    for clock in ("12:00", "13:00"):
        save([], tmp_path / clock, us(clock), KINDS)
    path.write_text((tmp_path / "12:00").read_text() + (tmp_path / "13:00").read_text())
    assert load([path], "c").column("seen_until").cast("int64").to_pylist() == [us("12:00"), us("13:00")]


def test_a_typed_list_gives_its_items_their_kind(tmp_path):
    """`kubectl get --raw /api/v1/pods` does not repeat the kind in each item."""
    item = {k: v for k, v in pod("web", "10.0.0.1", "12:00").items() if k not in ("kind", "apiVersion")}
    path = written(tmp_path / "s.json", {"kind": "PodList", "apiVersion": "v1", "items": [item]})
    assert names(path) == {"web"}


def test_a_kind_of_the_same_name_in_another_api_group_is_not_taken_for_it(tmp_path):
    """Knative's Service holds no address of its own."""
    knative = {**service("web", []), "apiVersion": "serving.knative.dev/v1"}
    assert names(written(tmp_path / "s.json", a_list(knative))) == set()
    unversioned = endpoint_slice("web", ["10.0.0.1"], 80)
    del unversioned["apiVersion"]
    assert names(written(tmp_path / "t.json", a_list(unversioned))) == {"web-80"}


def test_addresses_are_canonical_and_headless_services_have_none(tmp_path):
    """An IPv4-mapped address is IPv4 in every table."""
    items = [pod("web", "::ffff:10.0.0.1", "12:00"), service("web", [], clusterIP="None", clusterIPs=["None"])]
    rows = load([written(tmp_path / "s.json", a_list(*items))], "c").to_pylist()
    assert json.loads(rows[1]["object"])["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert "spec" not in json.loads(rows[2]["object"])


def test_utf16_from_a_windows_shell_is_read(tmp_path):
    """PowerShell's redirection writes UTF-16 with a byte order mark."""
    (tmp_path / "s.json").write_bytes(json.dumps(a_list(*EVERYTHING)).encode("utf-16"))
    assert "web" in names(tmp_path / "s.json")


def test_an_empty_list_is_a_snapshot_of_nothing(tmp_path):
    """No objects is an answer, not an error."""
    table = load([written(tmp_path / "s.json", a_list())], "c")
    assert table.column("kind").to_pylist() == ["Snapshot"]
    assert table.column("seen_until").null_count == 1


def broken(**changes: object) -> dict[str, object]:
    item = pod("web", "10.0.0.1", "12:00")
    item["status"] |= changes
    return a_list(item)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "s.json: empty."),
        (b'{"kind": "List",\n "items": [}', "s.json:2: not JSON: Expecting value in column 12."),
        (b"apiVersion: v1\nkind: List\n", "s.json:1: not JSON"),
        (b'{"a": 1}', "s.json:1: not a Kubernetes object or list: it has no kind."),
        (b"[1, 2]", "it has no kind"),
        (b'{"kind": "List", "items": 3}', "items is not a list"),
        (b'{"kind": "List", "items": [null]}', "items[0] is not an object"),
        (b'{"kind": "List", "items": [{}]}', "items[0] has no kind"),
        (b'{"kind": "List", "items": [{"kind": []}]}', "items[0] has no kind"),
        (b'{"kind": "List", "items": [{"kind": "Pod"}]}', "items[0] (Pod) has no metadata.name"),
        (b'\n\n{"kind": "Pod", "metadata": {"name": "\\ud800"}}', "s.json:3: items[0] (Pod): a name is not text"),
        (b"[" * 100_000, "not JSON that Kubernetes writes"),
        (b"1" * 5_000, "not JSON that Kubernetes writes"),
        (b"\xff\xff\xff", "not text: byte 0"),
        (b"\x1f\x8b\x08\x00garbage", "damaged gzip"),
        (gzip.compress(b'{"kind": "List", "items": []}', mtime=0)[:-9], "damaged gzip"),
        (json.dumps(broken(podIPs="10.0.0.1")).encode(), "Pod shop/web: status.podIPs is not a list"),
        (json.dumps(broken(podIPs=[{"ip": "10.0.0"}])).encode(), "status.podIPs[0].ip holds '10.0.0', which is not"),
        (json.dumps(broken(startTime="yesterday")).encode(), "status.startTime is not a time"),
        (json.dumps(broken(startTime=5)).encode(), "status.startTime is not text"),
        (json.dumps(broken(conditions=[[]])).encode(), "status.conditions[0] is not an object"),
        (json.dumps(a_list(service("web", [{"port": True}]))).encode(), "spec.ports[0].port is not a port number"),
        (json.dumps(a_list(service("web", [{"port": 70_000}]))).encode(), "spec.ports[0].port is not a port number"),
    ],
)
def test_what_is_no_snapshot_ends_with_one_line_that_names_the_file_and_what_to_do(tmp_path, content, says):
    """Bad input is exit 3, never a traceback."""
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(UnreadableInput) as error:
        load([tmp_path / "s.json"], "c")
    message = str(error.value)
    assert says in message
    assert str(tmp_path / "s.json") in message
    assert "kubectl get" in message or "Copy the file" in message
    assert "\n" not in message


def test_a_missing_file_is_unreadable_input(tmp_path):
    """A route may name a snapshot that is not there yet."""
    with pytest.raises(UnreadableInput, match=r"nope\.json: cannot be read: No such file"):
        load([tmp_path / "nope.json"], "c")


def test_a_snapshot_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    """A half-written snapshot would end every pod it lacks."""
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageProblem, match="cannot be written"):
        save(EVERYTHING, tmp_path / "there", us("12:00"), KINDS)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
