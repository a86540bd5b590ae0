"""Where the commands find NATS, and how they connect: options, variables, certificates, permissions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antiphon.cli import nats_server
from antiphon.cli.environment import nats_at, nats_found

if TYPE_CHECKING:
    from tests.cli.conftest import Join, StartUp

    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]

OPERATE = Path(__file__).parents[2] / "docs" / "how-to" / "operate.md"
SPOKEN = b"\xff\xf3"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("NATS_", "TTS_"))]:
        monkeypatch.delenv(name)


def test_the_option_comes_first_then_the_file_then_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert nats_found(None) is None
    monkeypatch.setenv("NATS_URL", "nats://variable, nats://standby")
    assert getattr(nats_found(None), "urls", "") == "nats://variable,nats://standby"
    (tmp_path / "url").write_text("nats://file\n")
    monkeypatch.setenv("NATS_URL_FILE", str(tmp_path / "url"))
    assert getattr(nats_found(None), "urls", "") == "nats://file"
    assert getattr(nats_found("nats://option"), "urls", "") == "nats://option"


def test_a_child_is_given_no_other_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("nats://file")
    for name in ("NATS_URL_FILE", "nats_url_file"):
        monkeypatch.setenv(name, str(tmp_path / "url"))
    monkeypatch.setenv("nats_url", "nats://lower-case")
    given = {k.upper(): v for k, v in nats_at("nats://option").environment().items()}
    assert given["NATS_URL"] == "nats://option"
    assert "NATS_URL_FILE" not in given
    found = nats_found(None)
    assert found is not None
    assert found.environment()["NATS_URL_FILE"] == str(tmp_path / "url")


def test_credentials_are_not_shown() -> None:
    nats = nats_at("nats://a:1,nats://user:secret@b:2")
    assert nats.shown == "nats://a:1,nats://b:2"
    assert "secret" not in repr(nats)


@pytest.mark.parametrize("command", [("say", "hello"), ("node",), ("up", "--port", "0")])
@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        (("--nats", ""), {}, "--nats: no NATS server given."),
        (("--nats", "http://secret@host"), {}, "--nats: .* is no address of a NATS server."),
        ((), {"NATS_URL_FILE": "/no/such/file"}, "NATS_URL_FILE: /no/such/file cannot be read: .*"),
        ((), {"NATS_URL_FILE": os.devnull}, "NATS_URL_FILE: no NATS server given."),
        ((), {"NATS_URL": "nats://:4222"}, "NATS_URL: .* is no address of a NATS server."),
        (("--nats", "tls://host"), {"NATS_CA_FILE": "/none"}, "NATS_CA_FILE: /none cannot be used: .*"),
        (("--nats", "nats://host"), {"NATS_INBOX_PREFIX": "a.*"}, "NATS_INBOX_PREFIX: .*"),
        (("--nats", "nats://host"), {"TTS_ROOT": "a.b"}, "TTS_ROOT: .*"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    antiphon: Antiphon,
    command: tuple[str, ...],
    options: tuple[str, ...],
    environment: dict[str, str],
    message: str,
) -> None:
    done = antiphon(*command, *options, environment=environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(f"Error: {message}\n", done.stderr.decode())
    assert b"secret" not in done.stderr


def test_a_root_of_ones_own(nats_url: str, join: Join, antiphon: Antiphon) -> None:
    environment = {"NATS_URL": nats_url, "TTS_ROOT": "elsewhere"}
    join(environment=environment)
    assert _said(antiphon, environment).stdout.startswith(SPOKEN)


def test_the_permissions_of_the_how_to(tmp_path: Path, join: Join, antiphon: Antiphon) -> None:
    block = re.search(r"```text\n(authorization .*?)```", OPERATE.read_text(), re.DOTALL)
    assert block is not None
    with _server(tmp_path, block.group(1), NODE_PASSWORD="n-pass", CALLER_PASSWORD="c-pass") as host:
        join(environment={"NATS_URL": f"nats://node:n-pass@{host}", "NATS_INBOX_PREFIX": "_INBOX_node"})
        caller = {"NATS_URL": f"nats://caller:c-pass@{host}", "NATS_INBOX_PREFIX": "_INBOX_caller"}
        assert _said(antiphon, caller).stdout.startswith(SPOKEN)


def test_an_authority_of_ones_own(tmp_path: Path, start_up: StartUp, join: Join, antiphon: Antiphon) -> None:
    config, authority = _certificates(tmp_path)
    with _server(tmp_path, config) as host:
        trusting = {"NATS_URL": f"tls://{host}", "NATS_CA_FILE": str(authority)}
        up = start_up("--engine", "tone", "--nodes", "1", "--port", "0", environment=trusting).ready()
        assert up.speak("hello").startswith(SPOKEN)
        assert up.end() == 0
        join(environment=trusting)
        assert _said(antiphon, trusting).stdout.startswith(SPOKEN)
        done = antiphon("say", "hello", environment={"NATS_URL": f"tls://{host}"})
        assert (done.returncode, done.stdout) == (1, b"")
        assert re.fullmatch(rb"Error: No connection to NATS at tls://.*certif.*\n", done.stderr)


def _said(antiphon: Antiphon, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Say something; until the first node has joined, again."""
    for _ in range(30):  # each try looks for nodes for a while: no busy loop
        done = antiphon("say", "hello", environment=environment)
        if b"alive" not in done.stderr:
            break
    assert (done.returncode, done.stderr) == (0, b"")
    return done


@contextmanager
def _server(directory: Path, config: str, **environment: str) -> Iterator[str]:
    """Run a nats-server with this configuration; yield host and port."""
    path = directory / "server.conf"
    path.write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: {json.dumps(str(directory))}\n{config}')
    server = subprocess.Popen(
        [nats_server.binary(), "-c", str(path)],
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if found := re.search(rb"Listening for client connections on (\S+)", line):
                yield found.group(1).decode()
                break
        else:
            raise AssertionError("nats-server ended")
    finally:
        server.terminate()
        server.communicate(timeout=10)


def _certificates(directory: Path) -> tuple[str, Path]:
    """Make an authority and a certificate for 127.0.0.1; return the server's part and the authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl to make certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=directory, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-x509", "-days", "2", "-addext", "keyUsage=critical,keyCertSign")
    run("req", *key, *authority, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    run("req", *key, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
    (directory / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n"
    )
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    run("x509", "-req", "-in", "server.csr", *signed_by, "-extfile", "extensions", "-out", "server.pem")
    certificate, private_key = (json.dumps(str(directory / name)) for name in ("server.pem", "server.key"))
    return f"tls {{ cert_file: {certificate}, key_file: {private_key} }}", directory / "ca.pem"
