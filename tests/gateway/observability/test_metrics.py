"""What the metrics say after one video that was made and one that was not."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from providers.testing import FakeUpstream
from tests.gateway.live import live, settings_for
from tests.gateway.observability.test_tracing import MODEL, create, until, upstream


class Told:
    """One scrape."""

    def __init__(self, client: httpx.Client) -> None:
        families = text_string_to_metric_families(client.get("/metrics").text)
        self._samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        wanted = labels.items()
        return sum(s.value for s in self._samples if s.name == name and wanted <= s.labels.items())


def test_videos_steps_and_money(tmp_path: Path) -> None:
    with FakeUpstream(poll_after_ms=50, run_seconds=(1.0, 1.0)) as fake, FakeUpstream() as receiver:
        settings = settings_for(
            tmp_path,
            upstreams=[upstream(fake.base_url, max_concurrent=7)],
            security={"allowed_private_hosts": [f"127.0.0.1:{receiver.port}"]},
        )
        with live(settings) as gateway, gateway.client() as client:
            hook = f"http://127.0.0.1:{receiver.port}/v1/hook"
            until(client, create(client, webhook_url=hook).json()["id"], "completed")
            until(client, create(client, prompt="[fault:moderation]").json()["id"], "failed")
            while Told(client)("onereel_webhook_deliveries_total") == 0:
                pass
            told = Told(client)
    assert told("onereel_videos_accepted_total", model=MODEL) == 2
    assert told("onereel_videos_ended_total", model=MODEL, outcome="completed") == 1
    assert told("onereel_videos_ended_total", outcome="moderation_blocked") == 1
    assert told("onereel_money_micro_usd_total", kind="captured") == 400_000
    assert told("onereel_money_micro_usd_total", kind="released") == 400_000
    assert told("onereel_video_wait_seconds_count", model=MODEL) >= 1
    assert told("onereel_video_render_seconds_count", model=MODEL) == 1
    # what passes while the upstream answers the create is not in it
    assert 0.2 < told("onereel_video_render_seconds_sum", model=MODEL) < 10
    assert told("onereel_video_seconds_count", model=MODEL) == 2
    assert told("onereel_job_step_seconds_count", step="submit", outcome="accepted") >= 1
    assert told("onereel_job_step_seconds_count", step="store", outcome="completed") == 1
    assert told("onereel_job_step_seconds_count", outcome="failed") == 1
    assert told("onereel_job_step_seconds_count", outcome="open") == 0
    assert told("onereel_job_claims_total") >= 3
    assert told("onereel_jobs_room") == settings.jobs.concurrency
    assert told("onereel_upstream_max_concurrent", upstream="acme") == 7
    assert told("onereel_upstream_in_flight", upstream="acme") == 0
    assert told("onereel_http_requests_in_flight") == 1  # this one
    assert told("onereel_database_connections", state="most") == 3
    assert told("onereel_event_loop_lag_seconds_count") >= 0
    assert told("process_open_fds") > 10
