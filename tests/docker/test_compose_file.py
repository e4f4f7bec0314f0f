"""Properties of docker/compose.yaml, read as YAML, and by the compose command if it is installed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from selsa_server.settings import ServerSettings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = [name for name in SERVICES if name.startswith("server-")]
OF_GPUS = ["engines", "server-gpu", "training"]
NAME = re.compile(r"\b(?:selsa|process)_[a-z_]+\b")


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)s", text)
    assert match is not None, text
    return int(match[1])


def test_the_default_profile_is_the_gpu() -> None:
    assert "COMPOSE_PROFILES=gpu" in (DOCKER / ".env").read_text().splitlines()
    assert SERVICES["server-gpu"]["profiles"] == ["gpu"]
    assert all(service["profiles"] for service in SERVICES.values())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_on_the_loopback_address_by_default(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"\$\{\w+:-127\.0\.0\.1:\d+\}:\d+", port)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_may_drain_before_it_is_killed(name: str) -> None:
    service = SERVICES[name]
    assert seconds(service["stop_grace_period"]) >= int(service["environment"]["SELSA_DRAIN_TIMEOUT"]) + 10


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_writes_to_two_volumes_and_tmp(name: str) -> None:
    service = SERVICES[name]
    assert [each.split(":")[1] for each in service["volumes"]] == [
        "/var/lib/selsa/models",
        "/var/lib/selsa/spool",
    ]
    assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_settings_are_those_of_the_server(name: str) -> None:
    given = {key for key in SERVICES[name]["environment"] if key.startswith("SELSA_")}
    assert {key.removeprefix("SELSA_").lower() for key in given} <= set(ServerSettings.model_fields)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_that_use_the_gpu_request_it(name: str) -> None:
    device = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    expected = {"resources": {"reservations": {"devices": [device]}}} if name in OF_GPUS else None
    assert SERVICES[name].get("deploy") == expected


def test_mounted_and_built_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = source in COMPOSE["volumes"] or source.startswith("$") or (DOCKER / source).is_dir()
            assert known, volume
        if "build" in service:
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_keys_are_mounted_as_files() -> None:
    keys = yaml.safe_load((DOCKER / "compose.keys.yaml").read_text())
    for name in SERVERS:
        assert keys["services"][name]["environment"]["SELSA_API_KEYS_FILE"] == "/run/secrets/api_keys"
        assert keys["services"][name]["secrets"] == ["api_keys"]
    assert all("file" in secret for secret in keys["secrets"].values())


@pytest.mark.parametrize("profiles", [[], ["cpu"], ["cpu", "metrics"], ["training"], ["engines"]])
@pytest.mark.parametrize("keys", [False, True], ids=["open", "keys"])
def test_docker_compose_accepts_the_file(profiles: list[str], keys: bool) -> None:
    """Read the file with Docker's own command."""
    if shutil.which("docker") is None:
        pytest.skip("no docker: whether `docker compose config` takes the file is not tested")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("no `docker compose`: whether it takes the file is not tested")
    files = ["-f", "compose.yaml", *(["-f", "compose.keys.yaml"] if keys else [])]
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SELSA_", "COMPOSE_"))}
    done = subprocess.run(
        ["docker", "compose", *files, *chosen, "config", "--format", "json"],
        cwd=DOCKER,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {name for name, each in SERVICES.items() if set(each["profiles"]) & set(profiles or ["gpu"])}
    assert set(json.loads(done.stdout)["services"]) == found


def known_metrics() -> set[str]:
    """Those of the operations page, which another test holds to the server, with a histogram's parts."""
    page = (DOCKER.parent / "docs" / "operations.md").read_text()
    table = page.split("\n## Metrics\n")[1].partition("\n## ")[0]
    named = set(re.findall(r"`((?:selsa|process)_[a-z_]+)`", table))
    return named | {f"{name}{end}" for name in named for end in ("_bucket", "_sum", "_count")}


def test_the_dashboard_uses_metrics_of_the_server() -> None:
    board = json.loads((DOCKER / "grafana/dashboards/selsa.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for text in expressions for name in NAME.findall(text)}
    assert named <= known_metrics()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    used = {target["datasource"]["uid"] for panel in board["panels"] for target in panel["targets"]}
    assert used == {source["uid"] for source in sources["datasources"]}


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.keys.yml"])
def test_prometheus_scrapes_every_server_profile(name: str) -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / name).read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["selsa:8000"]}]
    assert all(SERVICES[server]["networks"] == {"default": {"aliases": ["selsa"]}} for server in SERVERS)


def test_the_rules_are_those_of_the_operations_page() -> None:
    page = (DOCKER.parent / "docs" / "operations.md").read_text()
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert yaml.safe_load((DOCKER / "prometheus/rules.yml").read_text()) == yaml.safe_load(shown[1])
