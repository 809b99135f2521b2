"""User-delegation SAS: signed by the administrator's identity, kept while they are young, waited for at the end.

Used by `containers` and `provisioner`. A single one can't be revoked: they end at their time, or with their container.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from azure.storage.blob import generate_container_sas

from azure_provisioner.clocks import AHEAD, doubts, is_wrong, lead, wrong_clock
from azure_provisioner.errors import request_id_of, translated
from azure_provisioner.identity import OWN_ACCESS, Granted, signed_protocol
from azure_provisioner.policy import Sas, format_time, parse_time, renewal_of
from libbucket import ExpiresLater, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from azure_provisioner.client import Clients
    from azure_provisioner.errors import Refusal

EXPIRY_STATE: Final = "SasExpiry"

_LONGEST: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """User-delegation SAS, which the administrator's identity signs with a key that ends within days.

    Attributes:
        clients: of this verb.
        try_sas: why a SAS is refused by a container; None where it is not.
    """

    clients: Clients
    try_sas: Callable[[SecretStr, str], Refusal | None]

    def ensure(
        self, container: str, held: Sas | None, state: Mapping[str, str], now: datetime, *, is_unchanged: bool = False
    ) -> Granted:
        """A SAS that works and is young: the one that the claim holds, or a new one.

        Args:
            container: where.
            held: what the claim's Secret holds.
            state: what was remembered of earlier ones.
            now: by the core's clock.
            is_unchanged: the Secret holds what was issued. Then one refusal proves nothing, and it is replaced only
                where it is refused while a new one is accepted, as after `revoke-delegation-keys`.

        Raises:
            NotReady: it does not work yet, or was refused just now.
            AccessDenied: the identity lacks a role, or a setting of the account forbids the SAS.
            Misconfigured: the provisioner's clock is wrong.
        """
        parameters, recorded = self.clients.parameters, parse_time(state.get(EXPIRY_STATE))
        young = held if held is not None and self._is_young(held, recorded, now) else None
        if young is not None and self.try_sas(young.token, container) is None:
            return self._kept(young, state)
        # From its start on, the SAS lasts as long as the class says: an account may limit that.
        start = (now - AHEAD).replace(microsecond=0)
        expiry = start + parameters.lifetime
        sas, warnings = self._sign(container, start, expiry)
        refusal = self.try_sas(sas, container)
        if refusal is not None:
            raise refusal.as_error(self.clients.call(OWN_ACCESS), container, is_delegated=True)
        if young is not None and is_unchanged and self.try_sas(young.token, container) is None:
            return self._kept(young, state)
        # What the Secret holds may have been issued by a call whose answer was recorded nowhere else.
        unrecorded = min(held.expiry, now + _LONGEST) if held is not None and held.expiry is not None else expiry
        ends = max(expiry, recorded or expiry, unrecorded)
        renew_at, state = renewal_of(expiry, parameters), {EXPIRY_STATE: format_time(ends)}
        return Granted(sas=sas, renew_at=renew_at, state=state, warnings=warnings)

    def _is_young(self, held: Sas, recorded: datetime | None, now: datetime) -> bool:
        """Whether it is recorded, what the class says, and not to be renewed yet."""
        parameters = self.clients.parameters
        if held.expiry is None or recorded is None or held.permission != parameters.permissions:
            return False
        return now < renewal_of(held.expiry, parameters) and held.expiry <= recorded

    def _kept(self, held: Sas, state: Mapping[str, str]) -> Granted:
        assert held.expiry is not None, "a young one says when it ends"  # noqa: S101 - narrows a type
        renew_at = renewal_of(held.expiry, self.clients.parameters)
        return Granted(sas=held.token, renew_at=renew_at, state={EXPIRY_STATE: state[EXPIRY_STATE]})

    def _sign(self, container: str, start: datetime, expiry: datetime) -> tuple[SecretStr, tuple[str, ...]]:
        """A new SAS, and warnings about the clock that dates it."""
        parameters = self.clients.parameters
        headers: list[Mapping[str, str]] = [{}]
        with translated(self.clients.call("generateUserDelegationKey/action")):
            # The headers of its answer are not checked: it has to be a key, so nothing else passes for it.
            key = self.clients.service.get_user_delegation_key(
                start, expiry, raw_response_hook=lambda answer: headers.append(answer.http_response.headers)
            )
            clock = lead(headers[-1], self.clients.network.clock())
            if is_wrong(clock):
                raise wrong_clock(clock, parameters.url, request_id_of(headers[-1]))
            return SecretStr(
                generate_container_sas(
                    parameters.account,
                    container,
                    user_delegation_key=key,
                    permission=parameters.permissions,
                    start=start,
                    expiry=expiry,
                    protocol=signed_protocol(parameters),
                )
            ), doubts(clock, parameters.url)


def check_ended(state: Mapping[str, str], now: datetime) -> None:
    """Waits for the end of user-delegation SAS, which can't be revoked singly.

    Raises:
        ExpiresLater: the last one that was issued still works; `delay` is the time left.
    """
    ends = parse_time(state.get(EXPIRY_STATE))
    # By Azure's clock, which may be behind.
    if ends is not None and ends + AHEAD > now:
        raise ExpiresLater(
            f"a user-delegation SAS can't be revoked singly: the last one of this claim ends at {format_time(ends)}",
            delay=(ends + AHEAD - now).total_seconds(),
        )
