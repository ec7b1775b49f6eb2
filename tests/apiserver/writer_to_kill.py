"""Processes that write until they are killed: each name is printed only once the engine has acknowledged it.

A line `FOLDER PREFIX` on standard input has a writer forked, who first says `pid NUMBER`; `end` follows its death.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import SqliteLog
from fairlead.cluster.apiserver.users import ADMIN
from fairlead.drivers.kubeapi.transport import ApiRequest
from fairlead.net import parse_prefix


async def write(folder: Path, prefix: str) -> None:
    """Write priority classes, four at a time, and tell each that was acknowledged."""
    server = ApiServer(SqliteLog(folder / "objects.sqlite"), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"

    async def one(name: str) -> None:
        body = msgspec.json.encode({"metadata": {"name": name}, "value": 1})
        sent = {"Content-Type": "application/json"}
        answer = await server.handle(ApiRequest(method="POST", path=path, query=(), headers=sent, body=body), ADMIN)
        assert getattr(answer, "status", 0) == 201, answer
        os.write(1, f"{name}\n".encode())

    number = 0
    while True:
        await asyncio.gather(*(one(f"{prefix}-{number + each}") for each in range(4)))
        number += 4


def main() -> None:
    """Fork a writer for each line, one after the other."""
    for line in sys.stdin:
        folder, prefix = line.split()
        pid = os.fork()
        if pid == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            asyncio.run(write(Path(folder), prefix))
        os.waitpid(pid, 0)
        os.write(1, b"end\n")


main()
