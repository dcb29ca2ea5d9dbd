"""`onereel billing report`: charged, quoted, estimated and reported, per day or per video."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from gateway.cli_terminal import CommandError, load_settings, run, say, table

if TYPE_CHECKING:
    from gateway.settings import Settings

Json = dict[str, Any]
_MONEY = ("charged", "quoted", "estimated", "reported", "difference")
_DAY_COLUMNS = ("day", "completed", "failed", "told", *_MONEY)
_VIDEO_COLUMNS = ("ended", "video", "status", "organization", "model", "upstream", *_MONEY)


@click.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC. Default: 30 days ago.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day, UTC. Default: today.")
@click.option("--by", type=click.Choice(["day", "video"]), default="day", show_default=True)
@click.option("--different", is_flag=True, help="Only videos whose upstream charged what was not expected.")
@click.option("--organization", help="One organization only.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def report(
    since: datetime | None,
    until: datetime | None,
    by: str,
    organization: str | None,
    *,
    different: bool,
    as_csv: bool,
) -> None:
    """Compare our charges and estimates with what the upstreams report, in USD."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = since.replace(tzinfo=UTC) if since else today - timedelta(days=30)
    last = until.replace(tzinfo=UTC) if until else today
    if last < first:
        raise CommandError("--until lies before --since.")
    asked: Json = {"by": "video" if different else by, "start_time": int(first.timestamp())}
    asked |= {"end_time": int((last + timedelta(days=1)).timestamp())}
    asked |= {"different": "true"} if different else {}
    asked |= {"organization_ids": organization} if organization else {}
    found = _everything(load_settings(), asked)
    lines = [_video(each) for each in found] if asked["by"] == "video" else _days(found)
    columns = _VIDEO_COLUMNS if asked["by"] == "video" else _DAY_COLUMNS
    if as_csv:
        from gateway.usage.view import csv_text

        exact = [
            [
                Decimal(each) if each and name in _MONEY else each
                for name, each in zip(columns, line, strict=True)
            ]
            for line in lines
        ]
        click.echo(csv_text([columns, *exact]), nl=False)
        return
    if not lines:
        say("Nothing ended in these days." if not different else "Nothing differs in these days.")
    click.echo(table([name.upper() for name in columns], [[each or "-" for each in line] for line in lines]))


def _everything(settings: "Settings", asked: Json) -> list[Json]:
    """Every page, from the running server or, without one, from the database."""
    from urllib.parse import urlencode

    from gateway.cli_client import find_server

    client = find_server(settings, admin=True)
    if client is None:
        from gateway.cli_offline import reconciliation_pages

        return run(reconciliation_pages(settings, asked))
    found: list[Json] = []
    page: Json = {}
    while True:
        body = client.get(f"/v1/billing/reconciliation?{urlencode(asked | page)}").body
        found += body["data"]
        if not body["has_more"]:
            return found
        page = {"page": body["next_page"]}


def _days(buckets: list[Json]) -> list[tuple[str, ...]]:
    return [
        (
            _when(bucket["start_time"])[:10],
            str(day["num_videos"]),
            str(day["num_failed"]),
            str(day["num_reported"]),
            *(day[name] or "" for name in _MONEY),
        )
        for bucket in buckets
        for day in bucket["results"]
    ]


def _video(video: Json) -> tuple[str, ...]:
    return (
        _when(video["completed_at"]),
        video["id"],
        video["status"],
        video["organization_id"],
        video["model"],
        video["upstream"] or "",
        *(video[name] or "" for name in _MONEY),
    )


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
