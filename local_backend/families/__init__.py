"""Model families: how the pipelines of each are called. A family is one file here and its name in this table."""

from typing import Final

from local_backend.families import demo, wan
from local_backend.families.family import Family
from local_backend.order import Order

FAMILIES: Final = {family.name: family for family in (demo.FAMILY, wan.FAMILY)}


def warnings_of(order: Order) -> tuple[str, ...]:
    """What the client should know of its prompt before it looks at the video."""
    family: Family = FAMILIES[order.preset.weights.family]
    return family.warnings(order.prompt) if family.warnings is not None else ()
