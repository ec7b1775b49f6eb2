"""The logs of containers over HTTP on a unix socket: which part is wanted comes in, text goes out, for as long as
asked.

`GET /logs/NAMESPACE/POD/CONTAINER` with follow, tailLines, previous, timestamps, sinceSeconds, sinceTime,
limitBytes, as in PodLogOptions. Knows files, not processes: `find` says which files there are and whether more will
come.
"""

# ruff: noqa: ASYNC240
# Log files are on a local disk, and read a piece at a time.

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from aiohttp import web
from msgspec import Struct

_LOOK = 0.1  # seconds between looks at a file that is followed


class LogFile(Struct, frozen=True):
    """A run's log file, which may not be there yet, and whether the container still writes to it."""

    path: Path
    live: bool


Tell = Callable[[], Awaitable[bytes]]
"""Gives the JSON that is served at a path of its own."""

Find = Callable[[str, str, str, bool], LogFile | str]
"""The log of a namespace's pod's container, of its present or previous run; or the words for why there is none."""


class Part(Struct, frozen=True, kw_only=True):
    """What of a log is wanted."""

    since: str = ""
    """RFC 3339 in UTC; lines from before are left out."""
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None


def wanted_part(query: "web.Request", now: float) -> tuple[Part, bool, bool]:
    """What a request asks for, whether to follow, and whether the previous run is meant. Raises ValueError."""
    values = query.query
    since = values.get("sinceTime", "")
    if since:
        since = _moment(datetime.fromisoformat(since).timestamp())
    elif seconds := values.get("sinceSeconds"):
        since = _moment(now - int(seconds))
    tail, limit = values.get("tailLines"), values.get("limitBytes")
    part = Part(
        since=since,
        timestamps=values.get("timestamps") == "true",
        tail=int(tail) if tail else None,
        limit=int(limit) if limit else None,
    )
    return part, values.get("follow") == "true", values.get("previous") == "true"


def _moment(epoch: float) -> str:
    from datetime import UTC

    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def select(lines: Iterator[bytes], part: Part) -> Iterator[bytes]:
    """The lines of a log file that are wanted, as they are to be shown."""
    for line in lines:
        moment, _, rest = line.partition(b" ")
        if part.since and moment.decode() < part.since:
            continue
        _, _, rest = rest.partition(b" ")
        _, _, message = rest.partition(b" ")
        yield moment + b" " + message if part.timestamps else message


async def start_log_server(path: Path, find: Find, others: Mapping[str, Tell] | None = None) -> web.AppRunner:
    """Serve on a unix socket at `path` until the returned runner is cleaned up; `others` are further paths."""

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            part, follow, previous = wanted_part(request, time.time())
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        match = request.match_info

        def look() -> LogFile | str:
            return find(match["namespace"], match["pod"], match["container"], previous)

        found = look()
        if isinstance(found, str):
            return web.Response(status=404 if "not found" in found else 400, text=found)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        await _send(response, part, look, found, follow=follow)
        return response

    application = web.Application()
    application.router.add_get("/logs/{namespace}/{pod}/{container}", serve)
    for place, tell in (others or {}).items():

        async def say(_: web.Request, tell: Tell = tell) -> web.Response:
            return web.Response(body=await tell(), content_type="application/json")

        application.router.add_get(place, say)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    await web.UnixSite(runner, str(path)).start()
    return runner


async def _send(
    response: web.StreamResponse, part: Part, find: Callable[[], LogFile | str], found: LogFile, *, follow: bool
) -> None:
    left = part.limit
    data, offset = _all(found.path)
    lines = list(select(_lines(data), part))
    chunk = b"".join(lines if part.tail is None else lines[len(lines) - min(part.tail, len(lines)) :])
    while True:
        if left is not None:
            chunk, left = chunk[:left], left - len(chunk[:left])
        if chunk:
            await response.write(chunk)
        if not follow or left == 0:
            break
        now = find()
        live = isinstance(now, LogFile) and now.live and now.path == found.path
        await asyncio.sleep(_LOOK if live else 2 * _LOOK)  # the last lines are written after the end
        chunk, offset = _more(found.path, offset, part)
        if not live and not chunk:
            break
    await response.write_eof()


async def follow_new_lines(find: Callable[[], LogFile | str]) -> AsyncIterator[tuple[str, bytes]]:
    """What a container writes from now on: pairs of stream name and line, until the run ends that writes now."""
    first = find()
    if isinstance(first, str):
        return
    offset = first.path.stat().st_size if first.path.exists() else 0
    while True:
        now = find()
        live = isinstance(now, LogFile) and now.live and now.path == first.path
        await asyncio.sleep(_LOOK if live else 2 * _LOOK)
        chunk, offset = _whole_lines(first.path, offset)
        for line in _lines(chunk):
            _, stream, _, message = line.split(b" ", 3)
            yield stream.decode(), message
        if not live and not chunk:
            return


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines with their ends. Only a newline ends one: what a program writes may have carriage returns in it."""
    return iter(io.BytesIO(data))


def _all(path: Path) -> tuple[bytes, int]:
    """Everything that is kept of a log, and the size of its present file."""
    older, present = (file.read_bytes() if file.exists() else b"" for file in (path.with_name(path.name + ".1"), path))
    return older + present, len(present)


def _more(path: Path, offset: int, part: Part) -> tuple[bytes, int]:
    whole, offset = _whole_lines(path, offset)
    return b"".join(select(_lines(whole), part)), offset


def _whole_lines(path: Path, offset: int) -> tuple[bytes, int]:
    """What was written since `offset`, as far as it ends with a line, and the offset after that."""
    if not path.exists():
        return b"", offset
    with path.open("rb") as file:
        if file.seek(0, 2) < offset:  # a new generation
            offset = 0
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole, offset + len(whole)
