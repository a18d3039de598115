"""
Live cluster -> the objects of a snapshot, by read-only lists. The only file that imports kubernetes.

Import it late: the client takes half a second to load.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import urllib3
import yaml
from kubernetes import client, config

from vzflow.flow.errors import ServiceUnavailable, UsageProblem

loaders: Any = config  # the client gives no types for them

#: Objects per page: what kubectl asks for.
PAGE = 500
#: Seconds to connect, and to wait for more of an answer.
TIMEOUT = (10, 60)
#: A list whose continuation expired (410) is begun again this often.
ATTEMPTS = 3


class Resource(NamedTuple):
    """What to list: kind, API group (empty for core), its versions with the newest first, and the name in the path."""

    kind: str
    group: str
    versions: tuple[str, ...]
    plural: str


RESOURCES = (
    Resource("Pod", "", ("v1",), "pods"),
    Resource("Service", "", ("v1",), "services"),
    Resource("EndpointSlice", "discovery.k8s.io", ("v1", "v1beta1"), "endpointslices"),
    Resource("Node", "", ("v1",), "nodes"),
    Resource("Namespace", "", ("v1",), "namespaces"),
    *(Resource(k, "apps", ("v1",), f"{k.lower()}s") for k in ("ReplicaSet", "Deployment", "StatefulSet", "DaemonSet")),
    *(Resource(k, "batch", ("v1",), f"{k.lower()}s") for k in ("Job", "CronJob")),
    Resource("PeerAuthentication", "security.istio.io", ("v1", "v1beta1"), "peerauthentications"),
    Resource("Sidecar", "networking.istio.io", ("v1", "v1beta1", "v1alpha3"), "sidecars"),
    Resource("IPPool", "crd.projectcalico.org", ("v1",), "ippools"),
    Resource("FelixConfiguration", "crd.projectcalico.org", ("v1",), "felixconfigurations"),
    Resource("ServiceCIDR", "networking.k8s.io", ("v1", "v1beta1"), "servicecidrs"),
    Resource("NetworkPolicy", "networking.k8s.io", ("v1",), "networkpolicies"),
)


@dataclass
class Fetched:
    """
    What one read of a cluster gave.

    Args:
        objects: Raw objects as kubectl writes them, each with kind and apiVersion.
        listed: Kinds that were listed whole, also those without an object.
        notes: One line for each kind that was not, with the reason.
        taken_at: Microseconds since 1970 UTC, when the first list was answered, by the API server's clock if it tells.
    """

    objects: list[dict[str, Any]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken_at: int = 0


def fetch(context: str | None = None, kubeconfig: str | None = None) -> Fetched:
    """
    List what identity needs in all namespaces, and never a Secret.

    A kind that may not be listed, or does not exist, is a note; the others go on.

    Args:
        context: Of the kubeconfig; null for its current one.
        kubeconfig: Path; null for $KUBECONFIG or ~/.kube/config and, where there is none, the pod's service account.

    Raises:
        UsageProblem: The kubeconfig cannot be used, or the API server refuses its credentials.
        ServiceUnavailable: The API server does not answer, or gives no list at all.
    """
    settings = _settings(context, kubeconfig)
    fetched = Fetched()
    with client.ApiClient(settings) as api:
        for resource in RESOURCES:
            try:
                objects = _listed(api, resource, fetched)
            except client.ApiException as error:
                fetched.notes.append(_note(resource, error, settings.host))
            except urllib3.exceptions.HTTPError as error:
                raise _unreachable(settings.host, str(error)) from error
            else:
                fetched.objects += objects
                fetched.listed.append(resource.kind)
    if not fetched.listed:
        raise _unreachable(settings.host, fetched.notes[0])
    return fetched


def _settings(context: str | None, kubeconfig: str | None) -> client.Configuration:
    settings = client.Configuration()
    settings.retries = False  # urllib3 would write each retry to stderr
    try:
        loaders.load_kube_config(kubeconfig, context, settings, persist_config=False)
    except config.ConfigException as error:
        if context is None and kubeconfig is None and _in_cluster(settings):
            return settings
        raise _bad_kubeconfig(kubeconfig, str(error)) from error
    except (OSError, yaml.YAMLError, binascii.Error, UnicodeDecodeError) as error:
        raise _bad_kubeconfig(kubeconfig, str(error)) from error
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        # The client does not check the file's shape before it uses it.
        raise _bad_kubeconfig(kubeconfig, "it does not have the shape of a kubeconfig") from error
    return settings


def _in_cluster(settings: client.Configuration) -> bool:
    try:
        loaders.load_incluster_config(settings)
    except config.ConfigException:
        return False
    return True


def _bad_kubeconfig(kubeconfig: str | None, why: str) -> UsageProblem:
    what = f"cannot be used: {' '.join(why.split())}"
    return UsageProblem(what, at=kubeconfig or "kubeconfig", do="Name a kubeconfig and a context that kubectl accepts.")


def _unreachable(host: str, why: str) -> ServiceUnavailable:
    what = f"no list from the API server: {' '.join(why.split())}"
    return ServiceUnavailable(what, at=host, do="Check that `kubectl get pods -A` works with this kubeconfig.")


def _note(resource: Resource, error: client.ApiException, host: str) -> str:
    if error.status == 0:  # how the client reports a TLS failure
        raise _unreachable(host, str(error.reason)) from error
    if error.status == 401:
        do = "Log in again, or name another kubeconfig or context."
        raise UsageProblem("the API server refuses the credentials (401)", at=host, do=do) from error
    why = {403: "not permitted", 404: "not in this cluster"}.get(error.status, "failed")
    return f"{resource.plural}: {why} ({error.status} {error.reason}); not in the snapshot"


def _listed(api: client.ApiClient, resource: Resource, fetched: Fetched) -> list[dict[str, Any]]:
    """Return all objects of one kind, of the newest version the cluster has."""
    for version in resource.versions[:-1]:
        try:
            return _whole(api, resource, version, fetched)
        except client.ApiException as error:
            if error.status != 404:
                raise
    return _whole(api, resource, resource.versions[-1], fetched)


def _whole(api: client.ApiClient, resource: Resource, version: str, fetched: Fetched) -> list[dict[str, Any]]:
    for _ in range(ATTEMPTS - 1):
        try:
            return list(_pages(api, resource, version, fetched))
        except client.ApiException as error:
            if error.status != 410:
                raise
    return list(_pages(api, resource, version, fetched))


def _pages(api: client.ApiClient, resource: Resource, version: str, fetched: Fetched) -> Iterator[dict[str, Any]]:
    group_version = f"{resource.group}/{version}".lstrip("/")
    following: str | None = None
    while following is None or following:
        options: dict[str, Any] = {"limit": PAGE, "_preload_content": False, "_request_timeout": TIMEOUT}
        if following:
            options["_continue"] = following
        response = _request(api, resource, version, options)
        fetched.taken_at = fetched.taken_at or _date(response)
        content = _content(response, api.configuration.host)
        for item in content["items"] or ():
            yield {"apiVersion": group_version, "kind": resource.kind, **item}
        following = (content.get("metadata") or {}).get("continue") or ""


def _request(api: client.ApiClient, resource: Resource, version: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the raw answer (urllib3's, though the client types it as the deserialised one)."""
    if resource.group:
        custom = client.CustomObjectsApi(api)  # the generic path: every group's list without its own class
        return custom.list_cluster_custom_object(resource.group, version, resource.plural, **options)
    core = client.CoreV1Api(api)
    lists: dict[str, Any] = {
        "Pod": core.list_pod_for_all_namespaces,
        "Service": core.list_service_for_all_namespaces,
        "Node": core.list_node,
        "Namespace": core.list_namespace,
    }
    return lists[resource.kind](**options)


def _content(response: urllib3.HTTPResponse, host: str) -> dict[str, Any]:
    try:
        content = json.loads(response.data)
    except ValueError as error:
        raise _unreachable(host, "the answer is not JSON") from error
    finally:
        response.release_conn()
    if not isinstance(content, dict) or not isinstance(content.get("items", ""), list | None):
        raise _unreachable(host, "the answer is not a list of objects")
    return content


def _date(response: urllib3.HTTPResponse) -> int:
    """Return the API server's clock, cut to seconds: a laptop's may be wrong; its own where the server is silent."""
    written = response.headers.get("Date")
    try:
        moment = parsedate_to_datetime(written) if written else datetime.now(UTC)
    except ValueError:
        moment = datetime.now(UTC)
    return _micro(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _micro(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
