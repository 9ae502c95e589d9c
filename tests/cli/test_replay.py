"""`udprism replay` as a person types it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from support import captures, program
from support.captures import enhanced, interface, section

GOOD = section() + interface() + b"".join(enhanced(captures.frame(b"%d" % at), at * 1000) for at in range(20))


def test_it_sends_a_file_and_says_what_became_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    path.write_bytes(GOOD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        done = program.run("replay", str(path), "--to", to, "--loop", "2")
        assert done.returncode == 0, done.stderr
        assert "40 datagrams: 40 sent, 0 lost by the link" in done.stdout
        assert [receiver.recv(100) for _ in range(40)] == [b"%d" % at for at in range(20)] * 2
        body = json.loads(program.run("replay", str(path), "--to", to, "--json", "--link", "loss=100%").stdout)
        assert (body["offered"], body["sent"], body["lost_by_cause"]["link"]) == (20, 0, 20)
        path.write_bytes(GOOD + b"\x06\0\0\0\xfc\xff\xff\xff" + bytes(40))
        broken = program.run("replay", str(path), "--to", to)
        assert broken.returncode == 1
        assert f"broken at byte {len(GOOD)}" in broken.stderr


def test_targets_files_and_words_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    path.write_bytes(GOOD)
    for words in (
        (str(path), "--to", "8.8.8.8:5000"),
        (str(path), "--to", "127.0.0.1:53"),
        (str(path), "--to", "nonsense"),
        (str(path), "--to", "127.0.0.1:5000", "--filter", "x"),
        (str(path), "--to", "127.0.0.1:5000", "--link", "loss=much"),
        (str(tmp_path / "none"), "--to", "127.0.0.1:5000"),
    ):
        done = program.run("replay", *words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
