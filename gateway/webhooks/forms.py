"""What a client may say of a webhook endpoint. Unknown fields are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints


def _true_or_false(value: Any) -> Any:
    """Take a form's texts too, but no other word for it: a secret's life hangs on this."""
    known = {"true": True, "false": False}
    found = value if isinstance(value, bool) else known.get(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be true or false")
    return found


EventType = Literal["video.completed", "video.failed", "budget.threshold_reached"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=20)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EndpointForm(_Form):
    """A new endpoint."""

    name: Name
    url: Url
    event_types: EventTypes


class EndpointChanges(_Form):
    """Only the fields that are sent change."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class RotateForm(_Form):
    """Whether receivers may verify with the old secret for a day."""

    keep_old_secret_active_for_24_hours: Flag = False


class SendTestForm(_Form):
    """The type of the sample event."""

    event_type: EventType


class NoFields(_Form):
    """An action that takes no fields."""
