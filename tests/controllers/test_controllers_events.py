"""Events: counted up, combined, limited."""

from fairlead.cluster.controllers.actions import About, Tell
from fairlead.cluster.controllers.events import Correlator
from fairlead.kube.documents import number_at, text_at

NOW = 1_800_000_000.0


def told(message: str = "Created pod: p", uid: str = "u") -> Tell:
    about = About(api_version="apps/v1", kind="ReplicaSet", namespace="shop", name="web", uid=uid)
    return Tell(about=about, reason="SuccessfulCreate", message=message, component="replicaset-controller")


def test_the_same_words_count_up_one_event() -> None:
    correlator = Correlator()
    first = correlator.correlate(told(), NOW)
    second = correlator.correlate(told(), NOW + 1)
    assert first is not None
    assert second is not None
    assert not first.name
    assert second.name == text_at(first.document, "metadata", "name")
    assert number_at(second.document, "count") == 2
    assert text_at(second.document, "lastTimestamp") == "2027-01-15T08:00:01Z"


def test_an_event_that_is_gone_is_written_anew() -> None:
    correlator = Correlator()
    first = correlator.correlate(told(), NOW)
    assert first is not None
    correlator.forget(first)
    again = correlator.correlate(told(), NOW)
    assert again is not None
    assert not again.name


def test_many_different_messages_of_one_reason_become_one() -> None:
    correlator = Correlator()
    written = [correlator.correlate(told(f"Created pod: p{number}"), NOW) for number in range(15)]
    messages = [each.message for each in written if each is not None]
    assert messages[8] == "Created pod: p8"
    assert messages[9] == "(combined from similar events): Created pod: p9"


def test_an_object_has_twenty_five_at_once_and_another_later() -> None:
    correlator = Correlator()
    written = [correlator.correlate(told(), NOW) for _ in range(30)]
    assert sum(each is not None for each in written) == 25
    assert correlator.correlate(told(uid="other"), NOW) is not None
    assert correlator.correlate(told(), NOW + 299) is None
    assert correlator.correlate(told(), NOW + 301) is not None
