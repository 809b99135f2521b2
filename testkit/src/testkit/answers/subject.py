"""The claim under test as its author, its application and the store see it. Knows the simulation, and no fault."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import generate_latest

from libbucket import _api
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.intent import for_provisioner, intent_of
from libbucket.testing.application import Refused
from libbucket.types import AccessKeys, Authentication, Endpoint, SecretStr
from testkit.answers.adapter import CANARY
from testkit.api_server import config_map_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket.testing.application import Application
    from libbucket.types import ObjectBucket
    from testkit.answers.simulation import Simulation
    from testkit.api_server import Json

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_ENDPOINT: Final = ("BUCKET_HOST", "BUCKET_PORT", "BUCKET_NAME", "BUCKET_REGION", "BUCKET_SUBREGION")
_CLUSTER: Final = "cluster-1"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What Secret and ConfigMap of a claim say."""

    secret: Mapping[str, str]
    endpoint: Endpoint

    @property
    def authentication(self) -> Authentication:
        """As a provisioner knows it."""
        text = {key: base64.b64decode(value).decode() for key, value in self.secret.items()}
        rest = {key: SecretStr(value) for key, value in text.items() if key not in _KEYS}
        if not set(_KEYS) <= set(text):
            return Authentication(additional_secret_data=rest)
        keys = AccessKeys(access_key_id=text[_KEYS[0]], secret_access_key=SecretStr(text[_KEYS[1]]))
        return Authentication(access_keys=keys, additional_secret_data=rest)


class Subject:
    """One claim.

    Args:
        simulation: where it lives.
        key: `namespace/name`.
    """

    def __init__(self, simulation: Simulation, key: str) -> None:
        self.simulation, self.key = simulation, key

    @property
    def is_gone(self) -> bool:
        """Whether the claim and its ObjectBucket are no more."""
        return self.simulation.claim(self.key) is None and self.record is None

    @property
    def is_bound(self) -> bool:
        """Whether it is Bound and Ready, with Secret and ConfigMap."""
        return (
            self.simulation.phase(self.key) == "Bound"
            and self.simulation.condition(self.key).get("status") == "True"
            and self.credentials is not None
        )

    @property
    def reason(self) -> str:
        """Why it is as it is: of the condition that says most."""
        return str(self._shown().get("reason", ""))

    @property
    def message(self) -> str:
        """The sentence beside `reason`."""
        return str(self._shown().get("message", ""))

    @property
    def is_stalled(self) -> bool:
        """Whether it says that no retry helps."""
        return self.simulation.condition(self.key, "Stalled").get("status") == "True"

    def _shown(self) -> Json:
        """The first that there is: a claim that serves says beside Ready what is not done yet."""
        found = (self.simulation.condition(self.key, kind) for kind in ("Stalled", "Reconciling", "Ready"))
        return next((one for one in found if one), {})

    @property
    def credentials(self) -> Credentials | None:
        """What its application is given; None where Secret or ConfigMap is not there."""
        secret = self.simulation.secret(self.key)
        config = self.simulation.core.find(config_map_path(self.key))
        if secret is None or config is None:
            return None
        data = config["data"]
        rest = {name: value for name, value in data.items() if name not in _ENDPOINT}
        endpoint = Endpoint(
            bucket_host=data["BUCKET_HOST"],
            bucket_port=int(data["BUCKET_PORT"]),
            bucket_name=data["BUCKET_NAME"],
            region=data.get("BUCKET_REGION", ""),
            additional_config=rest,
        )
        return Credentials(secret=secret, endpoint=endpoint)

    @property
    def record(self) -> ObjectBucket | None:
        """Its ObjectBucket as a provisioner is handed it; None where there is none."""
        for wire in self.simulation.core.client.cluster.all("objectbuckets"):
            found = msgspec.convert(wire, _api.ObjectBucketObject)
            intent = intent_of(found)
            if claim_ref_of(found).key == self.key and intent is not None:
                return for_provisioner(found, intent, _CLUSTER)
        return None

    @property
    def bucket(self) -> str:
        """Name of its bucket; "" before there is one."""
        record = self.record
        return record.bucket_name if record is not None else ""

    def application(self, held: Credentials | None = None) -> Application:
        """An application with these credentials, or with the claim's."""
        held = held or self.credentials
        assert held is not None, f"claim {self.key} has no Secret or no ConfigMap"
        return self.simulation.adapter.backend.application(held.endpoint, held.authentication)

    def works(self, held: Credentials | None = None) -> bool:
        """Whether an application can write and read with these credentials, or with the claim's."""
        held = held or self.credentials
        if held is None:
            return False
        bucket, application = held.endpoint.bucket_name, self.application(held)
        try:
            application.put(bucket, "probe-of-the-sweep", b"written")
            found = application.get(bucket, "probe-of-the-sweep")
            application.delete(bucket, "probe-of-the-sweep")
        except (Refused, LookupError):
            return False
        return found == b"written"

    def is_refused(self, held: Credentials) -> bool:
        """Whether the store refuses these credentials, or no bucket is there for them."""
        try:
            self.application(held).list_keys(held.endpoint.bucket_name)
        except Refused:
            return True
        except Exception as error:  # noqa: BLE001 - stores word it differently that there is no such bucket
            return "NoSuchBucket" in str(error) or isinstance(error, LookupError)
        return False

    def shown(self) -> str:
        """Everything that people can read of it: the claim, its ObjectBucket, Events."""
        core = self.simulation.core
        objects = [self.simulation.claim(self.key), *core.client.cluster.all("objectbuckets")]
        return f"{objects} {core.client.events}"

    def leaks(self) -> list[str]:
        """Where the canary of an answer's body was written."""
        metrics = generate_latest(self.simulation.core.metrics.registry).decode()
        places = {
            "the claim, an ObjectBucket or an Event": self.shown(),
            "the log": self.simulation.log.text(),
            "the metrics": metrics,
        }
        return [place for place, text in places.items() if CANARY in text]
