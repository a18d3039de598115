"""Which namespace's policies are for the whole mesh, by what Istio's MeshConfig says as of then."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity.identity_support import KINDS, World, meta, objects, peer_authentication, pod, us

from vzflow.identity.kept import kept, mesh_config
from vzflow.identity.snapshot import load, save
from vzflow.identity.timeline import timeline

MEMBER = pod("web", "10.0.0.1", "12:00", containers=[{"name": "app"}, {"name": "istio-proxy"}])
USUAL = peer_authentication("default", "PERMISSIVE")
OTHER = peer_authentication("default", "STRICT", namespace="mesh-policy")
STRICT, PERMISSIVE = [(3, "STRICT")], [(3, "PERMISSIVE")]


def config(root=None, *, name="istio", namespace="istio-system", created="02:00"):
    text = "trustDomain: cluster.local\n" + (f"rootNamespace: {root}\n" if root else "")
    data = {"mesh": text, "meshNetworks": "networks: {}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, created, namespace), "data": data}


def istiod(namespace="istio-system"):
    return pod("istiod-x", "10.0.9.9", "02:00", namespace=namespace, labels={"app": "istiod"})


def required(world, clock):
    """Return, for each party on the pod's address then, level and mode of its policies."""
    rows, profiles = (
        world.rows["party_policy"],
        [world.party[p]["profile"] for p in world.parties_at("10.0.0.1", clock)],
    )
    found = ([(r["level"], r["mode"]) for r in rows if r["profile"] == profile] for profile in profiles)
    return sorted(found)


def in_force(*items):
    return required(World(("13:00", [MEMBER, USUAL, OTHER, *items])), "12:30")


def test_policies_of_the_root_namespace_that_the_mesh_config_names_are_for_the_whole_mesh():
    """And those of istio-system are for istio-system then."""
    assert in_force(config("mesh-policy")) == [STRICT]


@pytest.mark.parametrize("items", [[], [config()], [config("istio-system")]])
def test_where_no_mesh_config_names_a_root_it_is_istio_system(items):
    """Istio's default."""
    assert in_force(*items) == [PERMISSIVE]


def test_the_root_is_as_of_then_and_both_between_two_snapshots():
    """Somebody moved it; nobody saw when. Requirements that differ are unknown instead of wrong."""
    others = [MEMBER, USUAL, OTHER]
    world = World(("13:00", [*others, config("istio-system")]), ("15:00", [*others, config("mesh-policy")]))
    assert [required(world, t) for t in ("12:30", "14:00", "15:30")] == [
        [PERMISSIVE], [PERMISSIVE, STRICT], [STRICT]
    ]  # fmt: skip


def test_of_control_planes_that_differ_each_may_be_a_pods():
    """A pod's revision decides; a canary's ConfigMap carries its revision's name."""
    assert in_force(config("istio-system"), config("mesh-policy", name="istio-canary")) == [PERMISSIVE, STRICT]
    assert in_force(config("mesh-policy"), config("mesh-policy", name="istio-canary")) == [STRICT]


@pytest.mark.parametrize("named", [("mesh-policy", None), (None, "mesh-policy")])
def test_a_control_plane_that_names_no_root_keeps_its_own_beside_one_that_does(tmp_path, named):
    """Istio's default is its answer, also in what `vzflow snapshot` saved."""
    configs = [config(named[0]), config(named[1], name="istio-canary")]
    assert in_force(*configs) == [PERMISSIVE, STRICT]
    save([MEMBER, USUAL, OTHER, *configs], tmp_path / "saved.json", us("13:00"), KINDS)
    parties = timeline(load([tmp_path / "saved.json"], "c")).parties.values()
    found = sorted([(q.level, q.mode) for q in p.traits.policies] for p in parties if p.traits.kind == "pod")
    assert found == [PERMISSIVE, STRICT]


def test_a_config_map_is_believed_beside_istiod_alone_where_istiod_is_known():
    """Whoever may write into one namespace must not decide for all."""
    foreign = config("mesh-policy", namespace="shop")
    assert in_force(istiod(), foreign) == [PERMISSIVE]
    assert in_force(istiod(), istiod("shop"), foreign) == [STRICT]
    assert in_force(foreign) == [STRICT], "istiod may run elsewhere"


def test_a_list_of_the_one_named_istio_ends_it_and_no_revisions():
    """`vzflow snapshot` asks for that name only, so that others are in none of its lists."""
    canary = config("mesh-policy", name="istio-canary")
    listed = (*KINDS, "ConfigMap")

    def after(one):
        first = objects(("13:00", [MEMBER, USUAL, OTHER, one]), ("15:00", [MEMBER, USUAL, OTHER]), listed=listed)
        return required(World(table=first), "15:30")

    assert (after(config("mesh-policy")), after(canary)) == ([PERMISSIVE], [STRICT])


def test_policies_are_known_from_one_in_the_root_namespace_that_is_named():
    """One in istio-system then says nothing of the mesh's own."""
    of_root = objects(("13:00", [MEMBER, OTHER, config("mesh-policy")]), listed=("Pod",))
    assert timeline(of_root).policy_known == {"prod"}
    elsewhere = objects(("13:00", [MEMBER, USUAL, config("mesh-policy")]), listed=("Pod",))
    assert timeline(elsewhere).policy_known == set()


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("rootNamespace: a\n", "a"),
        ('{"defaultConfig": {"rootNamespace": "b"}, "rootNamespace": "a"}', "a"),
        ("defaultConfig:\n  rootNamespace: b\n", None),
        ("rootNamespace:\n", None),
        ("rootNamespace: ~\n", None),
        ("- rootNamespace\n- a\n", None),
        ("x: rootNamespace\ny: a\n", None),
        ("? [rootNamespace]\n: a\n", None),
        ("a: &x b\n*x : 1\nrootNamespace: a\n", "a"),
        ("rootNamespace: [a\n", None),
        ("[" * 100_000, None),
        ("\x00", None),
        ("", None),
    ],
)
def test_of_a_mesh_config_the_root_namespace_alone_is_read(text, root):
    """It is YAML or JSON; what nobody can read names none, as for Istio."""
    found = mesh_config(text)
    assert json.loads(found) == ({"rootNamespace": root} if root else {})
    assert mesh_config(found) == found


@given(st.text() | st.text(alphabet="rootNamespace:{}[]&*-?|>!~ \n\t\"'"))
def test_whatever_a_mesh_config_says_it_is_read_or_passed_over(text):
    """Anybody may write anything into a ConfigMap."""
    found = mesh_config(text)
    assert mesh_config(found) == found


def test_of_config_maps_only_the_mesh_config_is_kept_and_of_it_the_root_namespace(tmp_path):
    """Programs write passwords into ConfigMaps; `kubectl get cm -A` has them all."""
    mesh = config("mesh-policy")
    mesh["data"]["mesh"] += "extensionProviders: [{name: hunter2}]\n"
    others = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, "02:00", "shop"), "data": {"x": "hunter2"}}
        for name in ("settings", "istio-ca-root-cert")
    ]
    save([mesh, *others], tmp_path / "saved.json", us("12:00"), KINDS)
    assert "hunter2" not in (tmp_path / "saved.json").read_text()
    (tmp_path / "raw.json").write_text(json.dumps({"kind": "List", "items": [mesh, *others]}))
    for path in (tmp_path / "saved.json", tmp_path / "raw.json"):
        rows = [r for r in load([path], "c").to_pylist() if r["kind"] == "ConfigMap"]
        assert [r["name"] for r in rows] == ["istio"]
        assert json.loads(rows[0]["object"])["data"] == {"mesh": '{"rootNamespace": "mesh-policy"}'}
    assert kept("ConfigMap", config())["data"] == {"mesh": "{}"}
