"""A street that is computed: a walk down it as the cameras of the glasses see it, and the truth about each frame.

In the order of the data: `scene` says who is where and when, `mesh`, `textures`, `surfaces`, `people`, `things` and
`city` are what the street is made of, `walk` moves it, `light` lights it, `stage` sets it up for a moment, `rig` has
the cameras, `raster` and `shade` draw, `studio` makes a picture with its truth, `reel` keeps pictures, `source` is the
node.
"""

from typing import TYPE_CHECKING, Any

from nodes.street.city import CLASS_NAMES
from nodes.street.scene import Scene
from nodes.street.source import Streams, Street

if TYPE_CHECKING:
    from nodes.street.stage import Stage
    from nodes.street.studio import Shot, Studio

__all__ = ["CLASS_NAMES", "Scene", "Shot", "Stage", "Streams", "Street", "Studio"]


def __getattr__(name: str) -> Any:
    """What draws is imported when it is used first: it brings a compiler along, which no plan needs."""
    if name == "Stage":
        from nodes.street.stage import Stage

        return Stage
    if name in ("Shot", "Studio"):
        from nodes.street import studio

        return getattr(studio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
