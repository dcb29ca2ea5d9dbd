"""The end of a job whose upstream names an address of the file, and the way to the file."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.answers import video_only
from providers.contract import Completed, Content, ErrorKind, Failed, ProviderError, ReportedCost
from providers.http import AccountClient


def at_address(url: Any, cost: ReportedCost | None = None) -> Completed | Failed:
    """Completed with the address in `outputs["url"]`; without an address the job has failed."""
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Completed({"url": url}, cost)
    return without_video()


def without_video(kind: ErrorKind = ErrorKind.PROVIDER_ERROR, why: str = "") -> Failed:
    """The verdict on a job that the upstream calls done although there is no video."""
    return Failed(ProviderError(kind, why or "the upstream completed without a video"))


async def download(http: AccountClient, outputs: Mapping[str, Any]) -> Content:
    """Open the file at `outputs["url"]`: the credential goes only to the account's own origin."""
    return await video_only(await http.stream("GET", outputs["url"]))


def segment(value: Any) -> str:
    """An id from a handle as one segment of a path."""
    return quote(str(value), safe="")
