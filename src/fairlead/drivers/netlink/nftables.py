"""The nftables socket: transactions go in, the kernel's tables come out.

One transaction is one netlink batch, acknowledged by the kernel before `apply` returns. Knows the batch protocol
(kernel `net/netfilter/nfnetlink.c`) and its errors; the meaning of messages belongs to `fairlead.nft`.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator
from typing import Self

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netlink.nfreplies import Reply, iter_replies
from fairlead.nft.attributes import MESSAGE_HEADER, parse_name
from fairlead.nft.attributes import name as encode_name
from fairlead.nft.decode import (
    Listed,
    join_elements,
    parse_chain,
    parse_elements,
    parse_generation,
    parse_listed,
    parse_rule,
    parse_set,
)
from fairlead.nft.encode import Message, encode_transaction
from fairlead.nft.messages import BATCH_BEGIN, BATCH_END, MessageType
from fairlead.nft.objects import Chain, TableFamily
from fairlead.nft.shapes import SetShape
from fairlead.nft.tables import ChainContents, Rows, SetContents, TableContents
from fairlead.nft.transactions import Command, Transaction

_NETFILTER = 12
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_LIST_ATTEMPTS, _LIST_PAUSE = 10, 0.005
_ROWS_AT_ONCE = 500
_SUBSYSTEM = socket.htons(10)
_HEADER_SIZE = 20
_WANTED_SEND_BUFFER = 1 << 29
_WANTED_RECEIVE_BUFFER = 1 << 22
_RECEIVE_SIZE = 1 << 16
_BATCH_OVERHEAD = 4096
_PIECE = 1 << 20  # bytes, some 20,000 rows

MOST_ROWS = 250_000
"""How many rows of one set are listed: a second or two; the time grows with the square of their number."""


class NftError(FairleadError):
    """The kernel refused a transaction: nothing of the batch that held it was done.

    `number` is the errno, `command` the command refused, absent when the batch as a whole was refused.
    """

    def __init__(self, number: int, command: Command | None, detail: str) -> None:
        code = errno.errorcode.get(number, str(number))
        where = f" at {_describe(command)}" if command is not None else ""
        text = f"nftables refused the transaction{where}: {os.strerror(number)} ({code})"
        super().__init__(f"{text}: {detail}" if detail else text, _remedy(number))
        self.number = number
        self.command = command


class _UnsteadyError(Exception):
    """The ruleset, or the layout of a set in memory, changed while it was listed."""


class NftSocket:
    """A netlink socket to the nftables of the network namespace it was opened in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self.limit = self._size_buffers() - _BATCH_OVERHEAD
        """The bytes of messages that one batch may hold."""
        self.port = int(self._socket.getsockname()[0])
        """The netlink port, by which the kernel names who changed something."""
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def apply(self, transaction: Transaction) -> None:
        """Carry out a transaction and wait for the kernel's acknowledgement. Raises NftError.

        All or nothing as long as the batch fits the socket's send buffer, which for root always is so. A longer one,
        and a long one that is separable, is cut between messages that need not be together, and one that asks for
        commits at these; a failure then leaves the earlier pieces done.
        """
        limit = min(self.limit, _PIECE) if transaction.separable else self.limit
        for part in transaction.parts():
            for messages in self._batches(encode_transaction(part), limit):
                self._send_batch(messages, part)

    def list_table(self, family: TableFamily, name: str, most_rows: int = MOST_ROWS) -> TableContents | None:
        """Return a table with all it holds, or None where there is none, as it was at one moment.

        Somebody else's expressions, sets and chains are in it too. The kernel starts over for each 32 KiB of a set it
        lists, so of sets with more than `most_rows` rows only the shape is returned: making them anew is quicker. Rows
        that rules add or time takes away are left out. Raises NftError, also when the ruleset changes faster than it
        can be listed.
        """
        for attempt in range(_LIST_ATTEMPTS):
            if attempt:
                time.sleep(_LIST_PAUSE * attempt)
            before = self.generation()
            try:
                table = self._list_once(family, name, most_rows)
            except _UnsteadyError:
                continue
            if self.generation() == before:
                return table
        raise NftError(errno.EAGAIN, None, f"the ruleset changed during each of {_LIST_ATTEMPTS} listings")

    def generation(self) -> int:
        """Return the number of the ruleset generation: every change of any table of the namespace raises it."""
        (body,) = self._ask(MessageType.GET_GENERATION, 0, b"", dump=False)
        return parse_generation(body)

    def has_table(self, family: TableFamily, name: str) -> bool:
        """Return whether there is such a table. Raises NftError."""
        try:
            self._ask(MessageType.GET_TABLE, family, encode_name(1, name), dump=False)
        except NftError as error:
            if error.number == errno.ENOENT:
                return False
            raise
        return True

    def _list_once(self, family: TableFamily, name: str, most_rows: int) -> TableContents | None:
        if not self.has_table(family, name):
            return None
        table = TableContents(family, name)
        for listed in self._list(MessageType.GET_CHAIN, family, name):
            try:
                chain = parse_chain(listed)
            except ValueError:  # somebody's hook that we never use: as a chain without a hook it differs from ours too
                chain = Chain(parse_name(listed.found[3]))
            table.chains[chain.name] = ChainContents(chain)
        for listed in self._list(MessageType.GET_RULE, family, name):
            holder, rule = parse_rule(listed)
            table.chains[holder].rules.append(rule)
        for listed in self._list(MessageType.GET_SET, family, name):
            shape, count = parse_set(listed)
            small = count is None or count <= most_rows
            rows = {} if shape.is_state else self._rows(family, name, shape, count) if small else None
            table.sets[shape.name] = SetContents(shape, rows)
        return table

    def _rows(self, family: TableFamily, name: str, shape: SetShape, count: int | None) -> Rows:
        """List a set's rows. While its hash table is being resized a listing misses some, so they are counted.

        Where the kernel does not tell the count, two listings in a row must agree.
        """
        rows = self._rows_once(family, name, shape)
        if count is None and len(rows) > _ROWS_AT_ONCE and rows != self._rows_once(family, name, shape):
            raise _UnsteadyError
        if count is not None and len(rows) != count:
            raise _UnsteadyError
        return join_elements(shape, rows)

    def _rows_once(self, family: TableFamily, name: str, shape: SetShape) -> Rows:
        rows: Rows = {}
        for listed in self._list(MessageType.GET_ELEMENT, family, name, encode_name(2, shape.name)):
            parse_elements(listed, shape, rows)
        return rows

    def _list(self, kind: MessageType, family: TableFamily, name: str, more: bytes = b"") -> Iterator[Listed]:
        """Yield the listed objects of one table; of some kinds the kernel sends those of every table."""
        for body in self._ask(kind, family, encode_name(1, name) + more, dump=True):
            listed = parse_listed(body)
            if listed.table == name:
                yield listed

    def _ask(self, kind: MessageType, family: int, body: bytes, *, dump: bool) -> list[bytes]:
        """Send one request outside of batches and return the bodies of its answers. Raises NftError."""
        self._sequence += 1
        sequence = self._sequence
        flags = _REQUEST | (_DUMP if dump else _ACK)
        self._transmit(MESSAGE_HEADER.pack(_HEADER_SIZE + len(body), kind, flags, sequence, 0, family, 0, 0) + body)
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for reply in self._receive(sequence):
                interrupted = interrupted or reply.interrupted
                if reply.error:
                    raise NftError(reply.error, None, f"{kind.name} {reply.detail}".rstrip())
                if reply.final:
                    if interrupted:
                        raise _UnsteadyError
                    return bodies
                bodies.append(reply.body)

    def _size_buffers(self) -> int:
        """Enlarge both buffers, by force where that is allowed, and return the bytes one batch may have."""
        for forced, plain, size in (
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF, _WANTED_SEND_BUFFER),
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF, _WANTED_RECEIVE_BUFFER),
        ):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, plain, size)
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def _batches(self, messages: Iterator[Message], limit: int) -> Iterator[list[Message]]:
        """Gather messages into batches within the limit; a group that alone is longer gets a batch to itself."""
        batch: list[Message] = []
        size = 0
        for group in _groups(messages):
            length = sum(len(message.body) + _HEADER_SIZE for message in group)
            if batch and size + length > limit:
                yield batch
                batch, size = [], 0
            batch += group
            size += length
        if batch:
            yield batch

    def _send_batch(self, messages: list[Message], transaction: Transaction) -> None:
        first = self._sequence + 1
        last = self._sequence = first + len(messages)
        family = transaction.family
        pack = MESSAGE_HEADER.pack
        pieces = [pack(_HEADER_SIZE, BATCH_BEGIN, _REQUEST, first, 0, 0, 0, _SUBSYSTEM)]
        for sequence, message in enumerate(messages, first + 1):
            flags = message.flags | (_REQUEST | _ACK if sequence == last else _REQUEST)
            pieces.append(pack(_HEADER_SIZE + len(message.body), message.type, flags, sequence, 0, family, 0, 0))
            pieces.append(message.body)
        pieces.append(pack(_HEADER_SIZE, BATCH_END, _REQUEST, last, 0, 0, 0, _SUBSYSTEM))
        self._transmit(b"".join(pieces))
        self._await_acknowledgement(first, last, messages, transaction)

    def _transmit(self, data: bytes) -> None:
        """Send one datagram. The kernel works it off before `send` returns."""
        try:
            self._socket.send(data)
        except OSError as error:
            raise NftError(error.errno or 0, None, f"sending {len(data)} bytes") from error

    def _await_acknowledgement(self, first: int, last: int, messages: list[Message], transaction: Transaction) -> None:
        failure: NftError | None = None
        while True:
            for reply in self._receive(first):
                if reply.error and failure is None:
                    at = messages[reply.sequence - first - 1].command if reply.sequence > first else None
                    command = None if at is None else transaction.commands[at]
                    failure = NftError(reply.error, command, reply.detail)
                if reply.sequence == last or (reply.sequence == first and reply.error):
                    if failure is not None:
                        raise failure
                    return

    def _receive(self, first: int) -> list[Reply]:
        """Return the replies at hand to messages from `first` on. Raises NftError where some were lost."""
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            raise NftError(errno.EIO, None, "the kernel did not answer") from None
        except OSError as error:
            raise NftError(error.errno or 0, None, "the kernel's replies were lost") from error
        return [reply for reply in iter_replies(data) if reply.sequence >= first]


def _groups(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Yield the messages that must stay together: one, and those bound to it."""
    group: list[Message] = []
    for message in messages:
        if group and not message.bound:
            yield group
            group = []
        group.append(message)
    if group:
        yield group


def open_nft_socket() -> NftSocket:
    """Open a socket to the nftables of the current network namespace. Raises NftError where the kernel has none."""
    try:
        return NftSocket()
    except OSError as error:
        raise NftError(error.errno or 0, None, "opening a netfilter netlink socket") from error


def _describe(command: Command) -> str:
    name = type(command).__name__
    for attribute in ("name", "chain", "set"):
        value = getattr(command, attribute, None)
        if value is not None:
            return f"{name} {getattr(value, 'name', value)}"
    return name


def _remedy(number: int) -> str:
    match number:
        case errno.EPERM | errno.EACCES:
            return "run with CAP_NET_ADMIN in the user namespace that owns this network namespace"
        case errno.EOPNOTSUPP | errno.EPROTONOSUPPORT | errno.EAFNOSUPPORT:
            return (
                "use a kernel of 5.13 or later with CONFIG_NF_TABLES and its nat, masquerade, reject and numgen parts"
            )
        case errno.ENOENT | errno.EEXIST | errno.EBUSY | errno.ENOBUFS:
            return "list the table and apply the difference: it is not in the state this transaction starts from"
        case _:
            return ""
