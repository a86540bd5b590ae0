"""compose.yaml: what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.end_to_end.support_compose import COMPOSE, ROOT, SERVICES

OVERRIDES = [
    [],
    ["compose.nats-loopback.yaml"],
    ["examples/own-model/compose.yaml"],
    ["examples/own-model/compose.yaml", "examples/own-model/compose.gpu.yaml"],
    ["examples/xunfei/compose.yaml"],
]


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


# What is written in compose.yaml.


def test_the_three_services_are_there() -> None:
    assert set(SERVICES) == {"nats", "synth_node", "gateway"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_locked_down(service: str) -> None:
    settings = SERVICES[service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in settings["tmpfs"]] == ["/tmp"]
    assert set(settings["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert "privileged" not in settings
    assert not [volume for volume in settings.get("volumes", []) if not volume.endswith(":ro")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_health_check_in_exec_form(service: str) -> None:
    check = SERVICES[service]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


def test_services_wait_for_the_health_of_those_they_need() -> None:
    needed = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    healthy = {"condition": "service_healthy"}
    assert needed == {
        "nats": {},
        "synth_node": {"nats": healthy},
        "gateway": {"nats": healthy, "synth_node": healthy},
    }


@pytest.mark.parametrize(
    ("service", "grace"), [("synth_node", "SYNTH_GRACE_S"), ("gateway", "GATEWAY_GRACE_S")]
)
def test_a_container_has_more_time_to_stop_than_its_process_takes(service: str, grace: str) -> None:
    settings = SERVICES[service]
    assert _seconds(settings["stop_grace_period"]) > float(settings["environment"][grace])


def test_only_the_gateway_is_published_and_on_loopback() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    assert SERVICES["gateway"]["ports"] == ["${TTS_HOST:-127.0.0.1}:${TTS_PORT:-8080}:8080"]
    override = yaml.safe_load((ROOT / "compose.nats-loopback.yaml").read_text())
    assert override["services"]["nats"]["ports"] == ["127.0.0.1:${NATS_PORT:-4222}:4222"]


def test_nodes_can_be_scaled() -> None:
    assert not {"container_name", "ports", "hostname"} & set(SERVICES["synth_node"])


def test_other_projects_can_join_the_bus() -> None:
    assert COMPOSE["networks"] == {"bus": {"name": "antiphon-bus"}}
    assert all("bus" in service["networks"] for service in SERVICES.values())


def test_images_are_pinned_and_run_as_nobody_in_particular() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"nats:\d+\.\d+\.\d+-alpine", SERVICES["nats"]["image"])
    for user in (SERVICES["nats"]["user"], *re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)):
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("overrides", OVERRIDES, ids=lambda files: "+".join(files) or "alone")
def test_compose_itself_accepts_the_files(overrides: list[str]) -> None:
    compose = _compose_command()
    files = [word for file in ["compose.yaml", *overrides] for word in ("-f", file)]
    done = subprocess.run(
        [*compose, *files, "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def _compose_command() -> list[str]:
    """Return the command of compose v2; skip where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and done.stdout.lstrip("v").startswith(("2", "3", "4", "5")):
                return command
    pytest.skip("docker compose is not installed")
