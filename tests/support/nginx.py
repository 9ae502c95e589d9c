"""A real nginx in front of a port, with a configuration of the test's own, on a port of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 20.0

_CONFIGURATION = """
daemon off;
master_process off;
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {prefix}/body;
  proxy_temp_path {prefix}/proxy;
  fastcgi_temp_path {prefix}/fastcgi;
  uwsgi_temp_path {prefix}/uwsgi;
  scgi_temp_path {prefix}/scgi;
  server {{
    listen 127.0.0.1:{port}{tls}
{locations}
  }}
}}
"""


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(prefix: Path, locations: str, *, tls: bool = False) -> Iterator[int]:
    """nginx with these locations; gives its port. Skips where there is no nginx, and fails under CI.

    tls: with a certificate of its own making, for lab.example.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        advice = "no nginx: install Debian's nginx-light"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    port = free_port()
    extra = f" ssl;\n    {_certificate(prefix)}" if tls else ";"
    text = _CONFIGURATION.format(prefix=prefix, port=port, tls=extra, locations=locations)
    configuration = prefix / "nginx.conf"
    configuration.write_text(text)
    with (prefix / "nginx.log").open("w+") as log:
        process = subprocess.Popen([program, "-p", str(prefix), "-c", str(configuration)], stdout=log, stderr=log)
        try:
            _wait_for(port, process, prefix / "nginx.log")
            yield port
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _certificate(prefix: Path) -> str:
    key, certificate = prefix / "key.pem", prefix / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=lab.example"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return f"ssl_certificate {certificate}; ssl_certificate_key {key};"


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.01)
