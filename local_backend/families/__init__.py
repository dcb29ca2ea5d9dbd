"""Model families: how the pipelines of each are called. A family is one file here and its name in this table."""

from typing import Final

from local_backend.families import demo, wan

FAMILIES: Final = {family.name: family for family in (demo.FAMILY, wan.FAMILY)}
