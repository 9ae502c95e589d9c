"""`udprism record`: has the running program record its datagrams until Ctrl-C, and prints where the files are."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from typing import Annotated, Any, Final

import typer

from udprism.cli.flags import read_settings
from udprism.cli.serve import end_on_signals
from udprism.errors import RequestError

_LOOK_EVERY_S: Final = 1.0
_REQUEST_S: Final = 30.0
EXIT_SYSTEM: Final = 74


def record(
    clients: Annotated[list[str] | None, typer.Argument(metavar="[CLIENT]...", help="Ids; default: all.")] = None,
    http: Annotated[str | None, typer.Option("--http", help="Where the running program's page is.")] = None,
    form: Annotated[str, typer.Option("--format", help="pcapng, or pcap without causes of losses.")] = "pcapng",
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Maximum size of all files together.")] = 100_000_000,
    max_files: Annotated[int, typer.Option("--max-files", help="Files to keep; a new one replaces the oldest.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the recording as one JSON object.")] = False,
) -> None:
    """Record the datagrams of the running program.

    The files give the cause of each loss. Ctrl-C ends the recording.
    """
    settings = read_settings(http=http)
    running = _Running(f"http://{settings.http}", settings.token)
    asked = {"flows": clients or "all", "format": form, "max_bytes": max_bytes, "max_files": max_files}
    ended = end_on_signals()
    made = running.ask("POST", "/api/recordings", asked)
    path = f"/api/recordings/{made['id']}"
    if not as_json:
        print(f"recording {made['id']}; Ctrl-C ends it", flush=True)
    while made["state"] == "running" and not ended.wait(_LOOK_EVERY_S):
        made = running.ask("GET", path)
    made = running.ask("POST", f"{path}/stop")
    if as_json:
        print(json.dumps(made))
    else:
        seen, missed = made["recorded"], made["missed"]
        print(
            f"{seen['sender']:,} datagrams at the sender, {seen['receiver']:,} at the receiver, {made['bytes']:,} bytes"
        )
        if sum(missed.values()):
            print(f"{sum(missed.values()):,} were not recorded: the disk or the processor was too slow")
        for name in made["files"]:
            print(f"{running.url}{path}/file?name={name}")
    if made["error"] is not None:
        print(f"udprism: the recording stopped by itself: {made['error']}", file=sys.stderr)
        raise typer.Exit(EXIT_SYSTEM)


class _Running:
    """The running program, asked over REST."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self._token = url, token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call's answer. Raises: RequestError with what the program says; Exit if there is none."""
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode())
        request.method = method
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=_REQUEST_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise RequestError(_detail(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"udprism: no udprism answers at {self.url}: {error}", file=sys.stderr)
            raise typer.Exit(EXIT_SYSTEM) from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        body = json.loads(error.read())
        return str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the program answered {error.code}"
