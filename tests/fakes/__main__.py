"""Serve the fakes of all providers until killed."""

from providers.testing import serve
from tests.fakes import fakes

serve("tests.fakes", lambda: list({fake.mount: fake for fake in fakes().values()}.values()))
