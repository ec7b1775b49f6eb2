"""Are exactly the refused Ingresses found, and in few questions?"""

from hypothesis import given
from hypothesis import strategies as st

from fairlead.agents.ingress.isolation import find_refused

Key = tuple[str, str]


class Judge:
    """Takes every configuration in which no bad Ingress is, and counts the questions."""

    def __init__(self, everyone: list[Key], bad: set[Key], *, hopeless: bool = False) -> None:
        self.everyone, self.bad, self.hopeless, self.questions = everyone, bad, hopeless, 0

    async def accepts(self, without: frozenset[Key]) -> bool:
        self.questions += 1
        return not self.hopeless and not (self.bad - without)


def keys(count: int) -> list[Key]:
    return [("shop", f"ingress-{number}") for number in range(count)]


@given(st.integers(1, 40), st.sets(st.integers(0, 39)))
async def test_those_and_only_those_that_are_refused_stay_out(count: int, numbers: set[int]) -> None:
    everyone = keys(count)
    bad = {everyone[number] for number in numbers if number < count}
    assert await find_refused(everyone, Judge(everyone, bad).accepts) == bad


async def test_two_among_a_thousand_are_found_in_about_forty_questions() -> None:
    everyone = keys(1000)
    judge = Judge(everyone, {everyone[17], everyone[903]})
    assert await find_refused(everyone, judge.accepts) == {everyone[17], everyone[903]}
    assert judge.questions < 50


async def test_where_no_ingress_is_the_reason_none_is_blamed() -> None:
    assert await find_refused(keys(8), Judge(keys(8), set(), hopeless=True).accepts) is None
