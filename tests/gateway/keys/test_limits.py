"""Requests per minute."""

import subprocess
import sys
import time as wall
from pathlib import Path

import pytest

from gateway.errors import RateLimited
from gateway.keys.limits import RequestLimits
from gateway.keys.service import operator_principal
from gateway.principal import Principal, Scope
from gateway.settings import Limits, Settings


def caller(key_id: str = "key_1", per_minute: int | None = 3) -> Principal:
    return Principal("org", "proj", key_id, frozenset({Scope.VIDEOS_WRITE}), requests_per_minute=per_minute)


def limits(tmp_path: Path, reads: int | None = 6000) -> RequestLimits:
    return RequestLimits(Settings(data_dir=tmp_path, limits=Limits(reads_per_minute=reads)))


async def test_creates_over_the_limit_are_told_when_to_come_back(tmp_path: Path):
    counted = limits(tmp_path)
    for left in (2, 1, 0):
        headers = await counted.check(caller(), "create")
        assert headers["x-ratelimit-limit-requests"] == "3"
        assert headers["x-ratelimit-remaining-requests"] == str(left)
        assert 0 < float(headers["x-ratelimit-reset-requests"].rstrip("s")) <= 60
    with pytest.raises(RateLimited, match="3 requests") as caught:
        await counted.check(caller(), "create")
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.should_retry is None
    await counted.check(caller("key_2"), "create")


async def test_reading_never_uses_up_creating(tmp_path: Path):
    counted = limits(tmp_path)
    for _ in range(50):
        assert not await counted.check(caller(), "read")
    assert (await counted.check(caller(), "create"))["x-ratelimit-remaining-requests"] == "2"


async def test_reads_have_a_limit_of_their_own(tmp_path: Path):
    counted = limits(tmp_path, reads=5)
    for _ in range(5):
        await counted.check(caller(), "read")
    with pytest.raises(RateLimited):
        await counted.check(caller(), "read")
    await counted.check(caller(), "create")
    endless = limits(tmp_path, reads=None)
    for _ in range(20):
        await endless.check(caller(), "read")


async def test_a_window_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counted = limits(tmp_path)
    for _ in range(3):
        await counted.check(caller(), "create")
    now = wall.time()
    monkeypatch.setattr(wall, "time", lambda: now + 61)
    await counted.check(caller(), "create")


async def test_a_wall_clock_set_back_locks_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counted = limits(tmp_path)
    for _ in range(3):
        await counted.check(caller(), "create")
    now = wall.time()
    monkeypatch.setattr(wall, "time", lambda: now - 3600)
    assert (await counted.check(caller(), "create"))["x-ratelimit-remaining-requests"] == "2"


def test_unlimited_keys_do_not_even_load_the_library(tmp_path: Path):
    code = (
        "import asyncio, sys\n"
        "from gateway.keys.limits import RequestLimits\n"
        "from gateway.keys.service import operator_principal\n"
        "from gateway.settings import Settings\n"
        "limits = RequestLimits(Settings())\n"
        "assert not asyncio.run(limits.check(operator_principal(), 'create'))\n"
        "assert 'limits' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_operator_is_unlimited(tmp_path: Path):
    counted = limits(tmp_path, reads=1)
    for _ in range(5):
        assert not await counted.check(operator_principal(), "create")
        assert not await counted.check(operator_principal(), "read")
