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


def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    chance = random.Random(7)
    writer = str(Path(__file__).with_name("writer_to_kill.py"))
    acknowledged: set[str] = set()
    told = 0
    for number in range(ROUNDS):
        folder = tmp_path / str(number // ON_ONE_FILE)
        if number % ON_ONE_FILE == 0:
            folder.mkdir()
            acknowledged = set()
        with subprocess.Popen([sys.executable, writer, str(folder), f"r{number}"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))  # the moment of the kill is the input of this test
            os.kill(process.pid, signal.SIGKILL)
            lines = (first + process.stdout.read()).split(b"\n")
        acknowledged.update(line.decode() for line in lines[:-1])
        told += len(lines) - 1
        log = SqliteLog(folder / "objects.sqlite")
        revision, rows = log.load()
        log.close()
        found = {row.key[1]: row.revision for row in rows}
        assert acknowledged <= found.keys(), f"round {number}: {sorted(acknowledged - found.keys())}"
        assert max(found.values()) <= revision
    assert told >= ROUNDS
