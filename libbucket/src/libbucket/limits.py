"""Bounded parsers for text that a tenant controls: limits are checked before anything is parsed.

Used by the core and by provisioner packages. A claim's author may write up to 1.5 MB of JSON into
`spec.additionalConfig`; a value that takes minutes to parse, with the interpreter's lock held, would block the claims
of all tenants. Knows no key and no store. Messages of `ValueError` follow the name of the key in a sentence.
"""

from __future__ import annotations

import json
import re
from decimal import ROUND_CEILING, Context, Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn

from libbucket.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from libbucket.types import BucketOptions

MAX_VALUE_LENGTH: Final = 64 * 1024
"""Characters of one value of `additionalConfig`. The largest value that stores accept is a bucket policy of 20 KiB."""

MAX_QUANTITY_LENGTH: Final = 64
_MAX_MAGNITUDE: Final = 30
"""Of a quantity, as a power of ten: more than the capacity of any store, and cheap to print."""

_MAX_DEPTH: Final = 32
_MAX_DIGITS: Final = 64

_EXACT: Final = Context(prec=128)
"""Precise enough that quantities within the limits above are rounded only once, up."""

_SUFFIXES: Final = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate("mun", start=1)},
}
_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([kMGTPEmun]|[KMGTPE]i)?)")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse_quantity(text: str) -> int:
    """Parses a Kubernetes quantity such as `10Gi`, `1500k` or `1e3`, and rounds up.

    Source: `k8s.io/apimachinery/pkg/api/resource`, the grammar of `Quantity`.

    Args:
        text: the quantity, as in `spec.additionalConfig.maxSize`.

    Returns:
        Bytes, or a count: the plain number, never negative.

    Raises:
        ValueError: it is not a quantity, negative, longer than 64 characters, or 1e31 or more.
    """
    stripped = text.strip()
    if len(text) > MAX_QUANTITY_LENGTH:
        raise ValueError(f"must be a quantity of at most {MAX_QUANTITY_LENGTH} characters, such as 10Gi")
    found = _QUANTITY.fullmatch(stripped)
    if found is None:
        raise ValueError(f"must be a quantity such as 10Gi, 500M or 1000, not {stripped!r}")
    digits, exponent, suffix = found.groups()
    factor = Decimal((0, (1,), int(exponent))) if exponent else _SUFFIXES[suffix or ""]
    number = _EXACT.multiply(Decimal(digits), factor)
    if number and number.adjusted() > _MAX_MAGNITUDE:
        raise ValueError(f"must be smaller than 1e{_MAX_MAGNITUDE + 1}, not {stripped!r}")
    if number < 0:
        raise ValueError(f"must not be negative, and is {stripped!r}")
    return int(number.to_integral_value(rounding=ROUND_CEILING, context=_EXACT))


def read_quantities(options: BucketOptions, keys: Iterable[str]) -> dict[str, int | None]:
    """The quantities of a claim's `additionalConfig` that the provisioner manages.

    Args:
        options: the request.
        keys: of `additionalConfig`, such as `maxSize`.

    Returns:
        A number for each key that the claim has, and None for each that it had at the last call and has no longer:
        reset it. A key that is not in the result is unmanaged: keep what the bucket has.

    Raises:
        InvalidConfig: a value is no quantity.
    """
    given, found = options.claim.additional_config, dict[str, int | None]()
    for key in keys:
        try:
            if key in given:
                found[key] = parse_quantity(given[key])
            elif key in options.previous_config:
                found[key] = None
        except ValueError as error:
            raise InvalidConfig(f"additionalConfig.{key} {error}") from None
    return found


def parse_json(text: str) -> Any:
    """Parses JSON, such as a bucket policy.

    Raises:
        ValueError: it is not JSON, longer than 64 KiB, nested deeper than 32 levels, or has an integer of more than 64
            digits, `NaN` or `Infinity`.
    """
    if len(text) > MAX_VALUE_LENGTH:
        raise ValueError(f"must be at most {MAX_VALUE_LENGTH // 1024} KiB long, and has {len(text):,} characters")
    if _depth(text) > _MAX_DEPTH:
        raise ValueError(f"must be JSON of at most {_MAX_DEPTH} levels")
    try:
        return json.loads(text, parse_int=_whole_number, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON, and is not in line {error.lineno}, column {error.colno}") from None


def _depth(text: str) -> int:
    """The maximum nesting of brackets outside of strings."""
    deepest = depth = 0
    for one in _STRING.sub("", text):
        if one in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif one in "]}":
            depth -= 1
    return deepest


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"must not hold a number of more than {_MAX_DIGITS} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"must be JSON, which has no {name}")
