"""Settings come from the environment, are documented, and nonsense never starts a node."""

from __future__ import annotations

import re
import resource
from dataclasses import FrozenInstanceError, fields, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from server.kinds import GiB, KiB, MiB
from server.settings import Settings, SettingsError, describe, variable

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "SETTINGS.md"
SERVER = ROOT / "server"


def documented() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if line.startswith("| `TABLECAST_")]


def test_the_page_of_settings_tells_all_of_them_and_no_others():
    expected = [
        f"| `{each.variable}` | {f'`{each.default}`' if each.default else 'empty'} "
        f"| {each.allowed} | {each.meaning} |"
        for each in describe()
    ]
    assert documented() == expected, "these rows belong there:\n" + "\n".join(expected)


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.from_env({"PATH": "/usr/bin", "TABLECAST_PORT": ""})
    assert replace(settings, node="n") == Settings(node="n")
    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8080, "")
    assert settings.document_limit == GiB
    assert settings.room_life == 7 * 24 * 3600


def test_every_default_can_be_written_as_it_is_documented():
    written = {each.variable: each.default for each in describe()}
    assert replace(Settings.from_env(written), node="n") == Settings(node="n")


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("256KiB", 256 * KiB), ("2 MiB", 2 * MiB), ("1gib", GiB), ("100B", 100)],
)
def test_a_size_is_bytes_or_has_a_unit(text, size):
    assert Settings.from_env({"TABLECAST_DOCUMENT_LIMIT": text}).document_limit == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20", 20), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30), ("2min", 120), ("1h", 3600)],
)
def test_a_time_is_seconds_or_has_a_unit(text, seconds):
    assert Settings.from_env({"TABLECAST_STALL_TIMEOUT": text}).stall_timeout == seconds


def test_lists_are_separated_by_commas():
    settings = Settings.from_env(
        {
            "TABLECAST_ALLOWED_ORIGINS": "https://a.example, http://b.example:8000",
            "TABLECAST_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        }
    )
    assert settings.allowed_origins == ("https://a.example", "http://b.example:8000")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("HOST", "http://here"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost:port"),
        ("REDIS_PREFIX", "a{b}"),
        ("NODE", "two words"),
        ("DOCUMENT_LIMIT", "0"),
        ("DOCUMENT_LIMIT", "1GB"),
        ("DOCUMENT_LIMIT", "-1"),
        ("PAGE_SIZE", "9"),
        ("PAGE_SIZE", "1001"),
        ("PAGE_SIZE", "1e2"),
        ("HEARTBEAT", "0"),
        ("HEARTBEAT", "1min"),
        ("HEARTBEAT", "nan"),
        ("PAGE_TURNS_PER_SECOND", "inf"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://a.example/"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("LOG_LEVEL", "loud"),
        ("METRICS", "maybe"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_the_variable_its_value_and_what_is_allowed(name, value):
    allowed = {each.variable: each.allowed for each in describe()}[f"TABLECAST_{name}"]
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({f"TABLECAST_{name}": value})
    assert str(refused.value) == f"TABLECAST_{name} is {value!r}, but must be {allowed}."


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://a,b:26380", "this one lacks the name of the primary"),
        ("redis+sentinel://a/primary/x", "something else than a database's number"),
        ("redis+sentinel://a/primary?sentinel_name=x", "this one has sentinel_name"),
        ("redis+cluster://a:0", "this one has a port that is none"),
        ("redis+cluster://a,,b", "this one lacks a host"),
        ("redis+cluster://a:b", "needs hosts as in host:port,host:port"),
        ("redis+cluster://a/1", "a cluster has only one"),
        ("redis+ring://a", "begins with none of redis"),
    ],
)
def test_an_address_of_several_servers_that_makes_no_sense_is_told_why(url, why):
    with pytest.raises(SettingsError, match=f"^TABLECAST_REDIS_URL is .*; .*{why}.*[.]$"):
        Settings.from_env({"TABLECAST_REDIS_URL": url})


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://me:secret@a,b:26380/primary/2",
        "rediss+sentinel://a/primary?sentinel_password=secret",
        "rediss+cluster://:secret@a:7000,[::1]:7001",
    ],
)
def test_several_servers_are_an_address_whose_passwords_are_not_shown(url):
    settings = Settings.from_env({"TABLECAST_REDIS_URL": url})
    assert settings.redis_url == url
    assert "secret" not in repr(settings)
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"TABLECAST_REDIS_URL": url.replace("+", "+x")})
    assert "secret" not in str(refused.value)


def test_nonsense_is_refused_however_the_settings_were_made():
    with pytest.raises(
        SettingsError, match=r"^TABLECAST_PAGE_SIZE is '5', but must be 10 to 1,000"
    ):
        replace(Settings(), page_size=5)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [("chunk_limit", "upload_window"), ("cell_limit", "page_message_limit")],
)
def test_limits_that_contradict_each_other_are_refused(lower, upper):
    with pytest.raises(SettingsError, match=f"{variable(lower)} is .* {variable(upper)}"):
        replace(Settings(), **{lower: 2 * KiB, upper: 1 * KiB})


def test_a_misspelt_variable_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match="did you mean TABLECAST_DOCUMENT_LIMIT"):
        Settings.from_env({"TABLECAST_DOCUMENTS_LIMIT": "1GiB"})
    with pytest.raises(SettingsError, match="TABLECAST_X is not a setting"):
        Settings.from_env({"TABLECAST_X": "1"})


def test_a_password_is_never_shown():
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"TABLECAST_REDIS_URL": "http://me:secret@host"})
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(Settings(redis_url="redis://me:secret@host"))


def test_a_node_without_a_name_gets_one_that_no_other_has():
    assert Settings().node != Settings().node
    assert Settings(node="red").node == "red"


def test_the_most_viewers_follow_from_the_limit_on_open_files(monkeypatch):
    def viewers(soft: int) -> int:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
        return Settings().viewers_per_node

    assert viewers(4_096) == 3_096
    assert viewers(1_048_576) == 15_000
    assert viewers(resource.RLIM_INFINITY) == 15_000
    assert 0 < viewers(256) < 256
    assert Settings(viewers_per_node=7).viewers_per_node == 7


def test_settings_do_not_change_once_made():
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is_for():
    for setting, told in zip(fields(Settings), describe(), strict=True):
        assert told.variable == variable(setting.name)
        assert told.meaning.endswith("."), told.variable
        assert "|" not in told.meaning + told.allowed


def test_every_setting_is_read_somewhere():
    code = "\n".join(
        path.read_text() for path in SERVER.rglob("*.py") if path.name != "settings.py"
    )
    unread = {
        setting.name
        for setting in fields(Settings)
        if not re.search(rf"settings\.{setting.name}\b", code)
    }
    assert not unread, "a setting that nothing reads is a promise that nobody keeps"
