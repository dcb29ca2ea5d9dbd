"""Around every request to an upstream: its time and outcome as metrics, and as a span where the video is traced."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway import tracing
from gateway.jobs.context import JobContext
from providers.contract import ProviderError
from providers.spec import UpstreamSpec


@contextmanager
def called(ctx: JobContext, upstream: UpstreamSpec, operation: str) -> Iterator[None]:
    """Enclose one call. A ProviderError counts by its kind, and goes on."""
    started = ctx.clock.monotonic()
    outcome = "cut_off"  # a stop of this process, or a mistake of ours
    with tracing.span(f"upstream {operation}", "client", upstream=upstream.name) as span:
        try:
            yield
            outcome = "ok"
        except ProviderError as error:
            outcome = error.kind
            raise
        finally:
            span.set({"onereel.outcome": str(outcome)})
            ctx.metrics.upstream_call(upstream.name, operation, outcome, ctx.clock.monotonic() - started)
