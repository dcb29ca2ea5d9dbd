"""A clip as the file that its order asked for."""

from pathlib import Path

from local_backend import encode
from local_backend.clip import Clip
from local_backend.families import FAMILIES
from local_backend.order import Order
from local_backend.steps import Report
from providers.contract import Operation


def write(order: Order, clip: Clip, out: Path, report: Report, codec: str = "libx264") -> None:
    """Write the file; an extension is its source and what was made. Raises Cancelled between frames, MediaError."""
    weights = order.preset.weights
    fit = FAMILIES[weights.family].fit
    if order.operation is Operation.EXTEND and order.source is not None:
        encode.write_joined(
            out, order.source, clip, seconds=order.seconds, tick=report.muxed, fit=fit, codec=codec
        )
        return
    encode.write_clip(
        out,
        clip,
        size=(order.width, order.height),
        rate=weights.file_rate or int(weights.rate),
        seconds=order.seconds,
        tick=report.muxed,
        fit=fit,
        codec=codec,
    )
