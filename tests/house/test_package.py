"""What is installed is the same as the source tree: nothing is left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert built.returncode == 0, built.stderr
    return next(directory.glob("*.whl"))


def test_the_wheel_holds_every_file_of_server_and_web(wheel):
    sources = {
        path.relative_to(ROOT).as_posix()
        for top in ("server", "web")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as package:
        packed = {name for name in package.namelist() if ".dist-info/" not in name}
    assert packed == sources


def test_a_node_can_be_built_from_the_wheel_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as package:
        package.extractall(tmp_path)
    program = (
        "import server.app, server.settings;"
        "server.app.make_app(server.settings.Settings());"
        "print(server.app.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)


def test_the_locks_pin_all_that_is_asked_for_and_name_no_place_to_get_it_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    extras = project["project"]["optional-dependencies"]
    asked = {
        "run": project["project"]["dependencies"],
        "test": project["project"]["dependencies"] + groups["test"] + groups["check"],
        "build": groups["build"],
        "node": groups["node"],
        "image": project["project"]["dependencies"] + extras["parquet"] + extras["otel"],
    }
    for name, requirements in asked.items():
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        pinned = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
        wanted = {re.match(r"[a-z0-9.-]+", each)[0].replace(".", "-") for each in requirements}
        assert wanted <= pinned, f"requirements/{name}.txt is behind; `make lock` brings it up"
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
    assert "resolved" not in (ROOT / "tools" / "package-lock.json").read_text()


def test_the_image_runs_on_what_is_tested():
    """Its lock has the same versions, and more than a laptop's: Parquet and traces."""

    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return set(re.findall(r"^[a-z0-9-]+==[^ ]+", text, re.MULTILINE))

    assert pins("run") <= pins("image") <= pins("test")
    more = {pin.split("==")[0] for pin in pins("image") - pins("run")}
    assert {"pyarrow", "opentelemetry-sdk"} <= more
    assert not more & {"pytest", "pip", "uv"}
    assert "requirements/image.txt" in (ROOT / "Dockerfile").read_text()
