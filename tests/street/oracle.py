"""In place of a detector: the boxes of the truth, of what a good one could find."""

from __future__ import annotations

import numpy as np

from graph import Node
from nodes.messages import Detections, Truth


class Oracle(Node):
    """Finds what is at least a third visible and not tiny."""

    def process(self, truth: Truth) -> Detections:
        all_ = truth.detections
        sides = all_.xyxy[:, 2:] - all_.xyxy[:, :2]
        seen = (truth.visible > 0.33) & (sides.max(axis=1) > 0.02 * all_.size_wh[1]) & (sides.min(axis=1) > 2)
        conf = np.full(int(seen.sum()), 0.8, np.float32)
        return Detections(all_.xyxy[seen], conf, all_.class_id[seen], all_.class_names, all_.size_wh, all_.camera)
