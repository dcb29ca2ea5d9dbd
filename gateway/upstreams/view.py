"""An upstream as the operator sees it: everything but its secrets."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.upstreams.health import Health
from gateway.upstreams.probe import Probed
from gateway.upstreams.workers import Workers
from gateway.videos.routing import Catalogue
from providers.spec import UpstreamSpec

_SECRET_WORDS: Final = ("key", "secret", "token", "password", "credential")


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class UpstreamPause(_Answer):
    """Why nothing new is sent there: the operator's word, or a refused credential or missing funds."""

    reason: Literal["operator", "provider_auth", "provider_funds"]
    message: str
    paused_at: int


class UpstreamCredential(_Answer):
    """Whether there is one, from which variable, and for a stored one its version.

    `kept` are the versions that running videos may need, the present one included.
    """

    set: bool
    env: str | None
    version: int | None
    kept: list[int]


class UpstreamServer(_Answer):
    """One server of a fleet: the base_url's name leads to several. `models` tells where the weights of each model are,
    null where the server does not say."""

    name: str
    address: str
    reachable: bool
    breaker: Literal["closed", "half_open", "open"]
    paused: bool
    models: dict[str, Literal["loaded", "present", "missing"]] | None


class Upstream(_Answer):
    """One upstream. Those from onereel.toml or the environment can be paused and checked, and are changed there."""

    object: Literal["upstream"] = "upstream"
    name: str
    type: str
    source: Literal["configuration", "database"]
    base_url: str
    status: Literal["active", "paused"]
    breaker: Literal["closed", "half_open", "open"]
    pause: UpstreamPause | None
    credential: UpstreamCredential
    priority: int
    weight: int | None
    max_concurrent: int | None
    requests_per_second: float | None
    polls_per_second: float | None
    options: dict[str, Any]
    models: list[str]
    servers: list[UpstreamServer]


class UpstreamList(_Answer):
    """Every upstream in order of preference; this list has no pages."""

    object: Literal["list"] = "list"
    data: list[Upstream]


class DeletedUpstream(_Answer):
    """What is left: the videos it has begun are still fetched."""

    name: str
    object: Literal["upstream.deleted"] = "upstream.deleted"
    deleted: Literal[True] = True
    live_videos: int


class UpstreamCheck(_Answer):
    """How one upstream answered something that costs nothing."""

    object: Literal["upstream.check"] = "upstream.check"
    name: str
    type: str
    base_url: str
    usable: bool
    verdict: Literal["ok", "reached", "untested", "refused", "unreachable", "broken"] = Field(
        description="reached: it answers, but nothing proves the credential. untested: nothing can be asked free of "
        "charge. refused: credential or funds."
    )
    detail: str
    latency_ms: int


class UpstreamCheckList(_Answer):
    """One check each."""

    object: Literal["list"] = "list"
    data: list[UpstreamCheck]


def public_upstream(
    spec: UpstreamSpec, catalogue: Catalogue, health: Health, workers: Workers
) -> dict[str, Any]:
    """Show one."""
    pause = health.pause_of(spec.name)
    return Upstream(
        name=spec.name,
        type=spec.type,
        source="configuration" if catalogue.is_configured(spec.name) else "database",
        base_url=spec.base_url,
        status="active" if pause is None else "paused",
        breaker=health.breaker_of(spec.name),
        pause=None
        if pause is None
        else UpstreamPause.model_validate(
            {"reason": pause.reason, "message": pause.message, "paused_at": pause.paused_at // 1000}
        ),
        credential=UpstreamCredential(
            set=bool(spec.credential),
            env=spec.api_key_env,
            version=spec.credential_version,
            kept=catalogue.credential_versions(spec.name),
        ),
        priority=spec.priority,
        weight=spec.weight,
        max_concurrent=spec.max_concurrent,
        requests_per_second=spec.requests_per_second,
        polls_per_second=spec.polls_per_second,
        options={name: _shown(name, value) for name, value in spec.options.items()},
        models=list(dict.fromkeys(model.id for model in spec.models)),
        servers=[_server(each, health, workers) for each in workers.servers(spec) if each.address],
    ).model_dump(mode="json")


def _server(spec: UpstreamSpec, health: Health, workers: Workers) -> UpstreamServer:
    heard = workers.heard(spec)
    return UpstreamServer(
        name=spec.name,
        address=spec.address or "",
        reachable=heard.reachable,
        breaker=health.breaker_of(spec.name),
        paused=health.pause_of(spec.name) is not None,
        models=None if heard.models is None else dict(heard.models),
    )


def public_check(spec: UpstreamSpec, probed: Probed) -> dict[str, Any]:
    """Show how it answered."""
    return UpstreamCheck(
        name=spec.name,
        type=spec.type,
        base_url=spec.base_url,
        usable=probed.usable,
        verdict=probed.verdict,
        detail=probed.detail,
        latency_ms=round(probed.seconds * 1000),
    ).model_dump(mode="json")


def _shown(name: str, value: Any) -> Any:
    return "[hidden]" if any(word in name.lower() for word in _SECRET_WORDS) else value
