"""A video through every adapter, from the stock OpenAI SDK to the bytes, by a real server."""

from tests.fakes import FakeProviders, fakes
from tests.fakes.demo import configuration, run
from tests.server import Server


def test_every_adapter_makes_a_video() -> None:
    with FakeProviders() as fake, Server(config=configuration(fake)) as server:
        lines = run(server, fakes())
        assert fake.stats()["jobs"] == len(fakes())
    assert {line.provider: line.error or line.status for line in lines} == dict.fromkeys(fakes(), "completed")
    for line in lines:
        assert (line.attempts, line.charged) == (1, f"{0.1 * _seconds(line.provider):.6f}"), line
        assert line.size > 1000


def _seconds(provider: str) -> int:
    return int(fakes()[provider].example.get("seconds", 4))
