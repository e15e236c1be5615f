"""A street that is computed: a walk down it as the cameras of the glasses see it, and the truth about each frame."""

from nodes.street.city import CLASS_NAMES
from nodes.street.scene import Scene
from nodes.street.stage import Stage
from nodes.street.studio import Shot, Studio

__all__ = ["CLASS_NAMES", "Scene", "Shot", "Stage", "Studio"]
