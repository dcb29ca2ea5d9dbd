"""`onereel upstreams`: what is configured, and whether it can be reached. Nothing here starts a video."""

import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, TYPE_CHECKING, NamedTuple

import click

from gateway.cli_terminal import CommandError, load_settings, paint, say, table

if TYPE_CHECKING:
    from providers.spec import UpstreamSpec

_TIMEOUT_SECONDS = 10.0


class Reached(NamedTuple):
    """How one upstream answered."""

    ok: bool
    detail: str


@click.group()
def upstreams() -> None:
    """Show the configured upstreams."""


@upstreams.command("list")
def list_upstreams() -> None:
    """List the [[upstreams]] of onereel.toml. The bundled worker is added by the server itself."""
    configured = load_settings().upstreams
    if not configured:
        say("No [[upstreams]] are configured; see README for an example.")
    rows = [
        (
            each.name,
            each.type,
            each.base_url,
            _credential(each),
            str(each.max_concurrent or "-"),
            ",".join(model.id for model in each.models) or "-",
        )
        for each in configured
    ]
    click.echo(table(("NAME", "TYPE", "BASE URL", "CREDENTIAL", "AT ONCE", "MODELS"), rows))


@upstreams.command()
@click.argument("name", required=False)
def check(name: str | None) -> None:
    """Ask each upstream (or one) for its list of models: costs nothing, proves address and credential."""
    chosen = [each for each in load_settings().upstreams if name in {None, each.name}]
    if not chosen:
        raise CommandError(
            f"No upstream '{name}' is configured." if name else "No [[upstreams]] are configured."
        )
    results = [(each, reach(each)) for each in chosen]
    for each, reached in results:
        mark = paint("ok  ", "green") if reached.ok else paint("fail", "red")
        click.echo(f"{mark}  {each.name}  {each.base_url}  {reached.detail}")
    if not all(reached.ok for _, reached in results):
        raise CommandError("Not every upstream can be used.")


def reach(upstream: "UpstreamSpec") -> Reached:
    """GET {base_url}/models with the credential. Any answer but a refusal or a server error counts as reached."""
    url = upstream.base_url.rstrip("/") + "/models"
    if not url.startswith(("http://", "https://")):
        return Reached(ok=False, detail="base_url must start with http:// or https://")
    request = urllib.request.Request(url)  # noqa: S310  (the scheme is checked above)
    if upstream.credential:
        request.add_unredirected_header("Authorization", f"Bearer {upstream.credential}")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return Reached(ok=True, detail=f"answers {answer.status}")
    except urllib.error.HTTPError as error:
        return _judge(error.code)
    except (OSError, HTTPException) as error:
        return Reached(ok=False, detail=f"not reached: {getattr(error, 'reason', None) or error}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917  (the standard library's signature)
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow nothing: only the configured address is trusted."""


def _judge(status: int) -> Reached:
    if status in {401, 403}:
        return Reached(ok=False, detail=f"refuses the credential ({status})")
    if status >= 500:
        return Reached(ok=False, detail=f"answers {status}")
    return Reached(ok=True, detail=f"answers {status} (it lists no models)")


def _credential(upstream: "UpstreamSpec") -> str:
    if upstream.credential:
        return "set"
    return f"missing ({upstream.api_key_env})" if upstream.api_key_env else "none"
