"""How a request proves who sends it: headers made from an account's credential."""

from providers.contract import Account


def auth_headers(account: Account) -> dict[str, str]:
    """The credential as headers: `options["auth"]` is "bearer" (default), "none" or {"header", "prefix"}."""
    scheme = account.options.get("auth", "bearer")
    if not account.credential or scheme == "none":
        return {}
    if scheme == "bearer":
        return {"Authorization": f"Bearer {account.credential}"}
    if isinstance(scheme, dict) and isinstance(scheme.get("header"), str):
        return {scheme["header"]: f"{scheme.get('prefix', '')}{account.credential}"}
    raise ValueError(
        f'upstream \'{account.name}\': options.auth must be "bearer", "none" or a table with header and prefix',
    )
