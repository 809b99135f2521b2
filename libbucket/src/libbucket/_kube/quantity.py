"""Kubernetes quantities ("10Gi") to whole numbers, by the Kubernetes client's own rules."""

from __future__ import annotations

from kubernetes.utils.quantity import parse_quantity as _parse


def parse_quantity(text: str) -> int:
    """The number that a quantity such as `10Gi`, `1500k` or `1e3` stands for, rounded up.

    Args:
        text: the quantity, as in `spec.additionalConfig.maxSize`.

    Returns:
        Bytes, or a count: the plain number, never negative.

    Raises:
        ValueError: it is no quantity, negative, or not finite.
    """
    number = _parse(text.strip())
    if not number.is_finite() or number < 0:
        raise ValueError(f"{text!r} must be a finite number that is not negative")
    return int(number.to_integral_value(rounding="ROUND_CEILING"))
