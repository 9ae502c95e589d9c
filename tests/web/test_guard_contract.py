"""Fails when uvicorn changes what guarded_*.py rely on: then read the new text, mend them, write the new digest."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import Server

from udprism.web.guarded_http import GuardedHttp
from udprism.web.guarded_websocket import GuardedWebSocket

READ = {
    (HttpToolsProtocol, "connection_made"): "6efb565ff3d36b91",
    (HttpToolsProtocol, "connection_lost"): "c91a4c9bf2e29c55",
    (HttpToolsProtocol, "data_received"): "010a7ae59a5d3b1a",
    (HttpToolsProtocol, "handle_websocket_upgrade"): "179c4f769386ab89",
    (HttpToolsProtocol, "on_message_begin"): "96d377fdc7c2baef",
    (HttpToolsProtocol, "on_header"): "65d62c044f61fdbd",
    (HttpToolsProtocol, "on_headers_complete"): "1ea8589acfad92d8",
    (HttpToolsProtocol, "on_message_complete"): "1fbad42dc31fc01f",
    (HttpToolsProtocol, "on_response_complete"): "64e254f28e389e76",
    (HttpToolsProtocol, "pause_writing"): "17a8fd215d96a13c",
    (HttpToolsProtocol, "resume_writing"): "7844bbaa8cceb1ef",
    (HttpToolsProtocol, "shutdown"): "d7351fa33f00d430",
    (RequestResponseCycle, "send"): "abdd8601b326a8da",
    (RequestResponseCycle, "run_asgi"): "0f33f2449a444bc2",
    (RequestResponseCycle, "receive"): "8124ae006be71184",
    (WebSocketsSansIOProtocol, "connection_made"): "f533ec93747c2cbf",
    (WebSocketsSansIOProtocol, "connection_lost"): "dd116afc4d8034e1",
    (WebSocketsSansIOProtocol, "pause_writing"): "4830f7e0d81f877d",
    (WebSocketsSansIOProtocol, "resume_writing"): "ef79384e5fff077c",
    (WebSocketsSansIOProtocol, "data_received"): "c89d394077d8841d",
    (WebSocketsSansIOProtocol, "handle_connect"): "fc648c2161ff8e13",
    (WebSocketsSansIOProtocol, "handle_events"): "b2c9351a5d13493f",
    (WebSocketsSansIOProtocol, "handle_ping"): "41bcf345d372c55c",
    (WebSocketsSansIOProtocol, "handle_cont"): "d96fe1479da61beb",
    (WebSocketsSansIOProtocol, "handle_text"): "6ae523180cf04a01",
    (WebSocketsSansIOProtocol, "handle_bytes"): "2b22b21bf8feb4bf",
    (WebSocketsSansIOProtocol, "send_receive_event_to_app"): "a2b10de91477dc1d",
    (WebSocketsSansIOProtocol, "send"): "d4919ed760ce9f7b",
    (WebSocketsSansIOProtocol, "run_asgi"): "662375aa38d9044c",
    (WebSocketsSansIOProtocol, "shutdown"): "e8ace796ada616b7",
    (Server, "shutdown"): "9b33c50562992b1e",
}


def digest(owner: type, name: str) -> str:
    """Of a method's text."""
    return hashlib.sha256(inspect.getsource(getattr(owner, name)).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("owner", "name"), READ, ids=lambda part: getattr(part, "__name__", part))
def test_method_is_the_one_that_the_guard_was_written_for(owner: type, name: str) -> None:
    assert digest(owner, name) == READ[owner, name]


@pytest.mark.parametrize(
    ("guarded", "base"), [(GuardedHttp, HttpToolsProtocol), (GuardedWebSocket, WebSocketsSansIOProtocol)]
)
def test_every_method_that_the_guard_overrides_was_read(guarded: Any, base: type) -> None:
    overridden = {name for name in vars(guarded) if not name.startswith("__") and hasattr(base, name)}
    assert overridden
    assert overridden <= {name for owner, name in READ if owner is base}
