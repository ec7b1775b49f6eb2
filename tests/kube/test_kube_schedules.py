"""Schedules of CronJobs: what they name, and what is none."""

from datetime import UTC, datetime

import pytest

from fairlead.kube.schedules import Schedule


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_next_moment_is_after_the_one_given() -> None:
    assert Schedule("*/5 * * * *").next(at("2026-11-23 05:43:12")) == at("2026-11-23 05:45:00")
    assert Schedule("*/5 * * * *").next(at("2026-11-23 05:45:00")) == at("2026-11-23 05:50:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("@hourly", "2026-11-23 06:00:00"),
        ("@daily", "2026-11-24 00:00:00"),
        ("0 0 ? * MON", "2026-11-30 00:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
    ],
)
def test_words_and_names_are_read(text: str, moment: str) -> None:
    assert Schedule(text).next(at("2026-11-23 05:43:12")) == at(moment)


def test_a_time_zone_shifts_the_moments() -> None:
    assert Schedule("0 7 * * *", "Europe/Berlin").next(at("2026-11-23 05:43:12")) == at("2026-11-23 06:00:00")


def test_the_latest_missed_moment_is_found_and_all_are_counted() -> None:
    schedule = Schedule("*/10 * * * *")
    assert schedule.latest(at("2026-11-23 05:00:00"), at("2026-11-23 05:40:00")) == (at("2026-11-23 05:40:00"), 4)
    assert schedule.latest(at("2026-11-23 05:41:00"), at("2026-11-23 05:49:59")) == (None, 0)


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "@every 1h", "a b c d e"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"field|Bad"):
        Schedule(text)
