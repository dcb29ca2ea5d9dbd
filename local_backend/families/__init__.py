"""Model families: how the pipelines of each are called. A family is one file here and its name in this table."""

from typing import Final

from local_backend.families import (
    cogvideox,
    demo,
    hunyuan_video,
    kandinsky,
    ltx,
    ltx2,
    mochi,
    sana_video,
    skyreels,
    wan,
    wan_vace,
)

FAMILIES: Final = {
    module.FAMILY.name: module.FAMILY
    for module in (
        cogvideox,
        demo,
        hunyuan_video,
        kandinsky,
        ltx,
        ltx2,
        mochi,
        sana_video,
        skyreels,
        wan,
        wan_vace,
    )
}
