"""The log subresource of pods: chooses the container and streams what the kubelet kept of it.

Comes in: `GET pods/NAME/log` and its options. Goes out: plain text, for as long as the client follows. Refuses to know
where logs are kept: the kubelet serves them over HTTP on a unix socket. Source: LogLocation and validateContainer in
pkg/registry/core/pod/strategy.go, ValidatePodLogOptions in pkg/apis/core/validation/validation.go.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from msgspec import Struct

from fairlead.cluster.apiserver.destinations import Get
from fairlead.cluster.apiserver.proxying import ProxyTarget, refusal_response
from fairlead.cluster.apiserver.statuses import StatusError, bad_request, internal
from fairlead.kube.documents import Document, items_at, text_at

_LONGEST_REFUSAL = 4096
_TRUE = ("1", "t", "T", "true", "True", "TRUE")
_FALSE = ("0", "f", "F", "false", "False", "FALSE", "")


class LogOptions(Struct, frozen=True):
    """What of which log is asked for; `query` holds the options for the kubelet, by upstream's names."""

    container: str
    query: dict[str, str]


def parse_log_options(query: Mapping[str, str], name: str) -> LogOptions:
    """Read the options of a request for the log of the pod `name`. Raises StatusError: 400 unreadable, 422 invalid."""
    options = {key: _flag(query[key]) for key in ("follow", "previous", "timestamps") if key in query}
    wrong: list[str] = []
    for key, least in (("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)):
        if key in query:
            number = _number(query[key])
            if number < least:
                told = "must be greater than 0" if least else "must be greater than or equal to 0"
                wrong.append(f"{key}: Invalid value: {number}: {told}")
            options[key] = str(number)
    if query.get("sinceTime"):
        options["sinceTime"] = query["sinceTime"]
        if "sinceSeconds" in options:
            wrong.append("<nil>: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if wrong:
        told = wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]"
        details: Document = {"name": name, "kind": "PodLogOptions"}
        raise StatusError(422, "Invalid", f'PodLogOptions "{name}" is invalid: {told}', details)
    return LogOptions(query.get("container", ""), options)


def choose_container(pod: Document, wanted: str) -> str:
    """Return the container whose log is meant: `wanted`, or the only one. Raises a bad request for anything else."""
    name = text_at(pod, "metadata", "name")
    containers = [text_at(each, "name") for each in items_at(pod, "spec", "containers")]
    first = [text_at(each, "name") for each in items_at(pod, "spec", "initContainers")]
    others = [text_at(each, "name") for each in items_at(pod, "spec", "ephemeralContainers")]
    if wanted:
        if wanted not in (*containers, *first, *others):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(containers) == 1:
        return containers[0]
    told = f"a container name must be specified for pod {name}"
    if containers:
        told += f", choose one of: [{' '.join(containers)}]"
    if first:
        told += f" or one of the init containers: [{' '.join(first)}]"
    raise bad_request(told)


class LogConnector:
    """Serves `pods/log` from the kubelet's unix socket. The HTTP server cancels it when the client has gone."""

    def __init__(self, get: Get, kubelet: Path) -> None:
        self._get = get
        self._kubelet = kubelet

    async def __call__(self, request: web.Request, target: ProxyTarget) -> web.StreamResponse:
        """Answer one request. A refusal, ours or the kubelet's, is answered as a Status."""
        try:
            if request.method != "GET":
                raise StatusError(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
                )
            pod = self._get("pods", target.namespace, target.name)
            if pod is None:
                raise StatusError(
                    404, "NotFound", f'pods "{target.name}" not found', {"name": target.name, "kind": "pods"}
                )
            options = parse_log_options(request.query, target.name)
            container = choose_container(pod, options.container)
            if not text_at(pod, "spec", "nodeName"):
                return web.Response(content_type="text/plain")
            return await self._stream(request, f"/logs/{target.namespace}/{target.name}/{container}", options.query)
        except StatusError as refusal:
            return refusal_response(refusal)

    async def _stream(self, request: web.Request, path: str, query: dict[str, str]) -> web.StreamResponse:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._kubelet)), timeout=aiohttp.ClientTimeout(total=None)
        ) as session:
            try:
                answer = await session.get(f"http://kubelet{path}", params=query)
            except (aiohttp.ClientError, OSError) as error:
                raise internal(f"the kubelet does not answer: {error}") from error
            async with answer:
                if answer.status != 200:
                    raise await _refusal_of(answer)
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                await response.prepare(request)
                with suppress(aiohttp.ClientError):  # the kubelet ended: so does the log
                    async for piece in answer.content.iter_any():
                        await response.write(piece)
                await response.write_eof()
                return response


async def _refusal_of(answer: aiohttp.ClientResponse) -> StatusError:
    """What the kubelet said, as the API says it (GenericHttpResponseChecker in pkg/registry/core/rest)."""
    text = (await answer.content.read(_LONGEST_REFUSAL)).decode(errors="replace").strip()
    if answer.status == 400:
        return bad_request(text)
    if answer.status == 404:
        return StatusError(404, "NotFound", f"the server could not find the requested resource ({text})", {})
    return internal(text)


def _flag(text: str) -> str:
    if text in _TRUE:
        return "true"
    if text in _FALSE:
        return "false"
    raise bad_request(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
