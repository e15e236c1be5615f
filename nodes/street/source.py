"""The source `street`: what the cameras of the glasses see on a computed walk, and the truth about each frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graph import Captured, Contract, EndOfStream, Node
from graph.errors import nearest
from nodes.messages import DepthMap, Frame, Imu, Truth
from nodes.ops import checks
from nodes.ops.camera import Camera
from nodes.street import rig
from nodes.street.reel import Reel
from nodes.street.scene import Scene, problems, read

if TYPE_CHECKING:
    from nodes.street.stage import Moment
    from nodes.street.studio import Shot, Studio

SCENES = Path(__file__).parent / "scenes"
SIZES_PX = (64, 1408)
SMOOTHING = 0.9


class Streams(NamedTuple):
    """Everything that the glasses capture at one time; None where it is not due, or not wanted."""

    rgb: Captured[Frame]
    truth: Captured[Truth]
    depth: Captured[DepthMap] | None
    slam_left: Captured[Frame] | None
    slam_right: Captured[Frame] | None
    imu: Captured[Imu] | None


class Street(Node):
    """A walk down a procedural street, seen by the cameras of the glasses. The same scene gives the same frames.

    In real time it behaves as a camera: each frame is drawn before it is due, and leaves when it is. What the machine
    cannot draw in time is passed over, which shows as a gap in `seq`.

    Args:
        scene: A YAML file, the name of a scene that comes with the software (demo, ...), the entries of one, or null:
            drawn by lot from `seed`.
        seed, night, rain, crowd, duration_s: Take the place of the scene's own; null: as it says.
        size_px: Width and height of the RGB frames; the sensor's own is 1408.
        fps: RGB frames a second.
        slam_fps: Frames a second of the two SLAM cameras, 640 by 480, gray; null: they are off.
        imu_hz: Samples a second of the inertial unit; null: off.
        true_depth: Whether the depth of each RGB frame is given, at half its size.
        realtime: Whether frames come at their rate; else as fast as they are asked for, with the scene's own times.
        prerender: Whether all frames are drawn before the first leaves, and kept for the next time. For sizes that the
            machine cannot draw as fast as they are shown.
        threads: How many threads draw.
    """

    def __init__(
        self,
        scene: str | Mapping[str, Any] | None = None,
        *,
        seed: int | None = None,
        night: float | None = None,
        rain: float | None = None,
        crowd: float | None = None,
        duration_s: float | None = None,
        size_px: int = 704,
        fps: float = 30.0,
        slam_fps: float | None = None,
        imu_hz: float | None = None,
        true_depth: bool = False,
        realtime: bool = True,
        prerender: bool = False,
        threads: int = 2,
    ) -> None:
        self.plain = scene
        self.changes = {"seed": seed, "night": night, "rain": rain, "crowd": crowd, "duration_s": duration_s}
        self.size_px, self.fps, self.slam_fps, self.imu_hz = size_px, fps, slam_fps, imu_hz
        self.true_depth, self.realtime, self.prerender, self.threads = true_depth, realtime, prerender, threads
        self.number, self.start_ns, self.drawing_s = 0, 0, 0.0
        self.drawn = 0
        self.slam: tuple[Studio, Studio] | None = None
        self.side_lenses: Sequence[Camera] = ()
        self.reel: Reel | None = None
        self.words = ""
        self.woken = Event()

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        try:
            plain = _plain(params.get("scene"), params)
            yield from (f"scene: {problem}" for problem in problems(plain))
        except ValueError as e:
            yield f"scene: {e}"
        size = params.get("size_px", 704)
        if type(size) is not int or not SIZES_PX[0] <= size <= SIZES_PX[1]:
            yield f"size_px: is {size!r}; expected a whole number from {SIZES_PX[0]} to {SIZES_PX[1]}"
        yield from checks.number_problems({"fps": 30, **params}, "fps", low=0.1, high=240)
        for key, high in (("slam_fps", 240.0), ("imu_hz", 2000.0)):
            if params.get(key) is not None:
                yield from checks.number_problems(params, key, low=0.1, high=high)
        yield from checks.count_problems({"threads": 2, **params}, "threads")

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """RGB frames of `size_px`, gray ones of 640 by 480."""
        side = params.get("size_px", 704)
        frame = {"dtype": "uint8", "upright": True}
        gray = {**frame, "channels": 1, "colour": "gray", "size_wh": (640, 480)}
        rgb = {**frame, "channels": 3, "colour": "rgb", "size_wh": (side, side)}
        return {"rgb": rgb, "slam_left": gray, "slam_right": gray}

    def setup(self) -> None:
        """Build the scene, and draw all of it where that is wanted; `interrupt` ends that early."""
        try:
            self._build()
        except EndOfStream:
            self.words = ""

    def _build(self) -> None:
        from nodes.street.stage import Stage  # with what compiles the loops over pixels: no plan needs to wait for it
        from nodes.street.studio import Studio

        self.scene = Scene.parse(_plain(self.plain, self.changes))
        self._go_on()
        self.stage = Stage(self.scene, go_on=self._go_on)
        self.studio = Studio(self.stage, (self.size_px, self.size_px), threads=self.threads)
        if self.slam_fps is not None:
            left, right = (Studio(self.stage, mount=rig.slam(side), threads=self.threads) for side in (-1, 1))
            self.slam = (left, right)
            self.side_lenses = [studio.mount.mounted for studio in self.slam]
        self.frames = int(self.scene.duration_s * self.fps)
        if self.prerender:
            self.reel = Reel.of(self.scene, self.size_px, self.fps)
            self.reel.fill(self.frames, lambda i: self.studio.shoot(i / self.fps), self._told, self.woken)
        else:
            self.studio.shoot(0.0)  # the loops over pixels are compiled now, and not when the first frame is due
        self.words = ""

    def _go_on(self) -> None:
        if self.woken.is_set():
            raise EndOfStream

    def _told(self, done: int, total: int) -> None:
        self.words = f"drawing {done} of {total} frames"

    def process(self) -> Streams:
        """What is captured next; EndOfStream at the end of the scene, or after `interrupt`."""
        if self.realtime:
            self._pass_over()
        if self.woken.is_set() or self.number >= self.frames:
            raise EndOfStream
        number, self.number = self.number, self.number + 1
        t = number / self.fps
        begun = monotonic()
        moment = None
        if self.reel is not None:
            shot = self.reel.shot(number, self.studio.camera)
        else:
            moment = self.stage.at(t)
            out = self.loan((self.studio.height, self.studio.width, 3), output="rgb")
            shot = self.studio.shoot(t, moment, with_depth=self.true_depth, out=out)
        slam = self._slam(number, t, moment)
        took = monotonic() - begun
        self.drawing_s = took if not self.drawn else SMOOTHING * self.drawing_s + (1 - SMOOTHING) * took
        self.drawn += 1
        captured_ns = self.start_ns + int(number * 1e9 / self.fps)
        streams = self._streams(shot, slam, t, captured_ns=captured_ns, number=number)
        if self.realtime and self.woken.wait(max(0, captured_ns - monotonic_ns()) / 1e9):
            raise EndOfStream
        return streams

    def _pass_over(self) -> None:
        """Leave out the frames that can no longer be drawn before they are due."""
        now_ns = monotonic_ns()
        if not self.start_ns:
            self.start_ns = now_ns + int(0.05e9)
        ready_s = (now_ns - self.start_ns) / 1e9 + self.drawing_s
        # A frame that is a little late is better than none.
        first = int(np.ceil((ready_s - 0.25 / self.fps) * self.fps))
        self.number = max(self.number, first)

    def _slam(self, number: int, t: float, moment: Moment | None) -> tuple[Shot, Shot] | None:
        """Both side cameras, where they are due with this frame."""
        if self.slam is None or self.slam_fps is None:
            return None
        share = self.slam_fps / self.fps
        if number and int(number * share) == int((number - 1) * share):
            return None
        moment = self.stage.at(t) if moment is None else moment
        left, right = (
            studio.shoot(t, moment, with_depth=False, out=self.loan((studio.height, studio.width), output=name))
            for studio, name in zip(self.slam, ("slam_left", "slam_right"), strict=True)
        )
        return left, right

    def _streams(
        self, shot: Shot, slam: tuple[Shot, Shot] | None, t: float, *, captured_ns: int, number: int
    ) -> Streams:
        rgb = Frame(shot.pixels, camera=self.studio.camera)
        depth = left = right = imu = None
        if self.true_depth:
            metres = np.ascontiguousarray(shot.depth[::2, ::2])
            metres[np.isinf(metres)] = np.nan
            depth = Captured(DepthMap(metres, "metres", rgb.size_wh), captured_ns, number)
        if slam is not None and self.slam is not None:
            sides = (Frame(s.pixels, camera=lens) for s, lens in zip(slam, self.side_lenses, strict=True))
            left, right = (Captured(frame, captured_ns) for frame in sides)
        if self.imu_hz is not None:
            imu = Captured(self._imu(t, captured_ns), captured_ns)
        return Streams(
            Captured(rgb, captured_ns, number), Captured(shot.truth, captured_ns, number), depth, left, right, imu
        )

    def _imu(self, t: float, captured_ns: int) -> Imu:
        """The samples since the frame before."""
        assert self.imu_hz is not None
        # A hair more, so that a sample at the very time of a frame belongs to it, whatever the last digit says.
        first, last = (int(np.floor(s * self.imu_hz + 1e-6)) for s in (t - 1 / self.fps, t))
        first += 1
        times = np.arange(max(first, 0), last + 1) / self.imu_hz
        wearer = self.stage.wearer
        accel = np.array([wearer.felt(s) for s in times], np.float32).reshape(-1, 3)
        gyro = np.array([wearer.turning(s) for s in times], np.float32).reshape(-1, 3)
        return Imu(captured_ns + np.round((times - t) * 1e9).astype(np.int64), accel, gyro)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """What is shown, and how long a frame takes to draw."""
        facts = {
            "name": f"street, seed {self.scene.seed}",
            "size": f"{self.size_px}x{self.size_px}",
            "fps": f"{self.fps:g}",
        }
        return {"source": facts}

    def status(self) -> str:
        """How far drawing is, before it begins."""
        return self.words

    def interrupt(self) -> None:
        """See `Node.interrupt`."""
        self.woken.set()

    def close(self) -> None:
        """End the threads that draw."""
        for studio in (*(self.slam or ()), getattr(self, "studio", None)):
            if studio is not None:
                studio.close()


def _plain(scene: str | Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a scene; ValueError where there is none of that name."""
    if scene is None:
        plain: dict[str, Any] = {"crowd": 0.5, "clouds": None}
    elif isinstance(scene, Mapping):
        plain = dict(scene)
    elif isinstance(scene, str):
        plain = read(_file(scene))
    else:
        raise ValueError(f"is {scene!r}; expected a YAML file, the name of a scene, or its entries")
    wanted = {k: changes.get(k) for k in ("seed", "night", "rain", "crowd", "duration_s")}
    return plain | {k: v for k, v in wanted.items() if v is not None}


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.suffix in ("", name) and (SCENES / f"{name}.yaml").is_file():
        return SCENES / f"{name}.yaml"
    known = sorted(p.stem for p in SCENES.glob("*.yaml"))
    raise ValueError(f"there is no file {name!r}, and no scene of that name{nearest(name, known)}")
