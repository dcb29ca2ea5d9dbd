"""What is set aside for one video: the amounts, and who spends them."""

from dataclasses import dataclass
from typing import NamedTuple


class Spender(NamedTuple):
    """Who spends below the organization."""

    project_id: str
    key_id: str
    user: str | None = None


@dataclass(slots=True)
class Hold:
    """Money to set aside for one subject (a video), at a time in milliseconds; `length_ms` and `spender` are what
    budgets count."""

    subject: str
    organization_id: str
    amount_micros: int
    created_at: int
    length_ms: int = 0
    spender: Spender | None = None
