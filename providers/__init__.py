"""Upstream providers: the contract, the door to the network, and one adapter per provider."""

import sys
from typing import Any, cast

# httpx imports its command line (click, rich, pygments: 6 MB) unless that import fails.
sys.modules.setdefault("httpx._main", cast("Any", None))
