"""kill -9 while a video is being signed: one video, signed once, paid once."""

import io
import socket
import threading
import time
from pathlib import Path

import httpx
from c2pa import Context, Reader

from providers.testing import FakeUpstream
from tests.server import MODEL, Server


class _Silent:
    """A time-stamping server that takes every question and answers none; `asked` once there was one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.asked = threading.Event()
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            self._taken.append(taken)
            if taken.recv(1):
                self.asked.set()

    def close(self) -> None:
        """Hang up: who still waits for an answer goes on."""
        self._listening.close()
        for each in self._taken:
            each.close()


def finished(server: Server, video_id: str) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        video: dict[str, object] = server.call("GET", f"/v1/videos/{video_id}")
        if video["status"] in ("completed", "failed"):
            return video
        time.sleep(0.1)
    raise AssertionError(f"{video_id} did not end: {server.log_tail()}")


def test_a_gateway_killed_while_it_signs_delivers_one_signed_video(tmp_path: Path) -> None:
    clock = _Silent()
    all_of_it = {"ONEREEL_PROVENANCE__C2PA": "all"}
    with FakeUpstream(poll_after_ms=50) as upstream:
        first = Server(
            upstream=upstream,
            data_dir=tmp_path,
            env={**all_of_it, "ONEREEL_PROVENANCE__TIMESTAMP_URL": clock.url},
        ).start()
        body = {"model": MODEL, "prompt": "a cat", "seconds": "4", "size": "1280x720"}
        video_id = str(first.call("POST", "/v1/videos", body)["id"])
        assert clock.asked.wait(60), first.log_tail()  # the worker has the claim, and waits for its time
        (half_way,) = (tmp_path / "data" / "work").glob("*.signed")
        first.kill()
        root = (tmp_path / "data" / "c2pa-root.pem").read_text()
        with Server(upstream=upstream, data_dir=tmp_path, env=all_of_it) as second:
            video = finished(second, video_id)
            assert (video["status"], video["error"]) == ("completed", None)
            assert video["provenance"] == {"c2pa": "signed", "visible_mark": False, "invisible_mark": False}
            assert video["cost"] == {"currency": "usd", "amount": "0.400000", "status": "captured"}
            headers = {"Authorization": f"Bearer {second.admin_key}"}
            with httpx.Client(base_url=second.api_url, headers=headers) as client:
                data = client.get(f"/videos/{video_id}/content").raise_for_status().content
        clock.close()
        assert upstream.stats()["calls"]["create"] == 1
    stored = list((tmp_path / "data" / "storage" / "videos" / video_id).glob("content-*"))
    assert [path.read_bytes() for path in stored] == [data]
    assert half_way.name not in {path.name for path in stored}
    trust = Context.from_dict({"trust": {"user_anchors": root}, "verify": {"verify_trust": True}})
    with Reader("video/mp4", io.BytesIO(data), context=trust) as reader:
        assert reader.get_validation_state() == "Trusted"
