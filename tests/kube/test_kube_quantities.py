"""Are quantities the numbers Kubernetes means?"""

from decimal import Decimal

import pytest

from fairlead.kube.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", "0.1"),
        ("64Mi", "67108864"),
        ("1e3", "1000"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("2k", "2000"),
        ("-1", "-1"),
    ],
)
def test_a_quantity_is_exact(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "m", "1mi", "1 Gi", "1KB", "e3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_quantity(text)
