"""The services that the core hands to a provisioner: reading an administrator's Secret, and the request hook.

An account that may write StorageClasses chooses which Secret is read, and to which server its content is sent. In a
release for the whole cluster RBAC cannot limit the namespaces of those Secrets, so there is a setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._kube.errors import Forbidden, KubeError, NotFound
from libbucket._kube.resources import SECRETS
from libbucket._reconcile.model.manifests import decode_data
from libbucket.errors import AdminSecretMissing, InvalidParameters, Reason, RetrySoon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.apply.request_tracker import RequestTracker
    from libbucket.types import SecretStr


class AdminSecrets:
    """Reads Secrets at every call: a rotated one is used at once, and nothing is kept in memory.

    Args:
        client: reads the Secrets.
        namespaces: of Secrets that may be read; empty for all.
    """

    def __init__(self, client: KubeClient, namespaces: Sequence[str] = ()) -> None:
        self._client = client
        self._namespaces = tuple(namespaces)

    def __call__(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        """The decoded `data` of a Secret.

        Raises:
            AdminSecretMissing: it does not exist, or may not be read.
            InvalidParameters: Secrets of the namespace may not be read.
            RetrySoon: the API server did not answer.
        """
        if self._namespaces and namespace not in self._namespaces:
            raise InvalidParameters([_not_allowed(namespace, self._namespaces)])
        where = f"Secret {namespace}/{name}, which the class names (secretNamespace, secretName),"
        try:
            return decode_data(self._client.read(SECRETS, name, namespace=namespace).data)
        except NotFound as error:
            raise AdminSecretMissing(f"{where} does not exist") from error
        except Forbidden as error:
            raise AdminSecretMissing(f"{where} may not be read: grant the provisioner 'get' on it") from error
        except KubeError as error:
            raise RetrySoon(f"{where} could not be read", reason=Reason.CLUSTER_UNAVAILABLE) from error


def request_hook(check_leadership: Callable[[], None], requests: RequestTracker) -> Callable[[], None]:
    """Builds `Services.before_request`, which serves fencing and request tracking at once.

    Authors of provisioners have one hook to call, so that they cannot forget one of the two.

    Args:
        check_leadership: raises `LeadershipLost` to hold a request back.
        requests: records requests that are sent.
    """

    def before_request() -> None:
        check_leadership()
        requests.record_request()

    return before_request


def _not_allowed(namespace: str, allowed: Sequence[str]) -> str:
    return (
        f"secretNamespace must be one of {', '.join(allowed)}, not {namespace!r}: "
        "the provisioner's flag --admin-secret-namespace allows no other"
    )
