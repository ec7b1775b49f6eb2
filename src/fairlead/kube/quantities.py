"""Quantities such as 100m, 64Mi and 1e3, as exact decimals. Source: apimachinery pkg/api/resource."""

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:(?P<exponent>[eE][+-]?\d+)|(?P<suffix>[a-zA-Z]{0,2}))")


def parse_quantity(text: str | float) -> Decimal:
    """The number `text` spells. Raises ValueError where it is no quantity."""
    if not isinstance(text, str):
        return Decimal(str(text))
    found = _QUANTITY.fullmatch(text)
    if found is None or (found["suffix"] or "") not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity: quantities are numbers with a suffix such as m, k, Mi or Gi")
    if found["exponent"]:
        return Decimal(found["number"] + found["exponent"])
    return Decimal(found["number"]) * _SUFFIXES[found["suffix"] or ""]
