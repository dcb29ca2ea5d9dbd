"""`onereel recover`: a link for a new password, for whoever has this machine."""

from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.lock import running_server
from gateway.members.recovery import recovery_token
from gateway.settings import Settings


def recovery_link(settings: Settings, email: str) -> str:
    """Make the link, on the running server's address where there is one."""
    server = running_server(settings.data_dir)
    place = settings.public_url or (server.url if server and server.url else settings.reached_at)
    token = recovery_token(open_secret_box(settings), email, Clock().now_ms())
    return f"{place.rstrip('/')}/invitations/{token}"
