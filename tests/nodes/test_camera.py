import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops.camera import Pinhole, bearing_deg
from nodes.ops.fisheye import Fisheye624, KannalaBrandt
from nodes.ops.turned import Resized, Turned, turn_pixels

# Made up, of the size of those of Aria's RGB camera. What it projects was computed with projectaria_tools 2.3.0.
ARIA = Fisheye624(
    (1408, 1408),
    f=600,
    cx=700,
    cy=690,
    k=(0.4, -0.5, 0.2, 1.1, -1.5, 0.5),
    p=(0.0004, -0.0003),
    s=(0.0006, -0.0004, -0.0012, 0.0003),
)
POINTS = np.array([[0, 0, 1], [0.3, -0.2, 1], [-0.7, 0.5, 1.1], [0.9, 0.9, 1.2], [-1.2, -0.1, 1]])
PIXELS = np.array(
    [
        [700.0, 690.0],
        [880.0242397059958, 569.9192598858316],
        [338.74836928727285, 947.7806237059912],
        [1103.7514012655117, 1092.7387473241536],
        [77.44749643522982, 637.3242669546873],
    ]
)
OPENCV = KannalaBrandt((640, 480), fx=240, fy=241, cx=320, cy=238, k=(-0.02, 0.09, -0.06, 0.01))
PINHOLE = Pinhole((640, 480), 500, 510, 320, 240)
CAMERAS = [
    PINHOLE,
    OPENCV,
    ARIA,
    Turned(ARIA, 90),
    Turned(PINHOLE, 180),
    Turned(OPENCV, 270),
    Resized(Turned(ARIA, 90), (640, 640)),
]


def test_fisheye624_projects_as_projectaria_tools():
    np.testing.assert_allclose(ARIA.project(POINTS), PIXELS, atol=1e-9)


def test_fisheye624_unprojects_as_projectaria_tools():
    rays = [
        [0.0, 0.0, 1.0],
        [-0.7499265507153111, -0.06155055410239999, 0.6586514236088187],
        [0.3985652105570408, 0.5459995075310565, 0.7369059035653504],
    ]
    np.testing.assert_allclose(ARIA.unproject([(700, 690), (100, 640), (1000, 1100)]), rays, atol=1e-7)


def test_a_turned_fisheye624_projects_as_projectaria_tools_turned_by_90_degrees_clockwise():
    turned = Turned(ARIA, 90)
    points = np.column_stack([-POINTS[:, 1], POINTS[:, 0], POINTS[:, 2]])
    pixels = [[717.0, 700.0], [837.0807401141684, 880.0242397059958], [459.21937629400884, 338.74836928726865]]
    np.testing.assert_allclose(turned.project(points)[:3], pixels, atol=1e-6)


def test_kannala_brandt_projects_as_opencv():
    matrix = np.array([[OPENCV.fx, 0, OPENCV.cx], [0, OPENCV.fy, OPENCV.cy], [0, 0, 1]], float)
    expected, _ = cv2.fisheye.projectPoints(POINTS[None], np.zeros(3), np.zeros(3), matrix, np.array(OPENCV.k))
    np.testing.assert_allclose(OPENCV.project(POINTS), expected.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("camera", CAMERAS, ids=repr)
@given(where=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)))
def test_the_ray_through_a_pixel_comes_back_to_it(camera, where):
    xy = np.array(where) * camera.size_wh
    ray = camera.unproject(xy)
    assert np.linalg.norm(ray) == pytest.approx(1)
    np.testing.assert_allclose(camera.project(ray * 3.5), [xy], atol=1e-5)


def test_outside_of_the_valid_circle_the_lens_sees_nothing():
    camera = Fisheye624((1408, 1408), 600, 700, 690, ARIA.k, valid_radius_px=500.0)
    seen = ~np.isnan(camera.unproject([(700, 690), (1190, 690), (1210, 690), (0, 0)])).any(axis=1)
    assert seen.tolist() == [True, True, False, False]
    assert np.isnan(camera.project([(1.2, 0, 1)])).all()


def test_a_pixel_that_no_ray_reaches_is_nan():
    camera = KannalaBrandt((640, 480), 240, 240, 320, 240, (-0.3, 0.0, 0.0, 0.0))
    # The radius theta - 0.3 theta^3 grows up to 0.703 focal lengths only.
    rays = camera.unproject([(320 + 0.70 * 240, 240), (320 + 0.71 * 240, 240)])
    assert np.isnan(rays).any(axis=1).tolist() == [False, True]


def test_what_is_behind_a_pinhole_is_nan_but_a_fisheye_sees_beyond_90_degrees():
    assert np.isnan(PINHOLE.project([(0, 0, -1)])).all()
    assert np.isnan(OPENCV.project([(0, 0, -1)])).all()
    wide = KannalaBrandt((640, 480), 100, 100, 320, 240, (0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(wide.project([(1, 0, -0.1)]), [(320 + 100 * (np.pi / 2 + np.arctan(0.1)), 240)])


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.sampled_from([0, 90, 180, 270]))
def test_pixels_turn_as_cv2_turns_images(size_wh, deg):
    corner = turn_pixels([(0, 0)], size_wh, deg)[0].tolist()
    width, height = size_wh
    expected = {0: [0, 0], 90: [height - 1, 0], 180: [width - 1, height - 1], 270: [0, width - 1]}
    assert corner == expected[deg]


def test_the_bearing_of_an_aria_frame_that_was_turned_upright():
    upright = Turned(ARIA, 90)
    centre_x, centre_y = 1407 - 690, 700
    bearings = bearing_deg(upright.unproject([(centre_x, centre_y), (centre_x + 300, centre_y), (100, centre_y)]))
    assert bearings[0] == pytest.approx(0, abs=1e-6)
    assert 20 < bearings[1] < 30
    assert bearings[2] < -40


def test_a_pinhole_sees_half_its_field_of_view_at_its_edge():
    camera = Pinhole.from_hfov((641, 480), 90)
    assert bearing_deg(camera.unproject([(640.5, 0)]))[0] == pytest.approx(45)


def test_cameras_from_yaml_lists_are_equal_and_can_be_keys():
    assert hash(KannalaBrandt([640, 480], 240, 241, 320, 238, [-0.02, 0.09, -0.06, 0.01])) == hash(OPENCV)


def test_a_camera_with_missing_parameters_says_so():
    with pytest.raises(ValueError, match=r"^KannalaBrandt.k is \(0, 0, 0\); expected 4 numbers$"):
        KannalaBrandt((640, 480), 1, 1, 1, 1, (0, 0, 0))
    with pytest.raises(ValueError, match=r"^Fisheye624.size_wh is 640; expected width and height in pixels"):
        Fisheye624(640, 1, 1, 1, (0,) * 6)
    with pytest.raises(ValueError, match=r"^Pinhole.size_wh is \[640\]; expected width and height in pixels"):
        Pinhole([640], 1, 1, 1, 1)
