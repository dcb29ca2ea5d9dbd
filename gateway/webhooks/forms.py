"""What a client may say of a webhook endpoint. Unknown fields are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.keys.forms import Flag

EventType = Literal["video.completed", "video.failed", "budget.threshold_reached"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
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
