"""A gRPC server for a pod, and a client that calls it: `serve [CERTIFICATE KEY]`, or `call ADDRESS HOST`.

The methods of `echo.Echo` take and give bytes: `Say` one, `Count` as many answers as the request says, `Gather` all
requests in one answer, `Chat` an answer to each request when it comes. The client reads the certificate it is to trust
from standard input and prints what came of each call.
"""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

PORT = 50051


def _say(request: bytes, context: Any) -> bytes:
    if request == b"refuse":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
    context.set_trailing_metadata((("x-trailer", "said"),))
    return b"said " + request


def _count(request: bytes, _: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


def _gather(requests: Iterator[bytes], _: Any) -> bytes:
    return b",".join(requests)


def _chat(requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
    for request in requests:
        yield b"heard " + request


def serve(*pair: str) -> None:
    """Serve on all addresses until the end, with TLS if there is a certificate."""
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(_say),
        "Count": grpc.unary_stream_rpc_method_handler(_count),
        "Gather": grpc.stream_unary_rpc_method_handler(_gather),
        "Chat": grpc.stream_stream_rpc_method_handler(_chat),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", methods),))
    if pair:
        certificate, key = (Path(each).read_bytes() for each in pair)
        server.add_secure_port(f"0.0.0.0:{PORT}", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        server.add_insecure_port(f"0.0.0.0:{PORT}")
    server.start()
    server.wait_for_termination()


def call(address: str, host: str) -> None:
    """Call every method, and print what came back."""
    trusted = grpc.ssl_channel_credentials(sys.stdin.buffer.read())
    told: dict[str, Any] = {}
    sent: list[float] = []

    def words() -> Iterator[bytes]:
        for number in range(3):
            sent.append(time.monotonic())
            yield str(number).encode()
            time.sleep(0.3)

    with grpc.secure_channel(f"{address}:443", trusted, (("grpc.ssl_target_name_override", host),)) as channel:
        answer, through = channel.unary_unary("/echo.Echo/Say").with_call(b"this", timeout=10)
        told["say"] = answer.decode()
        told["trailer"] = dict(through.trailing_metadata()).get("x-trailer")
        told["count"] = len(list(channel.unary_stream("/echo.Echo/Count")(b"5000", timeout=20)))
        told["gather"] = channel.stream_unary("/echo.Echo/Gather")(words(), timeout=10).decode()
        sent.clear()
        came: list[float] = []
        heard: list[str] = []
        for each in channel.stream_stream("/echo.Echo/Chat")(words(), timeout=10):
            came.append(time.monotonic())
            heard.append(each.decode())
        told["chat"], told["in turns"] = heard, came[0] < sent[-1]
        for name, request in (("Say", b"refuse"), ("Nothing", b"")):
            try:
                channel.unary_unary(f"/echo.Echo/{name}")(request, timeout=10)
            except grpc.RpcError as error:
                told[f"{name} {request.decode()}"] = [error.code().name, error.details()]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
