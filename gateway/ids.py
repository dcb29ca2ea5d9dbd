"""Public ids: a typed prefix and a uuid7, so ids sort by creation time."""

from typing import Literal

import uuid_utils

Prefix = Literal[
    "video",
    "file",
    "char",
    "key",
    "evt",
    "att",
    "org",
    "proj",
    "we",
    "grp",
    "req",
    "led",
    "act",
    "whd",
    "rch",
    "bud",
    "audit",
    "user",
    "inv",
    "sess",
    "share",
]


def new_id(prefix: Prefix) -> str:
    """`prefix_` + 32 hex digits, rising within the process."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
