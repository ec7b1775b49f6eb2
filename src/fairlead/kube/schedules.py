"""The schedules of CronJobs: five fields and a time zone come in, moments go out. Source: batch/v1 types.go and
robfig/cron, which upstream reads them with.
"""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_YEAR = 365 * 86400.0


class Schedule:
    """When something is due, in seconds since 1970. Raises ValueError for text that is no schedule."""

    def __init__(self, text: str, zone: str | None = None) -> None:
        self._fields = _WORDS.get(text.strip(), text).replace("?", "*")
        self.zone = find_zone(zone) if zone else UTC
        fields = self._fields.split()
        if len(fields) != 5:
            raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
        try:
            CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(str(error)) from error

    def next(self, after: float) -> float:
        """The first moment after one; a year later for a schedule that is never due."""
        moment = next(CronSim(self._fields, datetime.fromtimestamp(after, self.zone)), None)
        return after + _YEAR if moment is None else moment.timestamp()

    def latest(self, since: float, until: float) -> tuple[float | None, int]:
        """The last moment after `since` and not after `until`, and how many there were."""
        found, count = None, 0
        for moment in CronSim(self._fields, datetime.fromtimestamp(since, self.zone)):
            if moment.timestamp() > until:
                break
            found, count = moment.timestamp(), count + 1
        return found, count


def find_zone(name: str) -> tzinfo:
    """The time zone of a name. Raises ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None
