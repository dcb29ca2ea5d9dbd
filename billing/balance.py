"""The running balance of an organization: one row, locked by whoever moves money."""

from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.entries import LedgerConflict
from billing.tables import balances

Mode = Literal["off", "prepaid", "postpaid"]

_LOCKED: Final = (
    select(balances).where(balances.c.organization_id == bindparam("organization")).with_for_update()
)
_MOVE: Final = (
    update(balances)
    .where(balances.c.organization_id == bindparam("organization"))
    .values(
        available=balances.c.available + bindparam("to_available", type_=BigInteger),
        promotional=balances.c.promotional + bindparam("to_promotional", type_=BigInteger),
        held=balances.c.held + bindparam("to_held", type_=BigInteger),
        receivable=balances.c.receivable + bindparam("to_receivable", type_=BigInteger),
    )
)


def open_balance(conn: Connection, organization_id: str, mode: Mode, credit_limit: int = 0) -> None:
    """Make the organization's balance row; an existing one keeps its amounts and mode."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    nothing = {"available": 0, "promotional": 0, "held": 0, "receivable": 0}
    conn.execute(
        make(balances)
        .values(organization_id=organization_id, mode=mode, credit_limit=credit_limit, **nothing)
        .on_conflict_do_nothing()
    )


def locked_balance(conn: Connection, organization_id: str) -> Any:
    """Read the row and hold it until commit: everything about an organization's money goes one after another."""
    row = conn.execute(_LOCKED, {"organization": organization_id}).one_or_none()
    if row is None:
        raise LedgerConflict(f"organization {organization_id} has no balance")
    return row


def move(
    conn: Connection,
    organization_id: str,
    *,
    available: int = 0,
    promotional: int = 0,
    held: int = 0,
    receivable: int = 0,
) -> None:
    """Add to the amounts. An IntegrityError where the database's own checks refuse it."""
    if available or promotional or held or receivable:
        conn.execute(
            _MOVE,
            {
                "organization": organization_id,
                "to_available": available,
                "to_promotional": promotional,
                "to_held": held,
                "to_receivable": receivable,
            },
        )
