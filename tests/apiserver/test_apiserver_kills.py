"""kill -9 at random moments of a write load: what was acknowledged is there afterwards, in a file that checks well."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from fairlead.cluster.apiserver.log import SqliteLog

ROUNDS = 1000 if os.environ.get("FAIRLEAD_LONG") else 30
ON_ONE_FILE = 10
"""Rounds before the next file, so that opening stays quick."""


def killed_round(process: subprocess.Popen[str], folder: Path, prefix: str, pause: float) -> set[str]:
    """Have a writer write, kill it after a pause, and return the names it was told are kept."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{folder} {prefix}\n")
    process.stdin.flush()
    word, pid = process.stdout.readline().split()
    assert word == "pid"
    first = process.stdout.readline()
    time.sleep(pause)  # the moment of the kill is the input of this test
    os.kill(int(pid), signal.SIGKILL)
    return {first.strip(), *(line.strip() for line in iter(process.stdout.readline, "end\n"))}


def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    chance = random.Random(7)
    writer = [sys.executable, str(Path(__file__).with_name("writer_to_kill.py"))]
    acknowledged: set[str] = set()
    told = 0
    with subprocess.Popen(writer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for number in range(ROUNDS):
            folder = tmp_path / str(number // ON_ONE_FILE)
            if number % ON_ONE_FILE == 0:
                folder.mkdir()
                acknowledged = set()
            names = killed_round(process, folder, f"r{number}", chance.uniform(0, 0.05))
            acknowledged |= names
            told += len(names)
            log = SqliteLog(folder / "objects.sqlite")
            revision, rows = log.load()
            log.close()
            found = {row.key[1]: row.revision for row in rows}
            assert acknowledged <= found.keys(), f"round {number}: {sorted(acknowledged - found.keys())}"
            assert max(found.values()) <= revision
    assert told >= ROUNDS
    sys.stdout.write(f"{ROUNDS} kills, {told} acknowledged writes, none lost\n")
