"""Does the output of programs reach their logs whole, with time left for others while it comes?"""

import asyncio
import fcntl
import os
from pathlib import Path

from fairlead.cluster.kubelet.pipes import LogPipe
from fairlead.cluster.standins.logbook import LogBook

_LINES, _LINE = 16, b"x" * 65535 + b"\n"


async def test_a_program_that_writes_much_leaves_time_for_others_and_loses_nothing(tmp_path: Path) -> None:
    book = LogBook(lambda: 0.0)
    pipe = LogPipe(tmp_path / "0.log", book)
    fcntl.fcntl(pipe.stdout, fcntl.F_SETPIPE_SZ, _LINES * len(_LINE))
    os.write(pipe.stdout, _LINE * _LINES)
    os.write(pipe.stderr, b"last words")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    book.flush()
    first = (tmp_path / "0.log").stat().st_size
    assert 0 < first < _LINES * len(_LINE) / 2
    pipe.close()
    book.flush()
    text = (tmp_path / "0.log").read_text()
    assert text.count("x") == _LINES * (len(_LINE) - 1)
    assert text.endswith(" stderr F last words\n")
