"""The supervisor with a real worker process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.local_worker import LocalWorker, wanted
from gateway.settings import Local, Settings
from providers.contract import (
    Adapter,
    Completed,
    ErrorKind,
    Handle,
    Operation,
    ProviderError,
    Running,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def settings(tmp_path: Path, models_dir: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", local=Local(enabled=True, models_dir=models_dir))


@asynccontextmanager
async def running(worker: LocalWorker) -> AsyncIterator[LocalWorker]:
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop()
        await task


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def request(worker: LocalWorker) -> VideoRequest:
    (model,) = worker.upstream.models
    return VideoRequest(
        attempt_id="att_1",
        idempotency_key="key_1",
        operation=Operation.GENERATE,
        model=model.upstream_id,
        prompt="a red fox",
        seconds=model.seconds_when_omitted,
        size=model.size_when_omitted,
        parameters={"seed": 7, "negative_prompt": "fog"},
        provider_options={"num_inference_steps": 2},
    )


async def completed(adapter: Adapter, handle: Handle) -> Completed:
    async with asyncio.timeout(60):
        while True:
            status = await adapter.poll(handle)
            if isinstance(status, Completed):
                return status
            assert isinstance(status, Running)
            await asyncio.sleep(0.1)


async def test_a_video_through_the_adapter_and_a_killed_worker_comes_back(settings: Settings) -> None:
    ready: list[str] = []
    downs: list[bool] = []
    worker = LocalWorker(
        settings, on_ready=lambda spec: ready.append(spec.base_url), on_down=lambda: downs.append(True)
    )
    door = HttpDoor()
    adapter = build_adapter(worker.upstream, door)
    assert adapter.submit_safety == "key"
    with pytest.raises(ProviderError) as refused:
        await adapter.submit(request(worker))
    assert (refused.value.kind, refused.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)

    async with running(worker):
        await eventually(lambda: worker.state == "loading")
        submitted = await adapter.submit(request(worker))
        assert submitted.poll_after == 0.25
        assert (await adapter.submit(request(worker))).handle == submitted.handle
        status = await completed(adapter, submitted.handle)
        content = await adapter.open_content(submitted.handle, status.outputs)
        data = b"".join([chunk async for chunk in content.chunks])
        assert (content.media_type, content.length, data[4:8]) == ("video/mp4", len(data), b"ftyp")

        told = (await worker.exposition()).decode()
        model = worker.upstream.models[0].id
        assert f'onereel_worker_videos_total{{model="{model}",outcome="completed"}} 1.0' in told
        assert f'onereel_worker_model_loaded{{model="{model}"}} 1.0' in told
        assert 'onereel_worker_stage_seconds_total{stage="denoise"}' in told
        assert "process_" not in told

        assert worker.pid is not None
        first = psutil.Process(worker.pid)
        first.kill()
        await eventually(lambda: downs)
        await eventually(lambda: len(ready) == 2)
        assert worker.pid != first.pid
        assert ready == [worker.upstream.base_url] * 2
        with pytest.raises(ProviderError) as lost:
            await adapter.poll(submitted.handle)
        assert lost.value.kind is ErrorKind.JOB_LOST
        again = await adapter.submit(request(worker))
        assert again.handle == submitted.handle
        second = psutil.Process(worker.pid)
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 8
    assert not second.is_running()
    assert worker.state.value == "stopped"
    assert await worker.exposition() == b""
    assert len(downs) == 2
    assert list((settings.data_dir / "local-worker").iterdir()) == []
    await door.close()


async def test_a_silent_worker_is_replaced(settings: Settings) -> None:
    worker = LocalWorker(settings, health_seconds=0.1, silent_seconds=1)
    settings.jobs.shutdown_grace_seconds = 0.2
    async with running(worker):
        await eventually(lambda: worker.state == "loading")
        assert worker.pid is not None
        silent = psutil.Process(worker.pid)
        silent.send_signal(signal.SIGSTOP)
        await eventually(lambda: worker.restarts == 1)
        assert not silent.is_running()
        await eventually(lambda: worker.pid not in {None, silent.pid})


async def test_a_worker_that_cannot_start_is_tried_again_ever_later(
    settings: Settings, tmp_path: Path
) -> None:
    settings.local.python = str(tmp_path / "no-python")
    worker = LocalWorker(settings)
    async with running(worker):
        await eventually(lambda: worker.restarts >= 1, 10)
        assert worker.pid is None
        assert worker.state in {"starting", "stopped"}


async def test_the_worker_gets_no_secret_of_ours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEREEL_ADMIN_KEY", "secret")
    monkeypatch.setenv("ACME_KEY", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    worker = LocalWorker(settings)
    async with running(worker):
        await eventually(lambda: worker.pid)
        environment = psutil.Process(worker.pid).environ()
    assert "secret" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"


async def test_the_model_is_offered_before_any_worker_runs(settings: Settings) -> None:
    worker = LocalWorker(settings)
    upstream = worker.upstream
    (model,) = upstream.models
    assert upstream.options == {"dialect": "local"}
    assert (model.id, model.size_when_omitted, str(model.seconds_when_omitted)) == (
        "onereel/demo",
        "720x1280",
        "4",
    )
    assert model.native_size == "128x128"
    assert model.operations == frozenset(Operation)
    assert "small world" in model.description
    assert "128x128" in model.warnings[0]
    assert model.prompt_world is not None
    assert model.price_per_second_usd == 0
    await worker.stop()


def test_the_setting_decides_then_what_is_installed(settings: Settings) -> None:
    assert wanted(settings)
    settings.local.enabled = False
    assert not wanted(settings)
    settings.local.enabled = None
    assert wanted(settings)  # the test environment has the extra


def test_the_supervisor_imports_nothing_heavy() -> None:
    script = (
        "import sys, gateway.local_worker as w; from gateway.settings import Settings; w.wanted(Settings());"
        "print([n for n in ('torch','diffusers','local_backend','av','numpy','PIL') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == "[]"
