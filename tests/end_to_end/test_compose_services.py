"""The services of compose.yaml: their real commands run here as processes.

Containers need an engine that not every machine has. So each service is started with the command and the
environment that its container would have; only addresses are other ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.support_compose import ROOT, SERVICES

OWN_MODEL = ROOT / "examples" / "own-model"
PATIENCE_S = 30.0


class Host:
    """Stands in for the host of the containers: turns their addresses and paths into ours."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]] = SERVICES) -> None:
        self._directory = directory
        self._services = services
        self._ports: dict[str, str] = {}
        self._gateway_port = "0"  # any, until it listens

    def command(self, service: str) -> list[str]:
        """Return the command of a service's container."""
        words = self._services[service].get("command") or _image_command(service)
        return [self._here(word) for word in words]

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service's container."""
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        for name, value in self._services[service].get("environment", {}).items():
            if value is not None:
                environment[name] = self._here(re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))
        return environment

    def healthy(self, service: str) -> bool:
        """Run a service's health check once."""
        if service == "nats" and shutil.which("wget") is None:
            pytest.skip("wget, which the NATS image has, is not installed here")
        command = [self._here(word) for word in self._services[service]["healthcheck"]["test"][1:]]
        done = subprocess.run(
            command, env=self.environment(service), capture_output=True, timeout=PATIENCE_S, check=False
        )
        return done.returncode == 0

    def wait_healthy(self, service: str) -> None:
        """Wait as compose does: check after check."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.healthy(service):
            assert time.monotonic() < deadline, f"{service} does not become healthy"

    @contextmanager
    def running(self, service: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a service's container as a process."""
        with (self._directory / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.command(service), *options], env=self.environment(service), stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def nats_listens_at(self, ports: dict[str, list[str]]) -> None:
        """Note where nats-server listens."""
        self._ports["antiphon-nats:4222"] = f"127.0.0.1:{ports['nats'][0].rpartition(':')[2]}"
        self._ports["127.0.0.1:8222"] = ports["monitoring"][0].removeprefix("http://")

    def gateway_listens_at(self, port: str) -> None:
        """Note where the gateway listens."""
        self._gateway_port = port

    def _here(self, word: str) -> str:
        """Translate what belongs to the container's world."""
        for there, here in self._ports.items():
            word = word.replace(there, here)
        if word == "0.0.0.0":
            return "127.0.0.1"
        if word == "8080":
            return self._gateway_port
        if word == "/etc/nats/nats-server.conf":
            return str(ROOT / "nats" / "nats-server.conf")
        # One translation only: the project itself may lie below /tmp.
        folders = {"tmp": self._directory, "model": OWN_MODEL}
        return re.sub("^/(tmp|model)/", lambda found: f"{folders[found[1]]}/", word)


def _image_command(service: str) -> list[str]:
    """Return the CMD of the target from which a service's image is built."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    target = SERVICES[service]["build"]["target"]
    stage = re.split(rf"^FROM \S+ AS {target}$", dockerfile, flags=re.MULTILINE)[1].partition("\nFROM ")[0]
    found = re.search(r"^CMD (.*)$", stage, re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found.group(1))
    return words


def _until_written(path: Path, pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        if path.exists() and (found := re.search(pattern, path.read_text())):
            return found
        assert time.monotonic() < deadline, path.read_text() if path.exists() else f"no {path}"
        time.sleep(0.02)


@contextmanager
def _nats(host: Host, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the NATS service on ports of its own choice."""
    with host.running("nats", "-p", "-1", "-m", "-1", "--ports_file_dir", str(directory)) as nats:
        ports = _until_written(directory / f"nats-server_{nats.pid}.ports", r"\{.*\}").group(0)
        host.nats_listens_at(json.loads(ports))
        host.wait_healthy("nats")
        yield nats


@contextmanager
def _gateway(host: Host, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the gateway service on a port of its own choice; yield process and port."""
    with host.running("gateway") as gateway:
        port = _until_written(directory / "gateway.log", r"http://127\.0\.0\.1:(\d+)").group(1)
        host.gateway_listens_at(port)
        host.wait_healthy("gateway")
        yield gateway, port


def test_the_services_start_speak_and_stop(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with _nats(host, tmp_path) as nats:
        assert not host.healthy("synth_node")
        with host.running("synth_node") as node:
            host.wait_healthy("synth_node")
            assert not host.healthy("gateway")
            with _gateway(host, tmp_path) as (gateway, port):
                assert _speech(port).startswith((b"\xff", b"ID3"))
                for name, process in (("gateway", gateway), ("synth_node", node), ("nats", nats)):
                    process.terminate()
                    assert process.wait(timeout=PATIENCE_S) == 0
                    assert not host.healthy(name)


def test_a_node_that_loses_nats_is_not_healthy(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with _nats(host, tmp_path) as nats, host.running("synth_node"):
        host.wait_healthy("synth_node")
        nats.kill()
        nats.wait()
        deadline = time.monotonic() + PATIENCE_S
        while host.healthy("synth_node"):
            assert time.monotonic() < deadline


def test_the_example_speaks_with_its_own_model_in_its_own_environment(tmp_path: Path) -> None:
    override = yaml.safe_load((OWN_MODEL / "compose.yaml").read_text())["services"]["synth_node"]
    node = {**SERVICES["synth_node"]}
    bare_python = str(Path(sys.base_prefix) / "bin" / "python3")
    node["environment"] = {**node["environment"], **override["environment"], "SYNTH_PYTHON": bare_python}
    host = Host(tmp_path, {**SERVICES, "synth_node": node})
    with _nats(host, tmp_path), host.running("synth_node"):
        host.wait_healthy("synth_node")
        with _gateway(host, tmp_path) as (_, port):
            assert _speech(port).startswith((b"\xff", b"ID3"))


def test_the_example_speaks_with_xunfei_and_takes_its_secrets_from_files(tmp_path: Path) -> None:
    override = yaml.safe_load((ROOT / "examples" / "xunfei" / "compose.yaml").read_text())
    service = override["services"]["synth_node"]
    assert {f"/run/secrets/{name}" for name in service["secrets"]} == {
        value for name, value in service["environment"].items() if name.endswith("_FILE")
    }
    command = [sys.executable, "-m", "tests.fake_xunfei", "--voice", "tone"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as fake:
        assert fake.stdout is not None
        told = dict(
            re.findall(r"^export (\w+)=(\S+)", "".join(fake.stdout.readline() for _ in range(4)), re.M)
        )
        environment = {**SERVICES["synth_node"]["environment"], **service["environment"]}
        for name in ("APP_ID", "API_KEY", "API_SECRET"):
            (tmp_path / name).write_text(told[f"XUNFEI_{name}"])
            environment[f"XUNFEI_{name}_FILE"] = f"/tmp/{name}"
        environment["XUNFEI_URL"] = told["XUNFEI_URL"]
        host = Host(
            tmp_path, {**SERVICES, "synth_node": {**SERVICES["synth_node"], "environment": environment}}
        )
        try:
            with _nats(host, tmp_path), host.running("synth_node"):
                host.wait_healthy("synth_node")
                with _gateway(host, tmp_path) as (_, port):
                    assert _speech(port).startswith((b"\xff", b"ID3"))
        finally:
            fake.kill()


def _speech(port: str) -> bytes:
    """Return the audio of POST /tts, as compose.yaml tells to ask for it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/tts", b'{"text": "hello"}', {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return bytes(answer.read())
