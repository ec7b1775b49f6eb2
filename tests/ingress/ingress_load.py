"""Sends requests at a rate until told to stop, half of them on connections kept alive; prints what became of them.

Run inside the client's namespace by the interpreter alone. The order is JSON: url, address, rate, keep (connections).
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit


class Load:
    def __init__(self, order: dict[str, Any]) -> None:
        parts = urlsplit(order["url"])
        self.host, self.path = parts.netloc, parts.path or "/"
        self.address = order["address"]
        self.port = 443 if parts.scheme == "https" else 80
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        if self.tls is not None:
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.rate = int(order.get("rate", 100))
        self.keep = int(order.get("keep", 8))
        self.handshakes = bool(order.get("handshakes"))
        self.told: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stopped = asyncio.Event()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        named = self.host.partition(":")[0] if self.tls else None
        return await asyncio.open_connection(self.address, self.port, ssl=self.tls, server_hostname=named)

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> None:
        connection = "keep-alive" if keep else "close"
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: {connection}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = lines[0].split()[1]
        self.told[status] += 1
        if headers.get("transfer-encoding") == "chunked":
            while (size := int((await reader.readline()).strip(), 16)) > 0:
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
            body = b""
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if status == "200" and body.startswith(b"{"):
            self.names[json.loads(body).get("pod", "")] += 1
        elif status != "200":
            self.failures.append(lines[0])
        if headers.get("connection") == "close":
            raise EOFError

    async def short(self) -> None:
        try:
            async with asyncio.timeout(5):
                reader, writer = await self.open()
                if self.handshakes:
                    made = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                    self.names[made[-16:].hex()] += 1
                    self.told["200"] += 1
                else:
                    try:
                        await self.ask(reader, writer, keep=False)
                    except EOFError:
                        pass
                writer.close()
        except Exception as error:
            self.told["failed"] += 1
            self.failures.append(f"new: {type(error).__name__} {error}")

    async def kept(self) -> None:
        opened: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self.stopped.is_set():
            try:
                async with asyncio.timeout(5):
                    opened = opened or await self.open()
                    await self.ask(*opened, keep=True)
            except EOFError as end:  # the server said close, or closed an idle connection: both are allowed
                if isinstance(end, asyncio.IncompleteReadError) and end.partial:
                    self.told["failed"] += 1
                    self.failures.append(f"kept: cut within an answer {end}")
                opened = None
            except ConnectionResetError as error:
                self.told["reset"] += 1
                self.failures.append(f"kept: {error}")
                opened = None
            except Exception as error:
                self.told["failed"] += 1
                self.failures.append(f"kept: {type(error).__name__} {error}")
                opened = None
            await asyncio.sleep(2 * self.keep / self.rate)

    async def run(self) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, sys.stdin.readline)
        tasks = [asyncio.create_task(self.kept()) for _ in range(0 if self.handshakes else self.keep)]
        running: set[asyncio.Task[None]] = set()
        pause = (1 if self.handshakes else 2) / self.rate
        while not ended.done():
            task = asyncio.create_task(self.short())
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(pause)
        self.stopped.set()
        await asyncio.gather(*tasks, *running)
        told = {"statuses": dict(self.told), "names": dict(self.names), "failures": self.failures[:20]}
        sys.stdout.write(json.dumps(told))


asyncio.run(Load(json.loads(sys.argv[1])).run())
