"""Whether the addresses can be bound, and whether a udprism that has bound them works."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request

from udprism.cli.doctor.finding import Finding, Severity
from udprism.columns.types import NS_PER_MS
from udprism.errors import BindError
from udprism.settings import Settings, reachable_host
from udprism.udp.neighbours import neighbours
from udprism.udp.sockets import bind_server
from udprism.wire.formats import FORMATS

SPARE_DESCRIPTORS = 512
"""For browsers, the server's sockets, the database, and files that the interpreter opens."""


def check_running(settings: Settings) -> Finding | None:
    """What a udprism running at these addresses reports about itself; None if there is none."""
    address = f"http://{settings.http}"
    request = urllib.request.Request(f"{address}/readyz")
    if settings.token:
        request.add_header("Authorization", f"Bearer {settings.token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the question is about this machine
    try:
        with direct.open(request, timeout=2) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
    except (OSError, http.client.HTTPException):  # nobody, or a program that speaks something else
        return None
    try:
        body = json.loads(text)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    if "checks" not in body:
        return None
    hidden = "the reason needs its token: UDPRISM_TOKEN=… udprism doctor"
    bad = [f"{check['name']}: {check['detail'] or hidden}" for check in body["checks"] if not check["ok"]]
    if bad and body.get("ready"):
        saw = f"a udprism runs at {address} and is ready, but not everything works"
        return Finding(Severity.NOTE, saw, "; ".join(bad), "see its log")
    if bad:
        return Finding(Severity.FAIL, f"the udprism at {address} is not ready", "; ".join(bad), "see its log")
    return Finding(Severity.OK, f"a udprism runs at {address} and is ready")


def check_stream(settings: Settings) -> Finding:
    """Whether the running server answers `connect` with a colour."""
    host, port = settings.udp_address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        began_ns = time.monotonic_ns()
        try:
            sock.connect((reachable_host(host), port))
            sock.send(b"connect rate_hz=10")
            colour = sock.recv(2048).decode("ascii", "replace")
            sock.send(b"disconnect")
        except OSError as error:
            return Finding(
                Severity.FAIL,
                f"no colour came from UDP {settings.udp}: {error}",
                "raw clients would see nothing",
                "is a firewall between them? On Linux: nft list ruleset",
            )
    return Finding(
        Severity.OK, f"connect brought {colour!r} after {(time.monotonic_ns() - began_ns) / NS_PER_MS:.0f} ms"
    )


def check_udp_port(settings: Settings) -> Finding:
    """Whether the server's sockets can be bound."""
    host, port = settings.udp_address
    try:
        sockets = bind_server(host, port, settings.receive_buffer_bytes)
    except BindError as error:
        return Finding(Severity.FAIL, str(error), "serve would end with exit code 3", "give it another --udp HOST:PORT")
    for sock in sockets:
        sock.close()
    return Finding(Severity.OK, f"UDP {settings.udp} can be bound")


def check_http_port(settings: Settings) -> Finding:
    """Whether the page's port can be bound."""
    host, port = settings.http_address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as sock:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            saw = f"cannot bind HTTP {settings.http}: {error.strerror or error}"
            return Finding(Severity.FAIL, saw, "serve would end with exit code 3", "give it another --http HOST:PORT")
    return Finding(Severity.OK, f"HTTP {settings.http} can be bound")


def check_formats(settings: Settings) -> Finding:
    """Whether other programs are bound to the usual ports of the formats that receivers hear."""
    forms = [form for form in FORMATS.values() if form.port]
    others = neighbours([("127.0.0.1", form.port) for form in forms])
    taken = [f"{form.name} ({form.port}): {one}" for form, found in zip(forms, others, strict=True) for one in found]
    if taken:
        return Finding(
            Severity.NOTE,
            f"other programs are bound to usual ports: {'; '.join(taken)}",
            "a receiver on the same address cannot be bound; on a shared port, the socket bound last gets what is sent",
            "give the receiver an address of its own, such as 127.0.0.2, or end the other program",
        )
    return Finding(Severity.OK, f"no program is bound to the usual ports of {', '.join(form.name for form in forms)}")


def check_descriptors(settings: Settings) -> Finding:
    """Whether each hosted client can have its socket."""
    if sys.platform == "win32":
        return Finding(Severity.OK, "this system sets no limit on file descriptors")
    import resource

    needed = settings.clients + settings.max_viewers + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding(
            Severity.FAIL,
            f"at most {hard} file descriptors for {settings.clients} clients, which need {needed}",
            f"only {max(0, hard - needed + settings.clients)} hosted clients fit",
            f"ulimit -n {needed}   (as root, or in /etc/security/limits.conf)",
        )
    limit = "any number of" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    return Finding(Severity.OK, f"{limit} file descriptors allowed, {needed:,} needed for {settings.clients:,} clients")
