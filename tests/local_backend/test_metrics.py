"""What a worker tells Prometheus: over HTTP, with an engine that the test holds."""

import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.jobs.fleet import MODEL, TOKEN, Worker
from tests.server import free_port


async def test_busy_waiting_and_ended(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "127.0.0.1", port := free_port(), [MODEL])
    await worker.start()
    try:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:

            async def value(name: str, **labels: str) -> float | None:
                text = (await client.get("/metrics")).text
                found = [s for f in text_string_to_metric_families(text) for s in f.samples]
                return next((s.value for s in found if s.name == name and s.labels == labels), None)

            async def until(expected: float, name: str, **labels: str) -> None:
                deadline = time.monotonic() + 10
                while (await value(name, **labels)) != expected:
                    assert time.monotonic() < deadline, (name, await value(name, **labels))

            assert (await client.get("/metrics", headers={"authorization": ""})).status_code == 401
            assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain; version=")
            await until(1, "onereel_worker_state", state="ready")
            assert await value("onereel_worker_model_loaded", model=MODEL) == 0
            for n in range(2):
                form = {"prompt": (None, "a fox"), "model": (None, MODEL), "attempt_id": (None, f"att_{n}")}
                assert (await client.post("/v1/videos", files=form)).status_code == 200
            await until(1, "onereel_worker_state", state="busy")
            await until(1, "onereel_worker_running")
            await until(1, "onereel_worker_waiting")
            worker.engine.outcome = RuntimeError("broken")
            worker.engine.gate.set()
            await until(2, "onereel_worker_videos_total", model=MODEL, outcome="provider_error")
            await until(0, "onereel_worker_waiting")
            assert (await value("process_resident_memory_bytes") or 0) > 1e6
    finally:
        worker.engine.gate.set()
        await worker.stop()
