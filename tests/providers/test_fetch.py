"""Strangers' URLs: where the door connects, what it sends, what it refuses."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from providers.contract import Account, Content, ErrorKind, ProviderError
from providers.http import HttpDoor, RefusedUrl
from providers.urls import UnsafeUrl, is_public_address
from tests.providers.wire import Exchange, answering, serving


class Names:
    """A resolver of our own: what each name answers, in turn, and what was asked."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(turns) for name, turns in answers.items()}
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        turns = self.answers[host]
        return turns.pop(0) if len(turns) > 1 else turns[0]


async def whole(content: Content) -> bytes:
    return b"".join([chunk async for chunk in content.chunks])


async def fetched(door: HttpDoor, url: str, max_bytes: int = 10_000, seconds: float = 5) -> bytes:
    return await whole(await door.fetch(url, max_bytes=max_bytes, timeout=seconds))


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fe80::1%eth0"],
        ["93.184.216.34", "127.0.0.1"],
        ["127.0.0.1", "93.184.216.34"],
    ],
)
async def test_a_name_with_any_private_address_is_refused(addresses: list[str]) -> None:
    names = Names(video_example=[addresses])
    door = HttpDoor(resolver=names)
    async with serving(answering(200, b"secret")) as server:
        with pytest.raises(RefusedUrl) as caught:
            await fetched(door, f"http://video.example:{server.port}/x")
        with pytest.raises(RefusedUrl):
            await door.post(f"http://video.example:{server.port}/x", b"{}", {}, 5)
        assert not server.exchanges
    await door.close()
    assert isinstance(caught.value, UnsafeUrl)
    assert caught.value.kind is ErrorKind.INPUT_MEDIA


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_a_private_literal_is_refused_without_asking_anyone(host: str) -> None:
    names = Names()
    door = HttpDoor(resolver=names)
    async with serving(answering(200, b"secret")) as server:
        with pytest.raises(RefusedUrl):
            await fetched(door, f"http://{host}:{server.port}/x")
        assert not server.exchanges
    await door.close()
    assert not names.asked


async def test_rebinding_finds_no_gap_between_check_and_connect() -> None:
    """The name is resolved once per connection, and the answer that was checked is where it connects."""
    names = Names(rebind_example=[["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]])
    async with serving(answering(200, b"video")) as server:
        door = HttpDoor(allowed_private_hosts=(f"rebind.example:{server.port}",), resolver=names)
        assert await fetched(door, f"http://rebind.example:{server.port}/x") == b"video"
        assert names.asked == [("rebind.example", server.port)]
        assert server.exchanges[0].headers["host"] == f"rebind.example:{server.port}"
        await door.close()
        turning = Names(rebind_example=[["93.184.216.34"], ["127.0.0.1"]])
        assert await turning("rebind.example", server.port) == ["93.184.216.34"]  # an earlier look at it
        strict = HttpDoor(resolver=turning)
        with pytest.raises(RefusedUrl):
            await fetched(strict, f"http://rebind.example:{server.port}/x")
        assert len(server.exchanges) == 1
        await strict.close()


async def test_an_exception_is_for_one_port_only() -> None:
    async with serving(answering(200, b"one")) as one, serving(answering(200, b"two")) as two:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{one.port}",))
        assert await fetched(door, f"http://127.0.0.1:{one.port}/") == b"one"
        with pytest.raises(RefusedUrl):
            await fetched(door, f"http://127.0.0.1:{two.port}/")
        await door.close()


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:{other}/",
        "http://localhost:{other}/",
        "//127.0.0.1:{other}/",
        "http://[::ffff:127.0.0.1]:{other}/",
        "http://2130706433:{other}/",
        "http://private.example:{other}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{other}/",
        "http://user@open.example/",
        "",
    ],
)
@pytest.mark.parametrize("status", [301, 307])
async def test_every_hop_of_a_redirect_is_checked(location: str, status: int) -> None:
    names = Names(open_example=[["127.0.0.1"]], private_example=[["10.1.2.3"]])
    async with serving(answering(200, b"secret")) as other:
        target = location.format(other=other.port)
        async with serving(answering(status, location=target)) as first:
            door = HttpDoor(allowed_private_hosts=(f"open.example:{first.port}",), resolver=names)
            with pytest.raises(RefusedUrl):
                await fetched(door, f"http://open.example:{first.port}/")
            await door.close()
        assert not other.exchanges


async def redirect(exchange: Exchange) -> None:
    left = int(exchange.line.split()[1].strip("/"))
    if left:
        await exchange.answer(302, location=f"/{left - 1}")
    else:
        await exchange.answer(200, b"arrived")


async def test_three_redirects_and_no_more() -> None:
    async with serving(redirect) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        assert await fetched(door, f"http://127.0.0.1:{server.port}/3") == b"arrived"
        with pytest.raises(RefusedUrl, match="more than 3 times"):
            await fetched(door, f"http://127.0.0.1:{server.port}/4")
        await door.close()


async def test_a_post_follows_nothing() -> None:
    async with serving(answering(307, location="/other")) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        url = f"http://127.0.0.1:{server.port}/hook"
        assert await door.post(url, b'{"a":1}', {"webhook-id": "evt_1"}, 5) == 307
        assert [e.line for e in server.exchanges] == ["POST /hook HTTP/1.1"]
        assert server.exchanges[0].headers["webhook-id"] == "evt_1"
        await door.close()


async def test_no_credential_leaves() -> None:
    async with serving(answering(200, b"x", set_cookie="a=b")) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        url = f"http://127.0.0.1:{server.port}/"
        sent = {"Authorization": "Bearer x", "cookie": "c=d", "Range": "bytes=0-"}
        for _ in range(2):
            await whole(await door.fetch(url, max_bytes=10, timeout=5, headers=sent))
        await door.close()
        for exchange in server.exchanges:
            assert not {"authorization", "cookie"} & set(exchange.headers)
            assert exchange.headers["range"] == "bytes=0-"


async def test_caps_on_size_and_time() -> None:
    async def endless(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            exchange.writer.write(b"x" * 100)
            await exchange.writer.drain()
            await asyncio.sleep(0.02)

    async with serving(endless) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        url = f"http://127.0.0.1:{server.port}/"
        with pytest.raises(ProviderError, match="longer than 500 bytes") as large:
            await fetched(door, url, max_bytes=500)
        with pytest.raises(ProviderError, match="too long") as slow:
            await fetched(door, url, seconds=0.5)
        await door.close()
    assert large.value.kind is ErrorKind.INPUT_MEDIA
    assert slow.value.kind is ErrorKind.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ErrorKind.INPUT_MEDIA),
        (403, ErrorKind.INPUT_MEDIA),
        (204, ErrorKind.INPUT_MEDIA),
        (429, ErrorKind.PROVIDER_UNAVAILABLE),
        (503, ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
async def test_answers_that_are_no_file(status: int, kind: ErrorKind) -> None:
    async with serving(answering(status, b"")) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        with pytest.raises(ProviderError) as caught:
            await fetched(door, f"http://127.0.0.1:{server.port}/")
        await door.close()
    assert (caught.value.kind, caught.value.http_status) == (kind, status)


async def test_a_file_cut_short_is_noticed() -> None:
    async with serving(answering(200, b"half", content_length="8")) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        with pytest.raises(ProviderError, match="broke off"):
            await fetched(door, f"http://127.0.0.1:{server.port}/")
        await door.close()


async def test_signed_urls_arrive_as_they_were_written() -> None:
    target = "/a%2Fb/c%20d~e?X-Amz-Credential=AK%2F2026%2Fs3&sig=a%2Bb%3D&x=%7Eq+r:@!$'()*,;"
    async with serving(answering(200, b"x")) as server:
        door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{server.port}",))
        await fetched(door, f"http://127.0.0.1:{server.port}{target}#fragment")
        await door.close()
        assert server.exchanges[0].line == f"GET {target} HTTP/1.1"


@given(
    st.text(max_size=40), st.sampled_from(["http://{}", "https://ex{}.example/", "http://h.example/{}", "{}"])
)
def test_any_text_is_fetched_or_refused_in_words_of_ours(text: str, shape: str) -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError("no names here")

    async def run() -> None:
        door = HttpDoor(resolver=nowhere)
        with pytest.raises(ProviderError):
            await fetched(door, shape.format(text), seconds=0.2)
        await door.close()

    if not is_public_address(text):
        asyncio.run(run())


async def test_the_credential_stays_at_its_origin() -> None:
    """Same host but another port, another name for the same host: no credential."""
    async with serving(answering(200, b"foreign")) as foreign:
        for location in (f"http://127.0.0.1:{foreign.port}/f", f"http://localhost:{foreign.port}/f"):
            async with serving(answering(302, location=location)) as own:
                names = (f"127.0.0.1:{foreign.port}", f"localhost:{foreign.port}")
                door = HttpDoor(allowed_private_hosts=names)
                client = door.account(Account("acme", own.base_url, "s3cret"))
                assert await whole(await client.stream("GET", "/videos/1/content")) == b"foreign"
                assert await whole(await client.stream("GET", location)) == b"foreign"
                assert own.exchanges[0].headers["authorization"] == "Bearer s3cret"
                await door.close()
        assert len(foreign.exchanges) == 4
        assert not any("authorization" in exchange.headers for exchange in foreign.exchanges)


async def test_a_redirect_within_the_origin_keeps_the_credential() -> None:
    async def respond(exchange: Exchange) -> None:
        if exchange.line.startswith("GET /v1/a"):
            await exchange.answer(302, location="/v1/b")
        else:
            await exchange.answer(200, b"own")

    door = HttpDoor()
    async with serving(respond) as own:
        client = door.account(Account("acme", own.base_url, "s3cret"))
        assert await whole(await client.stream("GET", "/a")) == b"own"
        assert [e.headers["authorization"] for e in own.exchanges] == ["Bearer s3cret"] * 2
    await door.close()


def certificate(name: str, folder: Path) -> Path:
    """A self-signed certificate with its key, for one DNS name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + built.public_bytes(serialization.Encoding.PEM))
    return path


async def test_tls_is_checked_for_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("video.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    names = Names(video_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    async with serving(answering(200, b"video"), context) as server:
        allowed = (f"video.example:{server.port}", f"other.example:{server.port}")
        door = HttpDoor(allowed_private_hosts=allowed, resolver=names)
        assert await fetched(door, f"https://video.example:{server.port}/") == b"video"
        with pytest.raises(ProviderError, match="could not connect") as caught:
            await fetched(door, f"https://other.example:{server.port}/")
        await door.close()
    assert asked == ["video.example", "other.example"]
    assert not caught.value.ambiguous


async def test_one_server_of_a_name_is_reached_at_its_address_under_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("gpu.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    door = HttpDoor()
    for scheme, tls in (("http", None), ("https", context)):
        async with serving(answering(200, b"{}"), tls) as server:
            base_url = f"{scheme}://gpu.example:{server.port}/v1"
            client = door.account(Account("gpu@127.0.0.1", base_url, "s3cret", address="127.0.0.1"))
            await client.request("GET", "/models")
            assert await whole(await client.stream("GET", f"{base_url}/videos/1/content")) == b"{}"
            for exchange in server.exchanges:
                assert exchange.headers["host"] == f"gpu.example:{server.port}"
                assert exchange.headers["authorization"] == "Bearer s3cret"
    await door.close()
