"""Holds a WebSocket and echoes over it until told to stop; prints how many echoes came and whether it was cut.

Run inside the client's namespace. Arguments: address, host.
"""

import asyncio
import json
import sys

import aiohttp


async def main(address: str, host: str) -> None:
    echoes, problem = 0, ""
    loop = asyncio.get_running_loop()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{address}/", headers={"Host": host}) as ws,
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = loop.run_in_executor(None, sys.stdin.readline)
        while not ended.done() and not problem:
            await ws.send_str(f"message {echoes}")
            message = await ws.receive(timeout=5)
            if message.type is not aiohttp.WSMsgType.TEXT:
                problem = f"{message.type!r} after {echoes} echoes"
                break
            echoes += 1
            await asyncio.sleep(0.05)
        await ended
    sys.stdout.write(json.dumps({"echoes": echoes, "problem": problem}))


asyncio.run(main(sys.argv[1], sys.argv[2]))
