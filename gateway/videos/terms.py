"""What an organization's plan says of a request: models, length, resolution, and its place in the queue."""

from collections.abc import Iterable
from decimal import Decimal

from billing.plans import QUEUE_PRIORITY, Plan
from gateway.errors import Forbidden
from gateway.principal import Principal


def check_plan(principal: Principal, models: Iterable[str], *, seconds: Decimal, size: str) -> None:
    """Forbidden (plan_limit) for what the plan does not include; the message says what it does include."""
    plan = principal.plan
    for model in models:
        if not plan.allows_model(model):
            allowed = ", ".join(plan.models or ()) or "no model"
            raise _beyond(plan, f"does not include the model '{model}' but {allowed}", "model")
    if plan.max_seconds is not None and seconds > plan.max_seconds:
        raise _beyond(plan, f"makes videos of up to {plan.max_seconds:f} s", "seconds")
    width, height = (int(edge) for edge in size.split("x"))
    short_edge = min(width, height)
    turned = "portrait" if height > width else "landscape"
    if plan.orientation is not None and width != height and plan.orientation != turned:
        raise _beyond(plan, f"makes {plan.orientation} videos only", "size")
    if plan.max_short_edge is not None and short_edge > plan.max_short_edge:
        raise _beyond(plan, f"makes videos of up to {plan.max_short_edge} pixels on the short edge", "size")


def priority(plan: Plan, tier_priority: int) -> int:
    """Place a job in the queue; lower runs first."""
    return tier_priority + QUEUE_PRIORITY[plan.queue]


def fee_warning(plan: Plan) -> tuple[str, ...]:
    """Tell beforehand what a cancel after the start costs."""
    if not plan.cancel_fee_usd:
        return ()
    return (f"A cancel after the start costs up to {plan.cancel_fee_usd:f} USD.",)


def slow_down(plan: Plan) -> int:
    """What to add to the priority of a video beyond the month's fast ones."""
    return QUEUE_PRIORITY["slow"] - QUEUE_PRIORITY[plan.queue]


def _beyond(plan: Plan, what: str, param: str) -> Forbidden:
    return Forbidden(
        f"The plan '{plan.id}' {what}. Ask for less, or for another plan.", param=param, code="plan_limit"
    )
