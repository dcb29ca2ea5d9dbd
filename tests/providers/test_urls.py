"""The rules for strangers' URLs, over a corpus of ways around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.urls import UnsafeUrl, allowed, check_public_url, is_public_address, origin

REFUSED = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://168.63.129.16/",
    "http://192.0.0.192/opc/v1/",
    "http://192.88.99.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2001::1]/",
    "http://[2001:db8::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://localhost./",
    "http://a.localhost/",
    "http://redis:6379/",
    "http://metadata.google.internal./computeMetadata/v1/",
    "http://printer.local/",
    "http://router.home.arpa/",
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://exam ple.com/",
    "http://example.com/\r\nHost: x",
    "http://example.com/\tx",
    "\thttp://example.com/",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",  # full-width digits
    "http://ⓛocalhost/",
    "http://bücher.example/",
    "http://-x-.example/",
    "http://a..example/",
    "http:///path",
    "http://",
    "http://:80/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:x/",
    "http://[::1/",
    "http://[v1.x]/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "",
    "http://example.com/" + "x" * 2048,
]

ACCEPTED = [
    ("http://example.com", ("http", "example.com", 80)),
    ("https://Example.COM/a?b=c#d", ("https", "example.com", 443)),
    ("HTTPS://example.com:8443/", ("https", "example.com", 8443)),
    ("https://cdn-1.a_b.example.co.uk./x", ("https", "cdn-1.a_b.example.co.uk", 443)),
    ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443)),
    ("https://8.8.8.8/", ("https", "8.8.8.8", 443)),
    ("https://[2606:4700:4700::1111]/", ("https", "2606:4700:4700::1111", 443)),
    ("https://[64:ff9b::8.8.8.8]/", ("https", "64:ff9b::8.8.8.8", 443)),
    (
        "https://bucket.s3.amazonaws.com/k?X-Amz-Credential=A%2Fb&sig=%3D+",
        ("https", "bucket.s3.amazonaws.com", 443),
    ),
]


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: str) -> None:
    with pytest.raises(UnsafeUrl) as caught:
        check_public_url(url)
    assert str(caught.value).startswith("the URL")


@pytest.mark.parametrize(("url", "expected"), ACCEPTED)
def test_accepted(url: str, expected: tuple[str, str, int]) -> None:
    assert check_public_url(url) == expected


def test_the_operator_can_name_an_exception_for_one_port() -> None:
    assert check_public_url("http://127.0.0.1:9000/x", ("127.0.0.1:9000",)) == ("http", "127.0.0.1", 9000)
    assert check_public_url("http://[::1]:9000/x", ("[::1]:9000",)) == ("http", "::1", 9000)
    assert check_public_url("http://Minio:9000/x", ("MINIO:9000",))
    with pytest.raises(UnsafeUrl):
        check_public_url("http://127.0.0.1:9001/x", ("127.0.0.1:9000",))
    assert not allowed("127.0.0.1", 80, ())


def test_origins_compare_with_default_ports() -> None:
    assert origin("HTTP://Example.com/a") == origin("http://example.com:80/b")
    assert origin("https://example.com") != origin("http://example.com:443")


@pytest.mark.parametrize("address", ["not an address", "", "1.2.3", "fe80::1%eth0", "2606:4700::1%1"])
def test_what_is_no_plain_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@given(st.ip_addresses(v=4).filter(lambda ip: not ip.is_global))
def test_no_private_ipv4_address_passes_in_any_clothing(ip) -> None:
    number = int(ip)
    for shown in (
        str(ip),
        f"::ffff:{ip}",
        f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
        f"::{ip}",
    ):
        assert not is_public_address(shown)


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_refused_and_never_breaks(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        try:
            scheme, host, port = check_public_url(url)
        except UnsafeUrl:
            continue
        assert scheme in {"http", "https"}
        assert host
        assert 0 < port < 65536
