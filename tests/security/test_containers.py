"""What runs in a container can change nothing there and become nobody else."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.nodes.harness import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for more in ("cap_add", "privileged", "devices", "pid", "network_mode", "userns_mode"):
        assert more not in service
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or volume.endswith(":ro"), volume


def test_no_service_is_root() -> None:
    (*_, last) = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    (user,) = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert int(user.split(":")[0]) > 0
    # Nothing after it runs or is copied as somebody else.
    assert not re.search(r"^(RUN|COPY|ADD) ", last[last.index("USER ") :], re.MULTILINE)
    for name, service in SERVICES.items():
        assert "build" in service or service["user"] == name


def test_only_nginx_can_be_reached_from_outside_and_redis_reaches_nothing() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert SERVICES["redis"]["networks"] == ["inside"]
    assert SERVICES["nginx"]["networks"] == ["front"]


def test_an_image_is_made_of_pinned_packages_only() -> None:
    commands = re.findall(r"pip [^&]*install [^&]*", DOCKERFILE.replace("\\\n", " "))
    assert len(commands) >= 3
    for command in commands:
        assert "--require-hashes" in command or "/tmp/wheel/" in command, command
