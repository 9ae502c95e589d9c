"""Every module of the backend has its tests where one looks for them.

`room/x.py` is tested by `tests/room/test_x.py`, or by a test module of the same room that imports it. A module that is
only reached through another one is named below, with the test module that reaches it and why there.
"""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

import udprism

TESTS = Path(__file__).parent
PACKAGE = Path(udprism.__file__).parent
MODULES = sorted(
    path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py",)
)
REACHED_BY: tuple[tuple[str, str, str], ...] = (
    ("__main__.py", "cli/test_flags.py", "exit codes are the command line's"),
    ("testing.py", "relay/test_testing.py", "runs a relay from a test, as its users do"),
    ("capture/known.py", "capture/test_sightings.py", "what the window of sightings knows of each"),
    ("capture/pcap_writer.py", "capture/test_writers.py", "written, and read back by tshark and ours"),
    ("capture/*.py", "capture/test_datagrams.py", "stages of one reader: bytes in, datagrams out"),
    ("cli/baselines/usual_stack.py", "cli/test_bench.py", "what the bench runs beside the product"),
    ("cli/line.py", "cli/test_client.py", "the client's one line"),
    ("cli/*.py", "cli/test_bench.py", "parts of the bench"),
    ("columns/turns.py", "link/test_scans.py", "scans along slots, as links use them"),
    ("link/bottleneck.py", "link/test_model.py", "one stage of the model"),
    ("node/assembly.py", "test_settings.py", "built with every setting at its bounds"),
    ("node/bodies/nodes.py", "end_to_end/test_nodes.py", "bodies of other nodes, which must be there"),
    ("node/bodies/*.py", "node/test_bodies.py", "what is sent is held to its shapes, of a bridge at work"),
    ("node/heard*.py", "node/test_receivers.py", "what receivers hear, as asked for"),
    ("node/lanes.py", "node/test_receivers.py", "the same, in the live feed"),
    ("node/joining.py", "end_to_end/test_nodes.py", "two programs that see each other over a real NATS server"),
    ("node/mesh/*.py", "end_to_end/test_nodes.py", "the same"),
    ("node/relay_*.py", "node/test_relays.py", "relay processes that die and come back, and their sums"),
    ("node/sender_plan.py", "node/test_senders.py", "a sender's description is refused or begun"),
    ("node/*.py", "node/test_bridge.py", "one subject of the bridge, whose threads it needs"),
    ("relay/*.py", "relay/test_testing.py", "parts of one process, which is run whole"),
    ("udp/command_handler.py", "udp/test_server.py", "what the server does with commands"),
    ("udp/command_sockets.py", "udp/test_server.py", "the server's answers to single datagrams"),
    ("udp/descriptors.py", "node/test_bridge.py", "the limit of open files, met by clients"),
    ("udp/endpoints/*.py", "node/test_senders.py", "senders and receivers, from the description to the socket"),
    ("udp/release_process.py", "udp/test_releaser.py", "the process behind the releaser"),
    ("udp/ring.py", "udp/test_arrivals.py", "one io_uring behind the receiver"),
    ("udp/source.py", "udp/test_server.py", "from which address an answer leaves"),
    ("udp/tap_stream.py", "node/test_bridge.py", "one client's datagrams on an event loop"),
    ("udp/*.py", "node/test_receivers.py", "the loop of receivers and senders, and what it is made of"),
    ("web/*definition*.py", "web/test_definitions.py", "every number that is shown has one"),
    ("web/*.py", "web/test_api.py", "asked over HTTP, as a caller would"),
    ("wire/*.py", "wire/test_formats.py", "each format by its name, against a plain twin"),
)


@cache
def imports(path: Path) -> frozenset[str]:
    """The modules that a file imports, anywhere in it, or runs as a process, by name in a string of its own.

    `from a import b` may mean both a and a.b.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("udprism."):
            found.add(node.value)
    return frozenset(found)


@cache
def file_of(module: str) -> Path | None:
    """A module of ours, of the product or of the tests."""
    inside = module.split(".")
    base = PACKAGE.parent if inside[0] == "udprism" else TESTS
    for path in (base.joinpath(*inside).with_suffix(".py"), base.joinpath(*inside, "__init__.py")):
        if path.is_file():
            return path
    return None


@cache
def reached(test: Path) -> frozenset[Path]:
    """All files that a test imports, directly or through others."""
    found: set[Path] = set()
    waiting = [test]
    while waiting:
        for module in imports(waiting.pop()):
            path = file_of(module)
            if path is not None and path not in found:
                found.add(path)
                waiting.append(path)
    return frozenset(found)


@cache
def own_tests(module: str) -> tuple[Path, ...]:
    """The test modules of the same room that are named after a module or import it."""
    path = PACKAGE / module
    named = TESTS / Path(module).parent / f"test_{path.name}"
    room = (TESTS / Path(module).parts[0]).glob("**/test_*.py") if "/" in module else TESTS.glob("test_*.py")
    return tuple(test for test in room if test == named or path in map(file_of, imports(test)))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_tests(module: str) -> None:
    if own_tests(module):
        return
    test = next((test for pattern, test, _ in REACHED_BY if fnmatchcase(module, pattern)), None)
    assert test is not None, f"write tests/{Path(module).parent}/test_{Path(module).name}, or say what tests it"
    assert (TESTS / test).is_file()
    if not test.startswith("end_to_end/"):  # these run the installed program, which imports as it needs
        assert PACKAGE / module in reached(TESTS / test), f"tests/{test} does not reach {module}"


@pytest.mark.parametrize("row", REACHED_BY, ids=lambda row: row[0])
def test_every_row_is_needed(row: tuple[str, str, str]) -> None:
    first = {module: next((one for one in REACHED_BY if fnmatchcase(module, one[0])), None) for module in MODULES}
    assert any(first[module] is row and not own_tests(module) for module in MODULES)
