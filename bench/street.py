"""How fast the street is drawn, and what a ready-made renderer without a GPU needs for the same triangles.

    uv run python bench/street.py
    uv run --with panda3d python bench/street.py        with the peer

The peer is Panda3D's software renderer, the one well-kept renderer found on the package index that draws without a GPU
and without a system library: it gets the very triangles of one moment with their colours, but no textures, shadows,
truth or lens; its straight picture of 1000 by 1000 pixels would still have to be bent. Interleaved. Goal: 33 ms at 704
by 704 on two cores that are shared with everything else.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report
from nodes.street import Scene, Stage, Studio, rig

REPEATS = 40
FRAME_NS = 1e9 / 30


class Peer:
    """Panda3D with the triangles of one moment."""

    def __init__(self, stage: Stage, t: float, side: int) -> None:
        from panda3d import core

        core.loadPrcFileData("", "load-display p3tinydisplay\nwindow-type offscreen\naudio-library-name null\n")
        moment, pose = stage.at(t), stage.wearer.pose(t)
        data = core.GeomVertexData("street", core.GeomVertexFormat.getV3c4(), core.Geom.UHStatic)
        data.setNumRows(len(moment.points))
        places, colours = core.GeomVertexWriter(data, "vertex"), core.GeomVertexWriter(data, "color")
        for point, colour in zip(moment.points.tolist(), moment.attributes[:, 5:].tolist(), strict=True):
            places.setData3(*point)
            colours.setData4(*colour, 1)
        triangles = core.GeomTriangles(core.Geom.UHStatic)
        for face in moment.triangles.faces.tolist():
            triangles.addVertices(*face)
        geom = core.Geom(data)
        geom.addPrimitive(triangles)
        node = core.GeomNode("street")
        node.addGeom(geom)
        root = core.NodePath("root")
        root.attachNewNode(node)
        self.engine = core.GraphicsEngine.getGlobalPtr()
        pipe = core.GraphicsPipeSelection.getGlobalPtr().makeModulePipe("p3tinydisplay")
        properties = core.WindowProperties.size(side, side)
        self.window = self.engine.makeOutput(
            pipe, "street", 0, core.FrameBufferProperties.getDefault(), properties, core.GraphicsPipe.BFRefuseWindow
        )
        lens = core.PerspectiveLens()
        lens.setFov(100, 100)
        lens.setNearFar(0.05, 200)
        eye = root.attachNewNode(core.Camera("eye", lens))
        eye.setPos(*pose.position.tolist())
        eye.setH(-float(np.degrees(pose.heading)))
        self.window.makeDisplayRegion().setCamera(eye)
        self.picture = core.Texture()
        self.window.addRenderTexture(self.picture, core.GraphicsOutput.RTMCopyRam)

    def draw(self) -> None:
        self.engine.renderFrame()


def main() -> None:
    report.header("The street, one frame", packages=("numpy", "numba", "opencv-python-headless", "panda3d"))
    stage = Stage(Scene.random(1))
    times = iter(np.arange(10_000) / 30 % 55)
    tasks = {}
    for side in (352, 704, 1408):
        studio = Studio(stage, (side, side))
        name = f"street {side}x{side}, picture and truth"
        tasks[name] = lambda s=studio: s.shoot(float(next(times)), with_depth=False)
    alone = Studio(stage, (704, 704), threads=1)
    tasks["street 704x704, one thread"] = lambda: alone.shoot(float(next(times)), with_depth=False)
    slam = Studio(stage, mount=rig.slam(-1))
    tasks["one SLAM camera 640x480"] = lambda: slam.shoot(float(next(times)), with_depth=False)
    tasks["of it: the stage posed"] = lambda: stage.at(float(next(times)))
    if find_spec("panda3d"):
        peer = Peer(stage, 10.0, 1000)
        tasks["Panda3D, software, 1000x1000, no textures"] = peer.draw
    else:
        print("(Panda3D is not installed: uv run --with panda3d python bench/street.py)")
    samples = report.interleaved(tasks, repeats=REPEATS)
    medians = {name: report.row(name, taken) for name, taken in samples.items()}
    ours = medians["street 704x704, picture and truth"]
    report.limit("street 704x704 at 30 frames a second", ours, at_most=FRAME_NS)
    print("frames a second: " + ", ".join(f"{name} {1e9 / ns:.1f}" for name, ns in medians.items() if "truth" in name))


if __name__ == "__main__":
    main()
