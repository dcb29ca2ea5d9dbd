"""An upstream's call back brings the next poll forward, and does nothing else."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

from gateway.crypto import SecretBox, new_key
from providers.testing import FakeUpstream
from tests.server import Server, free_port


def post(url: str) -> int:
    request = urllib.request.Request(url, data=b"{}", method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_duplicate_callback_finishes_a_video_long_before_its_next_poll(tmp_path: Path) -> None:
    port = free_port()
    env = {"ONEREEL_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with FakeUpstream(poll_after_ms=60_000, run_seconds=(0.5, 0.5)) as fake:
        config = f"""
[[upstreams]]
name = "acme"
base_url = "{fake.base_url}"
options = {{ callback_field = "callback_url" }}
[[upstreams.models]]
id = "acme/fast"
price_per_second_usd = "0.10"
"""
        with Server(config=config, env=env, port=port) as server:
            client = openai.OpenAI(base_url=server.api_url, api_key=server.admin_key)
            started = time.monotonic()
            video = client.videos.create(prompt="a cat [fault:duplicate_callback]", model="acme/fast")
            while video.status in ("queued", "in_progress"):
                assert time.monotonic() < started + 30
                time.sleep(0.1)
                video = client.videos.retrieve(video.id)
            assert video.status == "completed"
            address = next(
                r["fields"]["callback_url"] for r in fake.requests("POST") if r["path"] == "/v1/videos"
            )
            assert post(address) == 200  # long over: still harmless
            assert post(address[:-1] + "x") == 404
            assert post(f"{server.api_url}/callbacks/att_1/guess") == 404


def test_a_signature_is_known_under_old_keys_and_never_under_strange_ones() -> None:
    old, new = new_key(), new_key()
    signed = SecretBox([old]).signature("att_1")
    assert SecretBox([new, old]).is_signature("att_1", signed)
    assert not SecretBox([new]).is_signature("att_1", signed)
    assert not SecretBox([old]).is_signature("att_2", signed)
    assert not SecretBox([old]).is_signature("att_1", "é")
