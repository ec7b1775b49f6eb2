"""How long ago something happened, as `kubectl get` prints it.

In: RFC 3339 texts and the present as seconds since 1970. Out: texts such as 5m12s. It reads no clock.
"""

from datetime import datetime

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY

UNKNOWN = "<unknown>"


def seconds_of(timestamp: str) -> float | None:
    """Return an RFC 3339 time as seconds since 1970, or None if it is not one."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else None
    except ValueError:
        return None


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    whole, rest = divmod(seconds, large)
    rest //= small
    return f"{whole}{large_name}{rest}{small_name}" if rest else f"{whole}{large_name}"


def duration_text(duration: float) -> str:
    """Return a length of time in at most two units (k8s.io/apimachinery/pkg/util/duration, HumanDuration)."""
    seconds = int(duration)
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * MINUTE:
        return f"{max(seconds, 0)}s"
    if seconds < 10 * MINUTE:
        return _two(seconds, MINUTE, "m", 1, "s")
    if seconds < 3 * HOUR:
        return f"{seconds // MINUTE}m"
    if seconds < 8 * HOUR:
        return _two(seconds, HOUR, "h", MINUTE, "m")
    if seconds < 2 * DAY:
        return f"{seconds // HOUR}h"
    if seconds < 8 * DAY:
        return _two(seconds, DAY, "d", HOUR, "h")
    if seconds < 2 * YEAR:
        return f"{seconds // DAY}d"
    if seconds < 8 * YEAR:
        return _two(seconds, YEAR, "y", DAY, "d")
    return f"{seconds // YEAR}y"


def age_text(timestamp: str, now: float) -> str:
    """Return how long before `now` the timestamp lies, `<unknown>` if there is none."""
    then = seconds_of(timestamp)
    return UNKNOWN if then is None else duration_text(now - then)


def duration_between(start: str, end: str, now: float) -> str:
    """Return how long something took from `start` to `end`, or to `now` while it has no end."""
    began, ended = seconds_of(start), seconds_of(end)
    return UNKNOWN if began is None else duration_text((now if ended is None else ended) - began)
