"""The command line knows all its verbs and loads only the one asked for."""

import subprocess
import sys

from typer.main import get_command

from fairlead.cli.main import VERBS, command_line


def names(*words: str) -> set[str]:
    return set(getattr(get_command(command_line(words)), "commands", {}))


def test_help_knows_every_verb():
    assert names() == names("--help") == names("nonsense") == set(VERBS)


def test_one_verb_stays_a_verb():
    assert names("kubeconfig", "--help") == {"kubeconfig"}


def test_a_verb_loads_no_other_verb_and_nothing_heavy():
    program = (
        "import sys; from fairlead.cli.main import command_line; command_line(['exec']);"
        "print(*sorted({'asyncio', 'aiohttp', 'yaml', 'cryptography', 'fairlead.cli.up'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []
