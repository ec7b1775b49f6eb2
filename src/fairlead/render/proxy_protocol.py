"""The header by which a proxy tells a server who its client is.

Comes in: the ends of the client's connection. Goes out: bytes to send before anything else. Source: the PROXY protocol,
versions 1 and 2 (haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2).
"""

from fairlead.net import Address, Family, Port

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PROXIED, _TCP4, _TCP6 = 0x21, 0x11, 0x21  # version 2, command PROXY; address family and STREAM


def render_header(version: int, source: tuple[Address, Port], destination: tuple[Address, Port]) -> bytes:
    """Return the header of a version, 1 or 2, for a TCP connection whose ends are of one family."""
    (client, client_port), (server, server_port) = source, destination
    assert client.family is server.family
    four = client.family is Family.IPV4
    if version == 1:
        return f"PROXY {'TCP4' if four else 'TCP6'} {client} {server} {client_port} {server_port}\r\n".encode()
    body = client.packed + server.packed + client_port.to_bytes(2, "big") + server_port.to_bytes(2, "big")
    head = bytes((_PROXIED, _TCP4 if four else _TCP6)) + len(body).to_bytes(2, "big")
    return _SIGNATURE + head + body
