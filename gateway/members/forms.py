"""What people may say of themselves and others. Unknown fields are refused."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from gateway.keys.forms import Name
from gateway.members.roles import Role


def _address(value: str) -> str:
    name, at, domain = value.partition("@")
    if not (name and at and domain) or "@" in domain or any(each.isspace() for each in value):
        raise ValueError("must be an e-mail address")
    return value.lower()


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=254),
    AfterValidator(_address),
]
"""An address in lower case."""

Password = Annotated[str, StringConstraints(max_length=10_000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SignInForm(_Form):
    """Who somebody says to be."""

    email: Email
    password: Password


class AccountForm(_Form):
    """A new person."""

    name: Name
    email: Email
    password: Password


class NewPasswordForm(_Form):
    """A new password for somebody who lost the old one."""

    password: Password


class PasswordForm(_Form):
    """A new password for somebody who knows the old one."""

    old_password: Password
    password: Password


class InvitationForm(_Form):
    """Whom to invite: that address alone, or whoever has the link."""

    role: Role
    email: Email | None = None


class RoleForm(_Form):
    """Another role for a member."""

    role: Role
