"""A scripted upstream for tests, as a real server: `python -m providers.testing --port 0`.

Prints {"port": ...} as one line of JSON on stdout once it listens. Tests use `FakeUpstream`.
"""

import argparse
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from providers.testing_client import FakeUpstream

if TYPE_CHECKING:
    from providers.testing_provider import FakeProvider

__all__ = ["FakeUpstream"]


def main() -> None:
    """Serve OpenAI's fake until killed."""
    serve("providers.testing", _openai)


def _openai() -> "Sequence[FakeProvider]":
    from providers.testing_openai import OpenAIFake  # noqa: PLC0415 - late, as below

    return [OpenAIFake()]


def serve(module: str, providers: "Callable[[], Sequence[FakeProvider]]") -> None:
    """Serve these fakes until killed, as the command line of `module` says."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description="Fake video providers.")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when stdin is closed")
    options = parser.parse_args()
    if options.exit_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    # The protocol is named, or asyncio would leave Nagle's algorithm on: 40 ms per answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(1024)
        print(json.dumps({"port": listening.getsockname()[1]}), flush=True)  # noqa: T201 - its whole output
        _serve(listening, providers)


def _serve(listening: socket.socket, providers: "Callable[[], Sequence[FakeProvider]]") -> None:
    # Late, so that the port is announced and tests that only want FakeUpstream stay light.
    import uvicorn  # noqa: PLC0415

    from providers.testing_http import BreakableProtocol  # noqa: PLC0415
    from providers.testing_server import FakeServer  # noqa: PLC0415

    config = uvicorn.Config(
        FakeServer(providers()),
        http=BreakableProtocol,
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_keep_alive=30,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
