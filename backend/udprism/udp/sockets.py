"""UDP sockets: options, the error queue, and sendmmsg with its fall-back.

Linux has three things that other systems do not: an error queue that says *which* peer is gone (IP_RECVERR), one
system call for many datagrams (sendmmsg), and a drop counter by socket (SO_MEMINFO). Elsewhere each has a plain
fall-back, and unknown values are None.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import Address, I32Column, I64Column, Rows
from udprism.errors import BindError
from udprism.serving.sessions import SOURCE_BYTES
from udprism.udp.source import SENT_BYTES, ancillary_of, ask_for_source, is_wildcard, tells_source

LINUX = sys.platform == "linux"

SO_TIMESTAMPNS = 35
MSG_TRUNC = 0x20
"""With this flag the kernel returns the true length of a datagram that was cut off."""
_IP_RECVERR = 11  # linux/in.h
_IPV6_RECVERR = 25  # linux/in6.h
_ERROR_KINDS = ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR))
"""Level and type of the control message that tells of an error; others come with it."""
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8  # linux/sock_diag.h: SK_MEMINFO_DROPS


def header_bytes(family: int) -> int:
    """Bytes that IP and UDP put in front of a payload, without options."""
    return 48 if family == socket.AF_INET6 else 28


class GonePeer(NamedTuple):
    """One entry of a socket's error queue: who could not be reached, and the errno that the kernel gave."""

    address: Address
    error: int


def bind_server(host: str, port: int, receive_buffer_bytes: int) -> list[socket.socket]:
    """Bind the server's sockets: one, or two where a loopback or wildcard host has a twin in the other family.

    Raises: BindError.
    """
    first = bind(host, port, receive_buffer_bytes)
    bound = [first]
    twin = {"127.0.0.1": "::1", "::1": "127.0.0.1", "localhost": "::1", "0.0.0.0": "::", "::": "0.0.0.0"}.get(host)
    if twin is not None:
        try:
            bound.append(bind(twin, first.getsockname()[1], receive_buffer_bytes))
        except BindError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return bound  # a machine without this family
            if port == 0 and isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
                return bound  # the kernel chose a port that happens to be taken in the other family
            first.close()
            raise
    return bound


def bind(host: str, port: int, receive_buffer_bytes: int) -> socket.socket:
    """One UDP socket, of one family. Raises: BindError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise BindError(f"cannot open a UDP socket for {host}: {error.strerror}") from error
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer_bytes)
        report_errors(sock)
        if is_wildcard(host):
            ask_for_source(sock)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind UDP {host}:{port}: {error.strerror or error}") from error
    return sock


def report_errors(sock: socket.socket) -> None:
    """Ask for the error queue. A pending error then says whose it is; without it a dead peer stays unknown."""
    if LINUX:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def drain_error_queue(sock: socket.socket, most: int = 4096) -> list[GonePeer]:
    """Empty the error queue, up to `most` entries. Until it is empty, the next send to *anyone* fails."""
    gone: list[GonePeer] = []
    if not LINUX:
        return gone
    for _ in range(most):
        try:
            _, ancillary, _, address = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            break
        except OSError:
            continue  # the pending error itself, reported once more; reading it clears it
        number = errno.ECONNREFUSED
        for level, kind, data in ancillary:
            if (level, kind) in _ERROR_KINDS:
                (number,) = struct.unpack_from("=I", data)
        if address:
            gone.append(GonePeer((address[0], address[1]), number))
    return gone


def address_of_name(name: Any) -> Address:
    """From the socket module's form of an address; a link-local one needs its scope: fe80::1%eth0."""
    host, port, *rest = name
    if len(rest) < 2 or not rest[1]:
        return str(host), int(port)
    try:
        scope = socket.if_indextoname(rest[1])
    except OSError:
        scope = str(rest[1])
    return f"{host}%{scope}", int(port)


def name_of_address(address: Address) -> Address | tuple[str, int, int, int]:
    """The inverse: Python's sockets ignore a scope in the host. Raises: OSError if there is no such interface."""
    host, _, scope = address[0].partition("%")
    if not scope:
        return address
    return host, address[1], 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def open_client(
    target: Address | None, family: socket.AddressFamily, receive_buffer_bytes: int, *, local: str = ""
) -> socket.socket:
    """Open a hosted client's socket; connected to `target`, else bound to `local`. The receiver sets what it needs.

    Raises: OSError, EMFILE among others; nothing stays open then.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if target is None:
            sock.bind(name_of_address((local, 0)))
        else:
            sock.connect(name_of_address(target))
    except OSError:
        sock.close()
        raise
    return sock


def send_from(sock: socket.socket, data: bytes, address: Address, source: bytes) -> None:
    """Send one datagram, from `source` if that is not empty. Raises: OSError."""
    ancillary = ancillary_of(source)
    if ancillary:
        sock.sendmsg([data], ancillary, 0, address)
    else:
        sock.sendto(data, address)


def source_address(target: Address) -> str:
    """The IP address from which this machine would send to `target` now. Raises: OSError if there is no way there."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(name_of_address(target))
        return address_of_name(probe.getsockname())[0]


def dropped_by_kernel(sock: socket.socket) -> int | None:
    """Datagrams that this socket's full receive buffer turned away since it was opened (modulo 2**32).

    None if the system does not tell (SO_MEMINFO is Linux 4.12 and newer).
    """
    if not LINUX:
        return None
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    except OSError:
        return None
    return int(struct.unpack_from("=I", words, 4 * _MEMINFO_DROPS)[0])


def sockaddr_row(address: Address, family: socket.AddressFamily) -> npt.NDArray[np.uint8]:
    """`address` as a struct sockaddr_in or sockaddr_in6: uint8[28]."""
    host, port = address
    row = np.zeros(SOCKADDR_BYTES, np.uint8)
    if family == socket.AF_INET6:
        packed = struct.pack("=H", family) + struct.pack("!HI", port, 0) + socket.inet_pton(family, host.split("%")[0])
        scope = socket.if_nametoindex(host.split("%")[1]) if "%" in host else 0
        packed += struct.pack("=I", scope)
    else:
        packed = struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_pton(family, host) + bytes(8)
    row[: len(packed)] = np.frombuffer(packed, np.uint8)
    return row


def address_of_row(row: npt.NDArray[np.uint8], family: socket.AddressFamily) -> Address:
    """The inverse of `sockaddr_row`, without a scope."""
    data = row.tobytes()
    (port,) = struct.unpack_from("!H", data, 2)
    host = socket.inet_ntop(family, data[8:24] if family == socket.AF_INET6 else data[4:8])
    return host, port


IOVEC = np.dtype([("base", np.uint64), ("length", np.uint64)])
"""struct iovec of 64-bit systems."""
MMSGHDR = np.dtype(
    [
        ("name", np.uint64),
        ("name_length", np.uint32),
        ("_pad0", np.uint32),
        ("iov", np.uint64),
        ("iov_length", np.uint64),
        ("control", np.uint64),
        ("control_length", np.uint64),
        ("flags", np.uint32),
        ("_pad1", np.uint32),
        ("sent", np.uint32),
        ("_pad2", np.uint32),
    ]
)
"""struct mmsghdr of 64-bit Linux: struct msghdr (56 bytes) and the length that was sent."""
NAME_BYTES = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""Of a struct sockaddr, by address family."""


class BatchSender:
    """Sends many rows to many addresses through one socket: sendmmsg on 64-bit Linux, else sendto.

    sendmmsg gives the GIL back once a batch instead of once a datagram; its arrays are made once and reused.
    Server thread only.
    """

    def __init__(self, sock: socket.socket, max_batch: int, *, use_sendmmsg: bool = True) -> None:
        self.sock = sock
        self.max_batch = max_batch
        self._fd = sock.fileno()
        self._sendmmsg = _load_sendmmsg() if use_sendmmsg else None
        self._iov = np.zeros(max_batch, IOVEC)
        self._messages = np.zeros(max_batch, MMSGHDR)
        self._messages["iov"] = self._iov.ctypes.data + 16 * np.arange(max_batch, dtype=np.uint64)
        self._messages["iov_length"] = 1
        self._messages["name_length"] = NAME_BYTES[socket.AddressFamily(sock.family)]
        self.tells_source = tells_source(sock)
        if self.tells_source:
            self._messages["control_length"] = SENT_BYTES[sock.family]
        self._messages_at = self._messages.ctypes.data
        self._row_numbers = np.arange(max_batch)
        self._base, self._length, self._name = self._iov["base"], self._iov["length"], self._messages["name"]
        self._control = self._messages["control"]

    def prepare(
        self,
        rows: Rows,
        length: I32Column,
        addresses: Rows,
        slot: I32Column,
        which: I64Column | None = None,
        sources: Rows | None = None,
    ) -> None:
        """Point at n ≤ max_batch datagrams and their addresses.

        rows: uint8[≥ n, width], of which `which`, int64[n], tells those to send (None: the first n); they stay where
        they are until they are sent. length: int32[n]. addresses: uint8[capacity, 28], by `slot`, int32[n]. sources:
        uint8[capacity, SOURCE_BYTES], likewise; needed if the socket tells sources.
        """
        count = len(slot)
        which = self._row_numbers[:count] if which is None else which
        self._kept = rows, which, length, addresses, sources, slot  # memory that the kernel reads must stay alive
        if self._sendmmsg is not None:
            self._base[:count] = which * rows.strides[0] + rows.ctypes.data
            self._length[:count] = length
            self._name[:count] = slot.astype(np.int64) * SOCKADDR_BYTES + addresses.ctypes.data
            if self.tells_source and sources is not None:
                self._control[:count] = slot.astype(np.int64) * SOURCE_BYTES + sources.ctypes.data

    def send(self, start: int, stop: int) -> tuple[int, int]:
        """Send prepared rows [start, stop). Returns (how many left, errno of the first that did not, or 0)."""
        if self._sendmmsg is None:
            return self._send_singly(start, stop)
        sent = self._sendmmsg(self._fd, self._messages_at + start * MMSGHDR.itemsize, stop - start, 0)
        if sent < 0:
            return 0, ctypes.get_errno()
        return sent, 0

    def _send_singly(self, start: int, stop: int) -> tuple[int, int]:
        rows, which, length, addresses, sources, slot = self._kept
        family = socket.AddressFamily(self.sock.family)
        for i in range(start, stop):
            data, address = rows[which[i], : length[i]].tobytes(), address_of_row(addresses[slot[i]], family)
            source = b"" if sources is None or not self.tells_source else sources[slot[i]].tobytes()
            try:
                send_from(self.sock, data, address, source)
            except OSError as error:
                return i - start, error.errno or errno.EIO
        return stop - start, 0


def _load_sendmmsg() -> ctypes._NamedFuncPointer | None:
    if not LINUX or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    with contextlib.suppress(OSError, AttributeError):
        function = ctypes.CDLL(None, use_errno=True).sendmmsg
        function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        function.restype = ctypes.c_int
        return function
    return None
