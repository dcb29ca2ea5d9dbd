"""Ways to have a server open what is not public, and every field of the API that takes a URL."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

VIDEO: Final = {"prompt": "a lighthouse", "model": "acme/full"}
HOOK: Final = {"name": "mine", "event_types": ["video.completed"]}
URL_NAME: Final = re.compile(
    r"(?:^|_)(?:ur[il]|href|link|host|origin|address|callback|webhook|proxy|endpoint)s?(?:$|_(?!id|ids|type)\w+)"
)

# {port} is that of a real listener on 127.0.0.1 and ::1
PRIVATE: Final = (
    "http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.8.9.10:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7F.0x0.0x0.0x1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.01:{port}/",
    "http://017700000001:{port}/",
    "http://00000000177.0.0.1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://4294967295:{port}/",
    "http://10.0.0.1/",
    "http://172.31.255.254/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://169.254.43518/latest/meta-data/",
    "http://169.254.170.2/v2/credentials/",
    "http://168.63.129.16/machine?comp=goalstate",
    "http://192.0.0.192/opc/v2/instance/",
    "http://192.0.2.7/",
    "http://198.18.0.1/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::FFFF:7F00:0001]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::1]:{port}/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:7f00:1::1]:{port}/",
    "http://[2001:db8::1]/",
    "http://[fe80::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1%lo]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/",
    "http://[3fff::1]/",
    "http://localhost:{port}/",
    "http://LocalHost:{port}/",
    "http://localhost.:{port}/",
    "http://any.localhost:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://metadata/computeMetadata/v1/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.GOOGLE.INTERNAL./computeMetadata/v1/",
    "http://instance-data.ec2.internal/latest/",
    "http://kubernetes.default.svc.cluster.local/",
    "http://redis:6379/",
    "http://router.home.arpa/",
)
TRICKS: Final = (
    "http://127.0.0.1:{port}@example.com/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://user:word@example.com/",
    "http://@127.0.0.1:{port}/",
    "http://example.com%40127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ HTTP/1.1",
    "http://127.0.0.1:{port}/\r\nHost: example.com",
    "http://127.0.0.1\t:{port}/",
    "http://example.com\r\n.127.0.0.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",
    "http://loc\u00ad\u0430lhost:{port}/",
    "http://ex\u0430mple.com/",
    "http://-a-.example/",
    "http://a..example/",
    "http://[v1.x]/",
    "http://[::1/",
    "http://[127.0.0.1]:{port}/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:80:{port}/",
    "http://",
)
SCHEMES: Final = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:{port}/_GET%20/",
    "ftp://127.0.0.1:{port}/a",
    "dict://127.0.0.1:{port}/info",
    "ldap://127.0.0.1:{port}/",
    "tftp://127.0.0.1:{port}/a",
    "sftp://127.0.0.1:{port}/a",
    "jar:http://127.0.0.1:{port}/a.jar!/b",
    "netdoc:/etc/passwd",
    "unix:/var/run/docker.sock",
    "ws://127.0.0.1:{port}/",
    "blob:http://127.0.0.1:{port}/a",
    "view-source:http://127.0.0.1:{port}/",
    "javascript:alert(1)",
    "data:text/html;base64,PGI+",
    "concat:http://127.0.0.1:{port}/|file:///etc/passwd",
    "httpx://127.0.0.1:{port}/",
    "about:blank",
)

Kind = Literal["opened", "operator", "shown"]


@dataclass(frozen=True)
class UrlField:
    """A field that takes a URL: where it is, the rest of its request, and what becomes of the URL.

    opened: by this server, so it must be public. operator: the address of an upstream, which is trusted and may be
    private, and must still be a plain http(s) origin. shown: given to a browser, never opened here.
    """

    operation: str
    name: str
    kind: Kind = "opened"
    rest: Mapping[str, Any] = field(default_factory=dict)

    def body(self, url: str) -> dict[str, Any]:
        """A request that is good but for this URL."""
        head, *inner = re.findall(r"\w+", self.name)
        value: Any = url
        for step in reversed(inner):
            value = [value] if step == "0" else {step: value}
        return {**self.rest, head: value}


def _pictures(operation: str) -> Iterator[UrlField]:
    for name in ("input_reference", "first_frame", "last_frame"):
        yield UrlField(operation, f"{name}[image_url]", rest=VIDEO)
    yield UrlField(operation, "reference_images[0][image_url]", rest=VIDEO)


EDIT: Final = {**VIDEO, "video": {"id": "{video_id}"}}
UPSTREAM: Final = {"name": "other", "api_key": "k", "models": [{"id": "other/one"}]}
FIELDS: Final = (
    *_pictures("POST /v1/videos"),
    *_pictures("POST /v1/videos/quote"),
    UrlField("POST /v1/videos", "webhook_url", rest=VIDEO),
    UrlField("POST /v1/videos/quote", "webhook_url", rest=VIDEO),
    UrlField("POST /v1/videos/edits", "webhook_url", rest=EDIT),
    UrlField("POST /v1/videos/extensions", "webhook_url", rest={**EDIT, "seconds": "4"}),
    UrlField("POST /v1/videos/{video_id}/remix", "webhook_url", rest={"prompt": "again"}),
    UrlField("POST /v1/webhook_endpoints", "url", rest=HOOK),
    UrlField("POST /v1/webhook_endpoints/{endpoint_id}", "url"),
    UrlField("POST /v1/upstreams", "base_url", "operator", UPSTREAM),
    UrlField("POST /v1/upstreams/{name}", "base_url", "operator"),
    UrlField("POST /v1/billing/checkout", "success_url", "shown", {"amount_usd": "5"}),
    UrlField("POST /v1/billing/checkout", "cancel_url", "shown", {"amount_usd": "5"}),
    UrlField("POST /v1/billing/portal", "return_url", "shown"),
)


def documented(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every (operation, field) of the document whose name or format says that it takes an address."""
    schemas = document["components"]["schemas"]
    found = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = (
                operation.get("requestBody", {}).get("content", {}) if isinstance(operation, dict) else {}
            )
            for media in content.values():
                for name, schema in _properties(media["schema"], "", schemas):
                    if URL_NAME.search(re.findall(r"\w+", name)[-1]) or schema.get("format") in {
                        "uri",
                        "url",
                    }:
                        found.add((f"{method.upper()} {path}", name))
    return found


def _properties(
    schema: Mapping[str, Any], path: str, schemas: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for key in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(key, ()):
            yield from _properties(each, path, schemas)
    if "items" in schema:
        yield from _properties(schema["items"], f"{path}[0]", schemas)
    for name, each in schema.get("properties", {}).items():
        inner = f"{path}[{name}]" if path else name
        yield inner, each
        yield from _properties(each, inner, schemas)
