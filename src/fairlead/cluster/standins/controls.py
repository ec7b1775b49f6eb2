"""How a stand-in behaves, as its pod's annotations ask: annotations come in, values and complaints go out. Pure.

`standin.fairlead.dev/NAME: VALUE`, on a pod template or by `kubectl annotate pod`; docs/autoscaling.md lists the names.
What cannot be read is a complaint and changes nothing.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from msgspec import Struct

from fairlead.kube.quantities import parse_quantity

PREFIX = "standin.fairlead.dev/"
PAUSE = 0.5
"""Seconds that new clients are still taken in after the order to stop, while the data plane learns of it."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|us)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Controls(Struct, frozen=True, kw_only=True):
    """What is asked of the stand-ins of one pod; the defaults are what they do unasked. Times are in seconds.

    `ready` holds for every container of the pod, programs too. CPU and memory are declared: they are measured as if
    they had been used.
    """

    ready: bool = True
    latency: tuple[float, float] = (0.0, 0.0)
    """The least and the most that an answer waits for; drawn evenly between them."""
    error_rate: float = 0.0
    error_status: int = 500
    cpu_per_request: float = 0.0
    """CPU seconds."""
    memory: int = 0
    """Bytes."""
    slow_start: float = 0.0
    shutdown_delay: float = PAUSE

    @property
    def plain(self) -> bool:
        """Whether requests are answered at once and without fail."""
        return not self.error_rate and not self.latency[1]


UNASKED = Controls()


class Complaint(Struct, frozen=True):
    """An annotation that cannot be followed, and why."""

    annotation: str
    message: str


def parse_controls(annotations: Mapping[str, str]) -> tuple[Controls, tuple[Complaint, ...]]:
    """Read the annotations of a pod; others than ours are passed over."""
    found: dict[str, object] = {}
    complaints: list[Complaint] = []
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        read = _READERS.get(name)
        if read is None:
            complaints.append(Complaint(key, f"there is no such control; there are {', '.join(sorted(_READERS))}"))
            continue
        try:
            found[name.replace("-", "_")] = read(text.strip())
        except ValueError as error:
            complaints.append(Complaint(key, str(error)))
    return Controls(**found), tuple(complaints)  # pyright: ignore[reportArgumentType] - each reader gives its field's type


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go spells it, such as 150ms or 1m30s; 0 needs no unit. Raises ValueError."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration: write 150ms, 2s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _span(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    first = parse_duration(least)
    last = parse_duration(most) if most else first
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


def _rate(text: str) -> float:
    try:
        rate = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no share: write 5% or 0.05") from None
    if not 0 <= rate <= 1:
        raise ValueError(f"{text!r} is no share between 0 and 1")
    return rate


def _status(text: str) -> int:
    if not text.isdecimal() or not 400 <= int(text) <= 599:
        raise ValueError(f"{text!r} is no status of an error: 400 to 599")
    return int(text)


def _amount(text: str) -> Decimal:
    amount = parse_quantity(text)
    if amount < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return amount


_READERS: dict[str, Callable[[str], object]] = {
    "ready": _flag,
    "latency": _span,
    "error-rate": _rate,
    "error-status": _status,
    "cpu-per-request": lambda text: float(_amount(text)),
    "memory": lambda text: int(_amount(text)),
    "slow-start": parse_duration,
    "shutdown-delay": parse_duration,
}
