"""The services that the core hands to a provisioner: reading an administrator's Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._kube.errors import Forbidden, KubeError, NotFound
from libbucket._kube.resources import SECRETS
from libbucket._reconcile.objects import decode_data
from libbucket.errors import AdminSecretMissing, Reason, RetrySoon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._kube.client import KubeClient
    from libbucket.types import SecretStr


class AdminSecrets:
    """Reads Secrets afresh at every call: a rotated one works at once, and nothing is kept in memory."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def __call__(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        """The decoded `data` of a Secret.

        Raises:
            AdminSecretMissing: it does not exist, or we may not read it.
            RetrySoon: the API server did not answer.
        """
        where = f"Secret {namespace}/{name}, which the class names (secretNamespace, secretName),"
        try:
            return decode_data(self._client.read(SECRETS, name, namespace=namespace).data)
        except NotFound as error:
            raise AdminSecretMissing(f"{where} does not exist") from error
        except Forbidden as error:
            raise AdminSecretMissing(f"{where} may not be read: grant the provisioner 'get' on it") from error
        except KubeError as error:
            raise RetrySoon(f"{where} could not be read", reason=Reason.CLUSTER_UNAVAILABLE) from error
