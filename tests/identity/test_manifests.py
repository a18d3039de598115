"""What runs vzflow in a cluster: least rights, schemas of Kubernetes, the restricted pod security standard, kubectl."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from identity.api_server import api_server, kubeconfig

from vzflow.identity.kubernetes import RESOURCES
from vzflow.pipeline.health import pages

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "pipelines" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
OBJECTS = [(path.name, item) for path in FILES for item in yaml.safe_load_all(path.read_text())]
#: The oldest that is still in use, and the newest there are schemas of.
VERSIONS = ("1.28", kubernetes_validate.latest_version())


def of_kind(kind):
    return [item for _, item in OBJECTS if item["kind"] == kind]


def pod_specs():
    for item in of_kind("Deployment"):
        yield item["spec"]["template"]["spec"]
    for item in of_kind("CronJob"):
        yield item["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("item", [pytest.param(i, id=f"{name} {i['kind']}") for name, i in OBJECTS])
def test_manifest_is_what_kubernetes_takes(item, version):
    """Every field is one of that release's schema: a misspelt one would be dropped in silence."""
    kubernetes_validate.validate(item, version, strict=True)


def test_a_misspelt_field_is_seen():
    """The check above is one."""
    (deployment,) = of_kind("Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            deployment | {"spec": deployment["spec"] | {"replica": 1}}, VERSIONS[0], strict=True
        )


def test_the_role_permits_what_is_read_and_nothing_else():
    """A kind more is a right too many, a kind less is a gap in every snapshot; never Secrets, never a write."""
    (role,) = of_kind("ClusterRole")
    permitted = [
        (group, plural) for rule in role["rules"] for group in rule["apiGroups"] for plural in rule["resources"]
    ]
    assert sorted(permitted) == sorted((r.group, r.plural) for r in RESOURCES)
    assert {tuple(rule["verbs"]) for rule in role["rules"]} == {("get", "list", "watch")}
    assert {key for rule in role["rules"] for key in rule} == {"apiGroups", "resources", "resourceNames", "verbs"}
    named = {(rule["resources"][0], *rule["resourceNames"]) for rule in role["rules"] if "resourceNames" in rule}
    assert named == {(r.plural, r.only) for r in RESOURCES if r.only}


def test_the_role_is_bound_to_the_account_the_pods_run_as():
    """And to nobody else."""
    (binding,), (role,), (account,) = of_kind("ClusterRoleBinding"), of_kind("ClusterRole"), of_kind("ServiceAccount")
    named = {key: account["metadata"][key] for key in ("name", "namespace")}
    assert binding["subjects"] == [{"kind": "ServiceAccount", **named}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {spec["serviceAccountName"] for spec in pod_specs()} == {account["metadata"]["name"]}
    namespaces = {item["metadata"].get("namespace") for _, item in OBJECTS} - {None}
    assert namespaces == {item["metadata"]["name"] for item in of_kind("Namespace")}


@pytest.mark.parametrize("spec", [*pod_specs()], ids=lambda spec: spec["containers"][0]["name"])
def test_pods_meet_the_restricted_standard_and_write_only_to_volumes(spec):
    """The namespace enforces it; https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all(volume.keys() <= {"name", "emptyDir", "persistentVolumeClaim"} for volume in spec["volumes"])
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert container["resources"]["limits"]["memory"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    written = container["args"][container["args"].index("--output") + 1]
    assert {written.rstrip("/"), "/tmp"} == mounted


def test_probes_and_scrapes_ask_for_pages_that_are_served():
    """At the port the recorder listens at."""
    (deployment,) = of_kind("Deployment")
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    asked = {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    scraped = template["metadata"]["annotations"]
    assert asked | {scraped["prometheus.io/path"]} == set(pages([]))
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {port["name"]}
    assert f"0.0.0.0:{port['containerPort']}" in container["args"]
    assert scraped["prometheus.io/port"] == str(port["containerPort"])


def test_volumes_are_claimed():
    """By the name the claim in the same file has."""
    claims = {item["metadata"]["name"] for item in of_kind("PersistentVolumeClaim")}
    used = {
        v["persistentVolumeClaim"]["claimName"]
        for spec in pod_specs()
        for v in spec["volumes"]
        if "persistentVolumeClaim" in v
    }
    assert used == claims


def test_kustomization_names_files_that_are_there_and_this_version():
    """And the image the manifests name."""
    content = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert {*content["resources"]} <= {path.name for path in FILES}
    (image,) = content["images"]
    assert {c["image"] for spec in pod_specs() for c in spec["containers"]} == {image["name"]}
    assert image["newTag"] == tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]


GROUPS = {
    "v1": ["Namespace", "ServiceAccount", "PersistentVolumeClaim"],
    "apps/v1": ["Deployment"],
    "batch/v1": ["CronJob"],
    "rbac.authorization.k8s.io/v1": ["ClusterRole", "ClusterRoleBinding"],
}


def discovery():
    """What kubectl asks an API server before it looks at a manifest."""
    groups = [{"groupVersion": g, "version": "v1"} for g in GROUPS if "/" in g]
    found = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [{"name": g["groupVersion"].split("/")[0], "versions": [g], "preferredVersion": g}
                       for g in groups],
        },
        "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    }  # fmt: skip
    for group, kinds in GROUPS.items():
        resources = [
            {"name": f"{kind.lower()}s", "singularName": kind.lower(), "kind": kind, "verbs": ["create"],
             "namespaced": kind not in ("Namespace", "ClusterRole", "ClusterRoleBinding")} for kind in kinds
        ]  # fmt: skip
        path = f"/apis/{group}" if "/" in group else f"/api/{group}"
        found[path] = {"kind": "APIResourceList", "groupVersion": group, "resources": resources}
    return found


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_kubectl_takes_the_manifests(tmp_path):
    """`--dry-run=client`: what kubectl makes of each file; and kustomize makes one of them all."""
    with api_server() as api:
        api.answers = discovery()
        words = [part for path in FILES for part in ("-f", path)]
        done = subprocess.run(
            ["kubectl", "create", "--dry-run=client", "--validate=false", "-o", "name",
             "--cache-dir", tmp_path / "cache", "--kubeconfig", kubeconfig(tmp_path, {"here": api.url}), *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(OBJECTS)
    made = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, timeout=60, check=True)
    content = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert f"image: {content['images'][0]['newName']}:{content['images'][0]['newTag']}" in made.stdout
