"""The organizations' customers at Stripe: one each, with card, subscription and automatic recharge."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from billing.stripe_tables import customers, recharges
from billing.tables import balances

ENDED: Final = ("canceled", "incomplete_expired")
"""Of a subscription: it bills nothing more."""

MAX_FAILURES: Final = 5
_HOUR_MS: Final = 3_600_000
_BACKOFF_MS: Final = (_HOUR_MS, 6 * _HOUR_MS, 24 * _HOUR_MS, 48 * _HOUR_MS)


def find(conn: Connection, organization_id: str) -> Any | None:
    """Read what is known of the organization's customer."""
    query = select(customers).where(customers.c.organization_id == organization_id)
    return conn.execute(query).one_or_none()


def lock(conn: Connection, organization_id: str) -> Any | None:
    """Lock the organization's row. Whoever changes money of an organization takes this lock first, if any."""
    query = select(customers).where(customers.c.organization_id == organization_id)
    return conn.execute(query.with_for_update()).one_or_none()


def organization_of(conn: Connection, customer_id: str | None) -> str | None:
    """Find whose customer it is; None for one that is not ours."""
    if not customer_id:
        return None
    return conn.scalar(select(customers.c.organization_id).where(customers.c.customer_id == customer_id))


def reserve(conn: Connection, organization_id: str, creation_key: str, now: int) -> Any:
    """Make the organization's row before its customer: whoever is first decides the key of the creation."""
    make = sqlite_insert if conn.dialect.name == "sqlite" else postgres_insert
    row = {
        "organization_id": organization_id,
        "creation_key": creation_key,
        "subscription_event_at": 0,
        "recharge_enabled": False,
        "recharge_threshold": 0,
        "recharge_amount": 0,
        "recharge_due": 0,
        "recharge_failures": 0,
        "created_at": now,
    }
    conn.execute(make(customers).values(row).on_conflict_do_nothing())
    return find(conn, organization_id)


def renew_creation_key(conn: Connection, organization_id: str, old: str, new: str) -> None:
    """Take another key after Stripe failed under the old one: it would only repeat that failure."""
    conn.execute(
        update(customers)
        .where(customers.c.organization_id == organization_id, customers.c.creation_key == old)
        .values(creation_key=new)
    )


def set_customer(conn: Connection, organization_id: str, customer_id: str) -> str:
    """Keep the customer that was made; answers the one that counts."""
    mine = customers.c.organization_id == organization_id
    conn.execute(
        update(customers).where(mine, customers.c.customer_id.is_(None)).values(customer_id=customer_id)
    )
    return str(conn.execute(select(customers.c.customer_id).where(mine)).scalar_one())


def set_card(conn: Connection, organization_id: str, payment_method_id: str) -> None:
    """Keep the card that the customer agreed to be charged with later."""
    conn.execute(
        update(customers)
        .where(customers.c.organization_id == organization_id)
        .values(payment_method_id=payment_method_id)
    )


def forget_card(conn: Connection, payment_method_id: str) -> None:
    """Drop a card that was removed; without one nothing is recharged."""
    conn.execute(
        update(customers)
        .where(customers.c.payment_method_id == payment_method_id)
        .values(payment_method_id=None, recharge_enabled=False, recharge_error="the saved card was removed")
    )


def set_subscription(
    conn: Connection, organization_id: str, subscription_id: str, status: str, since: int
) -> None:
    """Keep a subscription that began; usage is reported from `since` on."""
    conn.execute(
        update(customers)
        .where(customers.c.organization_id == organization_id)
        .values(
            subscription_id=subscription_id,
            subscription_status=status,
            subscription_event_at=0,
            metered_since=since,
        )
    )


def set_recharge(conn: Connection, organization_id: str, **values: Any) -> None:
    """Change automatic recharge; what failed before is forgotten."""
    conn.execute(
        update(customers)
        .where(customers.c.organization_id == organization_id)
        .values(**values, recharge_due=0, recharge_failures=0, recharge_error=None)
    )


@dataclass(frozen=True, slots=True)
class Recharge:
    """One automatic payment under way, under the `fence` of who carries it out."""

    id: str
    organization_id: str
    customer_id: str
    payment_method_id: str
    amount_micros: int
    tries: int
    answers: int
    fence: int
    created_at: int

    @property
    def key(self) -> str:
        """The idempotency key: the same until Stripe has answered no to it."""
        return f"{self.id}.{self.answers}"


def recharges_wait(conn: Connection, now: int) -> bool:
    """Say whether there is a recharge to begin or to carry on: cheap, and outside the writer."""
    due = select(recharges.c.id).where(recharges.c.due <= now, recharges.c.lease_until <= now).limit(1)
    return conn.execute(due).first() is not None or conn.execute(_below(now).limit(1)).first() is not None


def _below(now: int) -> Select[Any]:
    return (
        select(customers)
        .join(balances, balances.c.organization_id == customers.c.organization_id)
        .where(
            customers.c.recharge_enabled,
            customers.c.recharge_id.is_(None),
            customers.c.recharge_due <= now,
            customers.c.payment_method_id.is_not(None),
            balances.c.mode == "prepaid",
            balances.c.suspended.is_(None),
            balances.c.available + balances.c.promotional < customers.c.recharge_threshold,
        )
    )


def open_recharge(conn: Connection, new_id: str, now: int) -> str | None:
    """Begin the recharge of one organization whose credit is below its threshold; None if there is none.

    The row is written before anything is sent, and an organization has one open at a time.
    """
    wanted = _below(now).order_by(customers.c.recharge_due).limit(1)
    row = conn.execute(wanted.with_for_update(of=customers, skip_locked=True)).one_or_none()
    if row is None:
        return None
    taken = conn.execute(
        update(customers)
        .where(customers.c.organization_id == row.organization_id, customers.c.recharge_id.is_(None))
        .values(recharge_id=new_id)
    )
    if taken.rowcount != 1:
        return None
    conn.execute(
        insert(recharges).values(
            id=new_id,
            organization_id=row.organization_id,
            customer_id=row.customer_id,
            payment_method_id=row.payment_method_id,
            amount=row.recharge_amount,
            state="open",
            due=now,
            created_at=now,
        )
    )
    return new_id


def claim_recharge(conn: Connection, now: int, lease_ms: int) -> Recharge | None:
    """Lease an open recharge that is due."""
    query = select(recharges.c.id).where(recharges.c.due <= now, recharges.c.lease_until <= now)
    chosen = conn.scalar(query.order_by(recharges.c.due).limit(1).with_for_update(skip_locked=True))
    if chosen is None:
        return None
    row = conn.execute(
        update(recharges)
        .where(recharges.c.id == chosen)
        .values(fence=recharges.c.fence + 1, lease_until=now + lease_ms)
        .returning(*recharges.c)
    ).one()
    return Recharge(
        row.id,
        row.organization_id,
        row.customer_id,
        row.payment_method_id,
        row.amount,
        row.tries,
        row.answers,
        row.fence,
        row.created_at,
    )


def postpone_recharge(conn: Connection, item: Recharge, error: str, due: int, *, answered: bool) -> None:
    """Try the same recharge again later: nobody knows yet whether the card was charged."""
    conn.execute(
        update(recharges)
        .where(recharges.c.id == item.id, recharges.c.fence == item.fence, recharges.c.due.is_not(None))
        .values(
            error=error[:500],
            due=due,
            lease_until=0,
            tries=recharges.c.tries + 1,
            answers=recharges.c.answers + int(answered),
        )
    )


def close_recharge(
    conn: Connection, recharge_id: str, now: int, *, payment_intent_id: str | None, error: str | None = None
) -> bool:
    """End a recharge, once. A failure waits longer each time; after MAX_FAILURES the recharge is switched off."""
    organization_id = conn.scalar(select(recharges.c.organization_id).where(recharges.c.id == recharge_id))
    row = None if organization_id is None else lock(conn, organization_id)
    ended = conn.execute(
        update(recharges)
        .where(recharges.c.id == recharge_id, recharges.c.state == "open")
        .values(
            state="failed" if error else "succeeded",
            payment_intent_id=payment_intent_id,
            error=error[:500] if error else None,
            due=None,
            lease_until=0,
            finished_at=now,
        )
    )
    if ended.rowcount != 1:
        return False
    if row is None or row.recharge_id != recharge_id:
        return True
    values: dict[str, Any] = {"recharge_id": None, "recharge_error": None, "recharge_failures": 0}
    if error:
        failures = row.recharge_failures + 1
        wait = _BACKOFF_MS[min(failures, len(_BACKOFF_MS)) - 1]
        values |= {
            "recharge_error": error[:500],
            "recharge_failures": failures,
            "recharge_due": now + wait,
            "recharge_enabled": row.recharge_enabled and failures < MAX_FAILURES,
        }
    conn.execute(update(customers).where(customers.c.organization_id == row.organization_id).values(**values))
    return True


def key_of(*parts: str) -> str:
    """An idempotency key that follows from durable facts."""
    return f"onereel-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:48]}"
