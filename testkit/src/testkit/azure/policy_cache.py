"""Access policies as each of Azure's front ends remembers them: a change reaches them one after the other.

Used by `front_end`. "Define a stored access policy": a change "may take up to 30 seconds to take effect"; until then
one front end refuses what another accepts (Azure/azure-storage-net#899, Azure/azure-sdk-for-cpp#1113,
Azure/azure-sdk-for-js#7600). That a removal takes as long as a change is inferred from the same cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import generate_container_sas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.storage.blob import AccessPolicy, BlobServiceClient

    from testkit.azure.front_rules import Refused, Request


@dataclass(frozen=True, kw_only=True)
class PolicyCaches:
    """One cache for each front end.

    Attributes:
        service: azurite, as the account's owner.
        keys: of the account, with one of which a SAS must be signed.
    """

    service: BlobServiceClient
    keys: tuple[str, ...]
    _held: dict[tuple[int, str], tuple[float, Mapping[str, AccessPolicy]]] = field(default_factory=dict)

    def decide(self, request: Request, front_end: int, now: float, seconds: float) -> Request | Refused | None:
        """What a front end makes of a SAS that is bound to a policy.

        Returns:
            A request that azurite accepts as long as the remembered policy allows it; a refusal where the front end
            does not know the policy; None where azurite is to decide: the signature is wrong.
        """
        if not self._is_genuine(request):
            return None
        policies = self._remembered(request.container, front_end, now, seconds)
        policy = policies.get(request.query["si"])
        if policy is None:
            return "AuthenticationFailed", 403, {}
        return self._signed_anew(request, policy)

    def _remembered(self, container: str, front_end: int, now: float, seconds: float) -> Mapping[str, AccessPolicy]:
        held = self._held.get((front_end, container))
        if held is not None and now - held[0] < seconds:
            return held[1]
        try:
            found = self.service.get_container_client(container).get_container_access_policy()
        except HttpResponseError:
            return {}
        policies = {each.id: each.access_policy for each in found["signed_identifiers"]}
        self._held[front_end, container] = (now, policies)
        return policies

    def _is_genuine(self, request: Request) -> bool:
        account = str(self.service.account_name)
        protocol = request.query.get("spr")
        made = (
            generate_container_sas(
                account, request.container, account_key=key, policy_id=request.query["si"], protocol=protocol
            )
            for key in self.keys
        )
        return any(parse_qs(each)["sig"][0] == request.query["sig"] for each in made)

    def _signed_anew(self, request: Request, policy: AccessPolicy) -> Request:
        """The same without a policy, so that azurite does not look for it."""
        made = generate_container_sas(
            str(self.service.account_name),
            request.container,
            account_key=self.keys[0],
            permission=policy.permission,
            expiry=policy.expiry,
            start=policy.start,
        )
        fields = {name: values[0] for name, values in parse_qs(made).items()}
        of_the_sas = {"si", "sig", "sv", "sr", "spr"}
        rest = {name: value for name, value in request.query.items() if name not in of_the_sas}
        return replace(request, query={**rest, **fields}, target="")
