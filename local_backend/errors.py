"""What the worker answers when it cannot do as asked, in OpenAI's error envelope."""

from typing import Any


class WorkerError(Exception):
    """An HTTP answer that is not 2xx. `param` names the field, the message says the fix."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def envelope(self) -> dict[str, Any]:
        """The JSON body."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad_value(param: str, message: str, *, code: str = "invalid_value") -> WorkerError:
    """A 400 that names its field."""
    return WorkerError(400, message, code=code, param=param)


class MediaError(Exception):
    """An input file that is not the image or video it should be; the message is fit for the client."""


class Cancelled(Exception):
    """The job was cancelled; raised at a step boundary."""


class OutOfMemory(Exception):
    """The device has not enough memory for the job."""
