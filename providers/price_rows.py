"""Rows of a price book: what one unit costs, under which conditions, and where that is known from."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from providers.contract import Operation

Unit = Literal["output_second", "clip", "million_tokens", "input_image", "input_second", "gpu_second"]
Currency = Literal["USD", "CNY", "credit"]
Confidence = Literal["documented", "sdk", "measured", "unverified"]
"""Who says so: the vendor's own pages, its SDK, a run of ours; `unverified` is a third party or memory."""

TIERS: Final = ("flex", "default", "priority")
_OF_THE_OUTPUT: Final = frozenset({"output_second", "clip", "million_tokens", "gpu_second"})
_SOUND: Final = (None, True, False)


class PriceRow(BaseModel):
    """One row. A condition that is None holds for everything.

    `amount` is what one unit costs in `currency`. `up_to_short_edge` (pixels) and `up_to_seconds` are bands: the
    smallest that contains the video applies, above all of them there is no price. Tokens are
    width x height x (fps x seconds + extra_frames) / 1024. `max_gpu_seconds` is the most that one video may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: Unit
    amount: Decimal = Field(ge=0, max_digits=18, decimal_places=12)
    currency: Currency = "USD"
    up_to_short_edge: int | None = Field(default=None, ge=1)
    up_to_seconds: Decimal | None = Field(default=None, gt=0)
    audio: bool | None = None
    operations: frozenset[Operation] | None = Field(default=None, min_length=1)
    service_tiers: frozenset[Literal["flex", "default", "priority"]] | None = Field(
        default=None, min_length=1
    )
    default_fps: int | None = Field(default=None, ge=1, le=240)
    extra_frames: int = Field(default=0, ge=0)
    max_gpu_seconds: Decimal | None = Field(default=None, gt=0)
    source: str = Field(min_length=1, max_length=500)
    as_of: date
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _fits_its_unit(self) -> "PriceRow":
        if (self.unit == "gpu_second") != (self.max_gpu_seconds is not None):
            raise ValueError("max_gpu_seconds belongs to every price per gpu_second, and to no other")
        if self.unit != "million_tokens" and (self.default_fps is not None or self.extra_frames):
            raise ValueError("default_fps and extra_frames belong to prices per million_tokens")
        return self

    def holds_for(self, operation: Operation, audio: bool | None, tier: str) -> bool:
        """Tell whether the row applies, its bands aside."""
        return (
            (self.audio is None or self.audio is audio)
            and (self.operations is None or operation in self.operations)
            and (self.service_tiers is None or tier in self.service_tiers)
        )

    def reaches(self, edge: int | None, seconds: Decimal | None) -> bool:
        """Tell whether its bands contain everything up to `edge` and `seconds`, None being without bound."""
        return _within(edge, self.up_to_short_edge) and _within(seconds, self.up_to_seconds)

    def narrower_than(self, other: "PriceRow") -> bool:
        """Tell whether every condition of the row is at least as narrow as the other's."""
        return (
            other.reaches(self.up_to_short_edge, self.up_to_seconds)
            and (other.audio is None or self.audio is other.audio)
            and _subset(self.operations, other.operations)
            and _subset(self.service_tiers, other.service_tiers)
        )


class AmbiguousPrice(ValueError):
    """Two rows claim the same video and neither is the narrower one."""


Cell = tuple[int | None, Decimal | None, PriceRow]
"""The row that applies up to a short edge and a length; None is without bound."""


def cells(
    rows: Iterable[PriceRow],
    operation: Operation,
    audio: bool | None,
    tier: str,
) -> list[Cell]:
    """Find which row applies where, unit by unit, the smallest bands first. AmbiguousPrice where two do."""
    able = [row for row in rows if row.holds_for(operation, audio, tier)]
    return [cell for unit in dict.fromkeys(row.unit for row in able) for cell in _of_unit(unit, able)]


def check_rows(rows: Sequence[PriceRow], what: str) -> None:
    """ValueError unless the rows make a whole price book: a price of the output, one currency, no ambiguity."""
    if not rows:
        return
    if not any(row.unit in _OF_THE_OUTPUT for row in rows):
        raise ValueError(f"{what}: they name only input units, add the price of the output")
    if len({row.currency for row in rows}) > 1:
        raise ValueError(f"{what}: they must all be in one currency")
    for operation, audio, tier in itertools.product(*_conditions(rows)):
        try:
            cells(rows, operation, audio, tier)
        except AmbiguousPrice as error:
            raise ValueError(f"{what}: {error}") from error


def _conditions(rows: Sequence[PriceRow]) -> tuple[Sequence[Operation], Sequence[bool | None], Sequence[str]]:
    """List what tells rows apart: of a condition that no row names, one value stands for all."""
    return (
        [*Operation] if any(row.operations is not None for row in rows) else [Operation.GENERATE],
        _SOUND if any(row.audio is not None for row in rows) else (None,),
        TIERS if any(row.service_tiers is not None for row in rows) else TIERS[1:2],
    )


def _of_unit(unit: str, able: Sequence[PriceRow]) -> Iterator[Cell]:
    rows = [row for row in able if row.unit == unit]
    edges = sorted({row.up_to_short_edge for row in rows}, key=lambda edge: (edge is None, edge))
    lengths = sorted({row.up_to_seconds for row in rows}, key=lambda length: (length is None, length))
    for edge, length in itertools.product(edges, lengths):
        reaching = [row for row in rows if row.reaches(edge, length)]
        if reaching:
            yield edge, length, _narrowest(reaching)


def _narrowest(rows: Sequence[PriceRow]) -> PriceRow:
    best = [row for row in rows if all(row.narrower_than(other) for other in rows)]
    if len(best) != 1:
        first, second = best[:2] if best else _rivals(rows)
        raise AmbiguousPrice(
            f"two prices per {first.unit} apply to the same video and neither is the narrower one: "
            f"{_described(first)} and {_described(second)}. Add a row for what both cover, or change one"
        )
    return best[0]


def _rivals(rows: Sequence[PriceRow]) -> tuple[PriceRow, PriceRow]:
    pairs = itertools.combinations(rows, 2)
    return next((a, b) for a, b in pairs if not a.narrower_than(b) and not b.narrower_than(a))


def _described(row: PriceRow) -> str:
    conditions = row.model_dump(
        mode="json",
        include={"up_to_short_edge", "up_to_seconds", "audio", "operations", "service_tiers"},
        exclude_none=True,
    )
    text = ", ".join(f"{name} {value}" for name, value in conditions.items()) or "no condition"
    return f"{row.amount:f} {row.currency} ({text})"


def _within(inner: "Decimal | int | None", outer: "Decimal | int | None") -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _subset(inner: "frozenset[str] | None", outer: "frozenset[str] | None") -> bool:
    return outer is None or (inner is not None and inner <= outer)
