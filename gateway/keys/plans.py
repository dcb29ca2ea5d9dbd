"""The plans of this installation, as requests name them."""

from billing.plans import Plan, Plans
from gateway.errors import BadRequest


class KnownPlans(Plans):
    """Plans with a clear refusal of the names that none has."""

    def named(self, plan_id: str) -> Plan:
        """Find a plan. BadRequest that lists them for an unknown name."""
        plan = self.get(plan_id)
        if plan is None:
            names = ", ".join(each.id for each in self.all())
            raise BadRequest(f"No plan '{plan_id}'. There are: {names}.", param="plan")
        return plan
