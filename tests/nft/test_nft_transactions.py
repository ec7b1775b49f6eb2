"""Where a transaction asks for commits, and what it is cut into."""

from fairlead.nft.objects import Chain, TableFamily
from fairlead.nft.transactions import AddChain, DeleteChain, Transaction

COMMANDS = (AddChain(Chain("a")), AddChain(Chain("b")), DeleteChain("c"))


def test_a_transaction_without_commits_is_carried_out_whole() -> None:
    whole = Transaction(TableFamily.IP, "t", COMMANDS)
    assert whole.parts() == (whole,)
    assert Transaction(TableFamily.IP, "t", COMMANDS, commits=(0, 3)).parts()[0].commands == COMMANDS


def test_it_is_cut_where_it_asks_for_a_commit_and_nowhere_twice() -> None:
    parts = Transaction(TableFamily.IP, "t", COMMANDS, separable=True, commits=(2, 2, 1)).parts()
    assert [part.commands for part in parts] == [COMMANDS[:1], COMMANDS[1:2], COMMANDS[2:]]
    assert all(part.separable and not part.commits for part in parts)
