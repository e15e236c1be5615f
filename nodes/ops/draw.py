"""Draws on a picture (h, w, 3) uint8 RGB that the caller owns. Sizes follow the height of the picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Rect = tuple[int, int, int, int]
"""Left, top, width, height."""

# Okabe and Ito's palette, told apart with every kind of colour vision. Vermillion is kept for what is urgent.
PALETTE: tuple[Colour, ...] = (
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (64, 132, 214),
)
COLOURS: Mapping[str, Colour] = {
    "pole": (204, 121, 167),
    "bench": (176, 140, 240),
    "door": (150, 160, 172),
    "steps": (240, 228, 66),
    "branch": (150, 214, 60),
    "kerb": (120, 235, 220),
    "tree": (0, 158, 115),
}
"""What stands in a street, told apart from each other, and from persons, bicycles and cars as the palette has them."""
URGENT: Colour = (238, 92, 20)
INK: Colour = (255, 255, 255)
DARK: Colour = (16, 20, 26)
FONT = cv2.FONT_HERSHEY_DUPLEX
CAPITAL_PX = 22  # height of its capitals at scale 1
HAS_ACCENTS = hasattr(cv2, "FontFace")  # OpenCV 5 brings a font for all of Europe's letters, OpenCV 4 has ASCII only


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A box with a label."""

    xyxy: npt.NDArray[np.float64]
    """(4,) left, top, right, bottom, pixels of the picture."""
    label: str
    colour: Colour
    is_urgent: bool = False


def colour_of(name: str) -> Colour:
    """The colour of a class: the same in every run."""
    return COLOURS.get(name) or PALETTE[sum(name.encode()) % len(PALETTE)]


def boxes(picture: Picture, marks: Sequence[Mark], *, keep_free: Sequence[Rect] = ()) -> None:
    """All boxes, then as many labels as find room beside each other; the first marks come first, the urgent always.

    No label goes where the picture is to be kept free, if it can go elsewhere.
    """
    for mark in reversed(marks):
        _outline(picture, mark)
    taken = list(keep_free)
    for mark in marks:
        size = plate_size(mark.label, letter_px(picture, 55))
        places = [_inside(picture, (*at, *size)) for at in _places(mark, size)]
        free = [place for place in places if not any(_overlap(place, other) for other in taken)]
        if free or mark.is_urgent:
            place = (free or places)[0]
            taken.append(place)
            plate(picture, mark.label, place[:2], px=letter_px(picture, 55), ground=mark.colour, opacity=0.9)


def outlines(picture: Picture, marks: Sequence[Mark]) -> None:
    """The boxes alone, thin and white, for a second picture of the same scene."""
    for mark in marks:
        x1, y1, x2, y2 = _corners(mark)
        cv2.rectangle(picture, (x1, y1), (x2, y2), INK, max(1, picture.shape[0] // 700), cv2.LINE_AA)


def letter_px(picture: Picture, share: int) -> int:
    """Height of capitals that are one `share`-th of the picture, but can still be read."""
    height: int = picture.shape[0]
    return max(8, round(height / share))


def text_width(text: str, px: int) -> int:
    """Width in pixels of text whose capitals are `px` high."""
    scale = px / CAPITAL_PX
    (width, _), _ = cv2.getTextSize(drawable(text), FONT, scale, max(1, round(scale)))
    return int(width)


def plate_size(text: str, px: int) -> tuple[int, int]:
    """Width and height of a plate with `text`, whose capitals are `px` high."""
    return text_width(text, px) + px, 2 * px


def plate(
    picture: Picture, text: str, at: tuple[int, int], *, px: int, ground: Colour = DARK, opacity: float = 0.7
) -> None:
    """Text on a rounded plate whose top left corner is `at`, moved inside the picture where it would leave it."""
    x, y, width, height = _inside(picture, (*at, *plate_size(text, px)))
    ground_plate(picture, (x, y, width, height), ground, opacity)
    ink = DARK if np.dot(ground, (0.299, 0.587, 0.114)) > 120 else INK
    write(picture, text, (x + px // 2, y + px // 2), px=px, ink=ink)


def write(picture: Picture, text: str, at: tuple[int, int], *, px: int, ink: Colour = INK) -> None:
    """Text whose capitals are `px` high, their top left corner at `at`."""
    scale = px / CAPITAL_PX
    thick = max(1, round(scale))
    cv2.putText(picture, drawable(text), (at[0], at[1] + px), FONT, scale, ink, thick, cv2.LINE_AA)


def ground_plate(picture: Picture, rect: Rect, colour: Colour, opacity: float) -> None:
    """A rectangle with round corners, blended over the picture, in which it must lie."""
    x, y, width, height = rect
    part = picture[y : y + height, x : x + width]
    over = part.copy()
    radius = max(1, min(width, height) // 5)
    cv2.rectangle(over, (radius, 0), (width - radius - 1, height), colour, cv2.FILLED)
    cv2.rectangle(over, (0, radius), (width, height - radius - 1), colour, cv2.FILLED)
    for corner_x in (radius, width - radius - 1):
        for corner_y in (radius, height - radius - 1):
            cv2.circle(over, (corner_x, corner_y), radius, colour, cv2.FILLED, cv2.LINE_AA)
    cv2.addWeighted(over, opacity, part, 1 - opacity, 0, dst=part)


def subtitle(picture: Picture, text: str, *, urgent: bool = False) -> None:
    """What is said, in the middle of the lower edge: in one line if it can be, else on as many as it takes."""
    px = letter_px(picture, 30)
    smaller = max(8, round(0.8 * px))
    if plate_size(text, px)[0] > picture.shape[1] - 2 * px >= plate_size(text, smaller)[0]:
        px = smaller
    lines = balanced(text, px, picture.shape[1] - 2 * px)
    top = picture.shape[0] - px - round(2.2 * px) * len(lines)
    for i, line in enumerate(lines):
        at = (picture.shape[1] - plate_size(line, px)[0]) // 2, top + round(2.2 * px) * i
        plate(picture, line, at, px=px, ground=URGENT if urgent else DARK, opacity=0.85)


def balanced(text: str, px: int, width: int) -> list[str]:
    """`text` in as few lines as `wrapped` needs, all about as long as each other."""
    lines = wrapped(text, px, width)
    for narrower in range(width, width // 2, -max(1, width // 40)):
        tried = wrapped(text, px, narrower)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def wrapped(text: str, px: int, width: int) -> list[str]:
    """`text` in lines whose plates are no wider than `width`, where its words allow that."""
    lines: list[str] = []
    for word in text.split():
        if lines and plate_size(f"{lines[-1]} {word}", px)[0] <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def drawable(text: str) -> str:
    """`text` in the letters that the font has: in OpenCV 4 accents fall away."""
    return text if HAS_ACCENTS else ascii_only(text)


def ascii_only(text: str) -> str:
    """`text` without accents and without letters that have no plain form."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


@dataclass(frozen=True, slots=True)
class Fit:
    """How a picture of one size lies in the middle of another: scaled by `scale`, moved by `shift_xy` pixels."""

    size_wh: tuple[int, int]
    scale: float
    shift_xy: tuple[int, int]

    @classmethod
    def between(cls, inner_wh: tuple[int, int], outer_wh: tuple[int, int]) -> Fit:
        """The largest picture of the shape of `inner_wh` within `outer_wh`."""
        scale = min(outer_wh[0] / inner_wh[0], outer_wh[1] / inner_wh[1])
        width, height = max(1, round(inner_wh[0] * scale)), max(1, round(inner_wh[1] * scale))
        return cls((width, height), scale, ((outer_wh[0] - width) // 2, (outer_wh[1] - height) // 2))

    def boxes(self, xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Boxes (n, 4) of the inner picture, in the outer one; what is no number or far outside comes near."""
        moved = np.asarray(xyxy, np.float64).reshape(-1, 4) * self.scale + (*self.shift_xy, *self.shift_xy)
        return np.clip(np.nan_to_num(moved), -10_000, 10_000)

    def picture(self, pixels: npt.NDArray[np.uint8] | cv2.typing.MatLike, outer_wh: tuple[int, int]) -> Picture:
        """The inner picture (h, w, 3), scaled, in the middle of a black one of `outer_wh`: always a copy."""
        if self.scale == 1:
            scaled = np.array(pixels, np.uint8)
        else:
            # Halving and more skips pixels in a linear resize; area means are several times as slow.
            how = cv2.INTER_AREA if self.scale <= 0.5 else cv2.INTER_LINEAR
            scaled = np.asarray(cv2.resize(pixels, self.size_wh, interpolation=how), np.uint8)
        if self.size_wh == outer_wh:
            return scaled
        whole: Picture = np.zeros((outer_wh[1], outer_wh[0], 3), np.uint8)
        (x, y), (height, width) = self.shift_xy, scaled.shape[:2]
        whole[y : y + height, x : x + width] = scaled
        return whole


def _outline(picture: Picture, mark: Mark) -> None:
    """A box on a dark edge, which sets it off from any ground."""
    x1, y1, x2, y2 = _corners(mark)
    thick = max(2, round(picture.shape[0] / 320)) * (2 if mark.is_urgent else 1)
    cv2.rectangle(picture, (x1, y1), (x2, y2), DARK, thick + 2, cv2.LINE_AA)
    cv2.rectangle(picture, (x1, y1), (x2, y2), mark.colour, thick, cv2.LINE_AA)


def _corners(mark: Mark) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(v) for v in mark.xyxy.tolist())
    return x1, y1, x2, y2


def _places(mark: Mark, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Where a label may stand, best first: above, below, inside; each at the left, then at the right edge."""
    x1, y1, x2, y2 = _corners(mark)
    for y in (y1 - size[1] - 2, y2 + 3, y1 + 3):
        yield x1, y
        yield x2 - size[0], y


def _inside(picture: Picture, rect: Rect) -> Rect:
    """`rect` moved inside the picture, as far as it is not larger."""
    x, y, width, height = rect
    x = max(0, min(x, picture.shape[1] - width))
    y = max(0, min(y, picture.shape[0] - height))
    return x, y, width, height


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
