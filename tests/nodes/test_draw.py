"""Drawing: what is drawn is where it should be, and nothing is drawn outside or upon something else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops import draw
from nodes.ops.draw_depth import depth_picture, limits

coordinate = st.floats(-2000, 2000)


def blank(size_wh: tuple[int, int] = (320, 240)) -> draw.Picture:
    return np.full((size_wh[1], size_wh[0], 3), 60, np.uint8)


def mark(x1: float, y1: float, x2: float, y2: float, *, urgent: bool = False) -> draw.Mark:
    return draw.Mark(np.array([x1, y1, x2, y2], np.float64), "person 2.1 m", draw.URGENT, is_urgent=urgent)


def test_a_box_has_its_colour_on_its_edge_and_nothing_inside():
    picture = blank()
    draw.boxes(picture, [mark(100, 60, 180, 200)])
    assert np.abs(picture[150, 100].astype(int) - draw.URGENT).max() < 30
    assert (picture[90:190, 110:170] == 60).all()


def test_labels_do_not_cover_each_other_but_the_urgent_ones_are_always_there():
    many, urgent = blank(), blank()
    draw.boxes(many, [mark(100, 100, 140, 160)] * 20)
    draw.boxes(urgent, [mark(100, 100, 140, 160)] * 3 + [mark(0, 0, 300, 200, urgent=True)])
    assert (many[:70] == 60).all()
    assert (urgent[:20] != 60).any()


def test_labels_leave_free_what_is_to_be_kept_free():
    picture = blank()
    draw.boxes(picture, [mark(0, 20, 60, 200)], keep_free=[(0, 0, 200, 20)])
    assert (picture[:16] == 60).all()
    assert (picture[203:220, :60] != 60).any()


@given(coordinate, coordinate, coordinate, coordinate)
def test_any_box_can_be_drawn(x1, y1, x2, y2):
    picture = blank()
    draw.boxes(picture, [mark(x1, y1, x2, y2, urgent=True)])
    assert picture.shape == blank().shape


@pytest.mark.parametrize("size_wh", [(2, 2), (9, 300), (300, 9), (64, 48)])
def test_any_picture_can_be_drawn_on(size_wh):
    picture = blank(size_wh)
    draw.boxes(picture, [mark(0, 0, *size_wh, urgent=True)])
    draw.subtitle(picture, "something much longer than the picture is wide")
    assert (picture != 60).any()
    assert depth_picture(np.ones((4, 4), np.float32), size_wh, metres=True).shape == picture.shape


def test_long_words_are_broken_into_lines_that_fit():
    lines = draw.wrapped("persona, a dos metros, un poco a la izquierda", 10, 200)
    assert len(lines) > 1
    assert " ".join(lines) == "persona, a dos metros, un poco a la izquierda"
    assert all(draw.plate_size(line, 10)[0] <= 200 for line in lines)


def test_lines_are_about_as_long_as_each_other():
    text = "three people, nearest one and a half metres, left"
    width = draw.plate_size(text, 10)[0] - 5
    assert draw.wrapped(text, 10, width)[-1] == "left"
    lines = draw.balanced(text, 10, width)
    assert (len(lines), " ".join(lines)) == (2, text)
    assert len(lines[1]) > 15


def test_a_font_without_accents_shows_the_plain_letters():
    assert draw.ascii_only("persona, a dos metros, está aquí ñ") == "persona, a dos metros, esta aqui n"


def test_letters_are_a_part_of_the_height_but_never_too_small():
    assert draw.letter_px(blank((1920, 1080)), 30) == 36
    assert draw.letter_px(blank((64, 48)), 30) == 8


def test_classes_keep_their_colours_which_are_never_that_of_urgency():
    assert draw.colour_of("person") == (86, 180, 233)
    assert len({draw.colour_of(name) for name in ("person", "bicycle", "car", "bus", "truck", "dog")}) == 6
    street = ("person", "bicycle", "car", "pole", "bench", "door", "steps", "branch", "kerb", "tree")
    assert len({draw.colour_of(name) for name in street}) == 10
    assert draw.URGENT not in (*draw.PALETTE, *draw.COLOURS.values())


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 700), st.integers(1, 700))
def test_a_fitted_picture_lies_inside_and_its_corners_go_with_it(iw, ih, ow, oh):
    fit = draw.Fit.between((iw, ih), (ow, oh))
    x, y = fit.shift_xy
    assert x >= 0
    assert y >= 0
    assert x + fit.size_wh[0] <= ow
    assert y + fit.size_wh[1] <= oh
    assert fit.boxes([(0, 0, iw, ih)])[0] == pytest.approx([x, y, x + fit.size_wh[0], y + fit.size_wh[1]], abs=1)


def test_near_is_bright_far_is_dark_and_unknown_is_black():
    values = np.linspace(1, 9, 48 * 64, dtype=np.float32).reshape(48, 64)
    values[-1], values[-2] = 0, np.nan
    picture = depth_picture(values, (640, 480), metres=True)
    assert picture[100].mean() > picture[440].mean() > 20
    assert (picture[465:] == 0).all()


def test_relative_depth_is_bright_where_it_is_larger():
    values = np.linspace(1, 9, 48 * 64, dtype=np.float32).reshape(48, 64)
    picture = depth_picture(values, (640, 480), metres=False)
    assert picture[470].mean() > picture[100].mean()


def test_a_map_without_any_known_depth_is_black():
    picture = depth_picture(np.zeros((4, 4), np.float32), (640, 480), metres=True)
    assert (picture[100:] == 0).all()


@pytest.mark.parametrize(
    ("values", "shown"),
    [((1.2, 4.1), (1.0, 5.0)), ((0.01, 0.02), (0.1, 0.2)), ((500, 900), (70.0, 100.0)), ((2, 2), (2.0, 3.0))],
)
def test_colours_span_round_distances(values, shown):
    assert limits(np.array(values, np.float32), metres=True) == shown
