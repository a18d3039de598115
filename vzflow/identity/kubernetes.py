"""
One API server, asked by read-only requests. The only file that imports kubernetes.

Import it late: the client takes half a second to load.
"""

from __future__ import annotations

import binascii
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import urllib3
import yaml
from kubernetes import client, config

from vzflow.flow.errors import ServiceUnavailable, UsageProblem
from vzflow.identity.kept import MESH_CONFIG

loaders: Any = config  # the client gives no types for them

#: Seconds to connect, and to wait for more of an answer.
CONNECT, TIMEOUT = 10.0, 60.0
#: A clock is believed when it is this close to the API server's, whose Date is cut to seconds: microseconds.
_CLOSE = 2_000_000
_UNCONNECTED = (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Resource(NamedTuple):
    """
    What to read: kind, API group (empty for core), its versions with the newest first, and the name in the path.

    Where *only* is not empty, no objects of another name.
    """

    kind: str
    group: str
    versions: tuple[str, ...]
    plural: str
    only: str = ""

    @property
    def full_name(self) -> str:
        """As `kubectl auth can-i list NAME` takes it."""
        return f"{self.plural}.{self.group}".rstrip(".") + (f"/{self.only}" if self.only else "")


#: Each is in pipelines/kubernetes/rbac.yaml, and nothing else is: a test compares them.
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
    Resource("ConfigMap", "", ("v1",), "configmaps", MESH_CONFIG),
)


class ApiError(Exception):
    """The API server answered with an error; `retry_after` is in seconds, null where it does not say."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        self.status, self.reason, self.retry_after = status, reason, retry_after
        super().__init__(f"{status} {reason}")


class NoAnswerError(Exception):
    """No whole answer came: refused, cut, or too slow. `nobody`: no connection was made, now or earlier."""

    def __init__(self, error: Exception, *, nobody: bool = False) -> None:
        self.nobody = nobody
        super().__init__(" ".join(str(error).split()))


class ApiServer:
    """
    A connection to the API server of one context.

    Args:
        context: Of the kubeconfig; null for its current one.
        kubeconfig: Path; null for $KUBECONFIG or ~/.kube/config and, where there is none, the pod's service account.
        timeout: Seconds to wait for more of an answer.
        connections: How many requests go on at once.

    Raises:
        UsageProblem: The kubeconfig cannot be used.
    """

    def __init__(
        self, context: str | None = None, kubeconfig: str | None = None, timeout: float = TIMEOUT, connections: int = 1
    ) -> None:
        self._from = (context, kubeconfig)
        self.timeout = timeout
        self._connections = connections
        self._ahead = 0
        self._known = False
        self.renew()

    def renew(self) -> None:
        """Read the kubeconfig again, for credentials that the API server no longer takes."""
        settings = _settings(*self._from)
        settings.connection_pool_maxsize = self._connections
        self.host: str = settings.host
        self._api: Any = client.ApiClient(settings)

    def close(self) -> None:
        self._api.close()

    def ask(
        self, resource: Resource, version: str, *, wait: float | None = None, **options: Any  # noqa: ANN401
    ) -> urllib3.HTTPResponse:  # fmt: skip
        """
        Return the answer to a list, or to a watch, of one kind in all namespaces; its body is still to be read.

        Args:
            resource: What.
            version: Of its API.
            wait: Seconds to wait for more of it; null for the usual time.
            options: Of the request, as the client names them: `limit`, `_continue`, `resource_version`, `watch`.

        Raises:
            ApiError: The API server refuses it.
            NoAnswerError: It does not answer.
            ServiceUnavailable: Its certificate is not trusted.
        """
        if resource.only:  # a right to named objects takes it: RBAC compares this name with resourceNames
            options["field_selector"] = f"metadata.name={resource.only}"
        options["_preload_content"] = False
        options["_request_timeout"] = (min(CONNECT, self.timeout), self.timeout if wait is None else wait)
        try:
            response: urllib3.HTTPResponse = _request(self._api, resource, version, options)
        except client.ApiException as error:
            if not error.status:  # how the client reports a TLS failure
                raise unreachable(self.host, str(error.reason)) from error
            self._known = True
            raise ApiError(error.status, str(error.reason), _seconds(error.headers)) from error
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswerError(error, nobody=not self._known and isinstance(error, _UNCONNECTED)) from error
        self._known = True
        self._compare_clocks(response)
        return response

    def now(self) -> int:
        """Return microseconds since 1970 UTC by the API server's clock: a laptop's may be wrong."""
        return _micro(datetime.now(UTC)) + self._ahead

    def _compare_clocks(self, response: urllib3.HTTPResponse) -> None:
        """
        Note how far the API server's clock is ahead: nothing where it is silent, or where the clocks agree.

        What was noted stays while it fits, or times would go back by what Date leaves out.
        """
        ahead = _answered_at(response) - _micro(datetime.now(UTC))
        if abs(ahead - self._ahead) > _CLOSE:
            self._ahead = ahead if abs(ahead) > _CLOSE else 0


def _answered_at(response: urllib3.HTTPResponse) -> int:
    """Return microseconds since 1970 UTC by the API server's clock, cut to seconds; by the own where it is silent."""
    written = response.headers.get("Date")
    try:
        moment = parsedate_to_datetime(written) if written else datetime.now(UTC)
    except ValueError:
        moment = datetime.now(UTC)
    return _micro(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def unreachable(host: str, why: str) -> ServiceUnavailable:
    """Return the error for an API server from which nothing can be had."""
    what = f"no list from the API server: {' '.join(why.split())}"
    return ServiceUnavailable(what, at=host, do="Check that `kubectl get pods -A` works with this kubeconfig.")


def unauthorized(host: str) -> UsageProblem:
    """Return the error for credentials that are not taken (401)."""
    do = "Log in again, or name another kubeconfig or context."
    return UsageProblem("the API server refuses the credentials (401)", at=host, do=do)


def _settings(context: str | None, kubeconfig: str | None) -> client.Configuration:
    settings = client.Configuration()
    settings.retries = False  # urllib3 would write each retry to stderr
    settings.keep_alive = True  # or a router that forgot a quiet watch would not be noticed
    try:
        with _complaints() as complaints:
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
    if complaints:
        # An exec plugin that failed; the client would go on without credentials.
        raise _bad_kubeconfig(kubeconfig, complaints[0])
    return settings


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Yield what the client logs as errors meanwhile; none of it reaches stderr."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Handler(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(handler)


def _in_cluster(settings: client.Configuration) -> bool:
    try:
        loaders.load_incluster_config(settings)
    except config.ConfigException:
        return False
    return True


def _bad_kubeconfig(kubeconfig: str | None, why: str) -> UsageProblem:
    what = f"cannot be used: {' '.join(why.split()).rstrip('.')}"
    return UsageProblem(what, at=kubeconfig or "kubeconfig", do="Name a kubeconfig and a context that kubectl accepts.")


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
        "ConfigMap": core.list_config_map_for_all_namespaces,
    }
    return lists[resource.kind](**options)


def _seconds(headers: Any) -> float | None:  # noqa: ANN401 - urllib3's, or none
    """Return what Retry-After says, in seconds from now (RFC 9110 section 10.2.3)."""
    written = (headers or {}).get("Retry-After", "").strip()
    if written.isascii() and written.isdigit():
        return float(written)
    try:
        moment = parsedate_to_datetime(written) if written else None
    except ValueError:
        return None
    if moment is None or moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _micro(moment: datetime) -> int:
    return (moment - _EPOCH) // datetime.resolution
