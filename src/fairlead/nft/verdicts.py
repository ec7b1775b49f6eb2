"""Verdicts: what a rule or an element of a verdict map decides."""

from enum import IntEnum

from msgspec import Struct


class VerdictCode(IntEnum):
    """The decisions of nftables by their kernel number (`enum nft_verdicts`, `NF_DROP`, `NF_ACCEPT`)."""

    DROP = 0
    ACCEPT = 1
    CONTINUE = -1
    JUMP = -3
    GOTO = -4
    RETURN = -5


class Verdict(Struct, frozen=True, gc=False):
    """One decision; `chain` is where JUMP and GOTO lead and is empty for the others."""

    code: VerdictCode
    chain: str = ""

    def __str__(self) -> str:
        return f"{self.code.name.lower()} {self.chain}".rstrip()


DROP = Verdict(VerdictCode.DROP)
ACCEPT = Verdict(VerdictCode.ACCEPT)


def goto(chain: str) -> Verdict:
    """Return the verdict that continues in `chain` and does not come back."""
    return Verdict(VerdictCode.GOTO, chain)


def jump(chain: str) -> Verdict:
    """Return the verdict that continues in `chain` and comes back at its end."""
    return Verdict(VerdictCode.JUMP, chain)
