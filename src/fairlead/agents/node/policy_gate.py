"""The gate before a pod's first process: who starts pods asks here, and goes on when the kernel isolates the pod.

Comes in, over a Unix socket: one line, a Pod as JSON with its addresses in `status.podIPs`. Goes out: one line,
`{"programmed": true}`, when the policies of that pod are in the kernel, for a pod without policies at once. Whoever
gets no answer decides for itself. Refuses to know what the policies are.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from fairlead.agents.lines import log
from fairlead.compile.policy_pods import compile_pod
from fairlead.kube.outlines import PodOutline
from fairlead.model.policies import PolicyPod

_LONGEST_POD = 4 << 20
PROGRAMMED = b'{"programmed": true}\n'


class Admission(Protocol):
    """Who knows when a pod is isolated."""

    async def admit(self, pod: PolicyPod, news: Callable[[], None]) -> None:
        """Return once it is; `news` starts a round."""
        ...


async def serve_gate(path: Path, admission: Admission, news: Callable[[], None]) -> None:
    """Answer for ever. A socket that an agent left behind is replaced."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                pod = compile_pod(msgspec.json.decode(await reader.readuntil(b"\n"), type=PodOutline))
            except (msgspec.MsgspecError, asyncio.LimitOverrunError) as error:
                log(event="gate", error=str(error))
            else:
                if pod is not None:
                    await admission.admit(pod, news)
                writer.write(PROGRAMMED)
                await writer.drain()
        writer.close()

    await asyncio.to_thread(path.unlink, missing_ok=True)
    server = await asyncio.start_unix_server(answer, path, limit=_LONGEST_POD)
    async with server:
        await server.serve_forever()
