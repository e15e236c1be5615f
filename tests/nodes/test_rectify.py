import cv2
import numpy as np
import pytest

from nodes.messages import Frame
from nodes.ops.camera import Pinhole
from nodes.ops.fisheye import Fisheye624, KannalaBrandt
from nodes.ops.turned import Resized, Turned
from nodes.rectify import Rectify

LENS = KannalaBrandt((320, 240), fx=120, fy=121, cx=158, cy=122, k=(-0.02, 0.03, -0.01, 0.002))
SIDEWAYS = Fisheye624((256, 256), 110, 130, 126, (0.4, -0.5, 0.2, 1.1, -1.5, 0.5), valid_radius_px=128.0)


def picture(width: int, height: int, colour: str = "rgb") -> np.ndarray:
    """Smooth, so that interpolation hardly changes it, and different everywhere."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    planes = [120 + 100 * np.sin(5 * x + 2 * y), 250 * y, 250 * x]
    return np.stack(planes, axis=-1).astype(np.uint8) if colour == "rgb" else planes[0].astype(np.uint8)


@pytest.mark.parametrize("colour", ["rgb", "gray"])
@pytest.mark.parametrize("deg", [90, 180, 270])
def test_a_turn_moves_pixels_and_nothing_else(deg, colour):
    pixels = picture(40, 30, colour)
    upright = Rectify(deg).process(Frame(pixels, upright=False))
    assert upright.upright
    np.testing.assert_array_equal(upright.pixels, np.rot90(pixels, -deg // 90))


def test_a_turned_frame_brings_its_turned_camera():
    upright = Rectify(90).process(Frame(picture(256, 256), upright=False, camera=SIDEWAYS))
    assert upright.camera == Turned(SIDEWAYS, 90)


def test_nothing_to_do_copies_nothing():
    frame = Frame(picture(40, 30))
    assert Rectify().process(frame).pixels.base is frame.pixels.base


@pytest.mark.parametrize("deg", [0, 90, 180, 270])
def test_turn_and_resize_in_one_equal_turn_then_resize(deg):
    pixels = picture(320, 240)
    both = Rectify(deg, size_wh=[200, 150]).process(Frame(pixels)).pixels
    expected = cv2.resize(np.ascontiguousarray(np.rot90(pixels, -deg // 90)), (200, 150))
    assert np.abs(both.astype(int) - expected).max() <= 3


def test_an_enlarged_picture_is_not_dark_at_its_edge():
    enlarged = Rectify(size_wh=[160, 120]).process(Frame(np.full((30, 40, 3), 200, np.uint8))).pixels
    assert (enlarged == 200).all()


def test_a_resized_frame_brings_its_resized_camera():
    frame = Frame(picture(320, 240), camera=LENS)
    resized = Rectify(size_wh=[160, 120]).process(frame)
    assert resized.camera == Resized(Turned(LENS, 0), (160, 120))
    np.testing.assert_allclose(resized.camera.unproject([(79.5, 59.5)]), LENS.unproject([(159.5, 119.5)]))


def test_undistorted_as_opencv_does_it():
    pixels = picture(320, 240)
    straight = Rectify(size_wh=[200, 160], hfov_deg=80).process(Frame(pixels, camera=LENS))
    target = Pinhole.from_hfov((200, 160), 80)
    assert straight.camera == target
    new_matrix = np.array([[target.fx, 0, target.cx], [0, target.fy, target.cy], [0, 0, 1]], float)
    matrix = np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]], float)
    maps = cv2.fisheye.initUndistortRectifyMap(
        matrix, np.array(LENS.k), np.eye(3), new_matrix, (200, 160), cv2.CV_32FC1
    )
    expected = cv2.remap(pixels, maps[0], maps[1], cv2.INTER_LINEAR)
    assert np.abs(straight.pixels.astype(int) - expected).max() <= 2


def test_a_point_is_where_the_cameras_say_after_turning_undistorting_and_resizing():
    pixels = np.zeros((256, 256), np.uint8)
    pixels[60:63, 170:173] = 255
    upright = Rectify(90, size_wh=[300, 200], hfov_deg=90).process(Frame(pixels, upright=False, camera=SIDEWAYS))
    ray = Turned(SIDEWAYS, 90).unproject([(255 - 61, 171)])
    weight = upright.pixels.astype(float)
    y, x = np.mgrid[:200, :300]
    centre = [(x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()]
    assert centre == pytest.approx(upright.camera.project(ray)[0].tolist(), abs=0.3)


def test_what_the_lens_does_not_see_is_black():
    white = Frame(np.full((256, 256, 3), 255, np.uint8), camera=SIDEWAYS)
    corners = Rectify(hfov_deg=140).process(white).pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()


def test_the_map_is_computed_once_a_camera():
    node = Rectify(hfov_deg=80)
    node.process(Frame(picture(320, 240), camera=LENS))
    (first,) = node.maps.values()
    node.process(Frame(picture(320, 240), camera=KannalaBrandt([320, 240], 120, 121, 158, 122, list(LENS.k))))
    assert list(node.maps.values()) == [first]
    node.process(Frame(picture(256, 256), camera=SIDEWAYS))
    assert len(node.maps) == 2


def test_the_camera_of_the_configuration_serves_where_the_frame_brings_none():
    given = Rectify(hfov_deg=80, camera=LENS).process(Frame(picture(320, 240)))
    brought = Rectify(hfov_deg=80).process(Frame(picture(320, 240), camera=LENS))
    np.testing.assert_array_equal(given.pixels, brought.pixels)


def test_without_a_camera_nothing_can_be_undistorted():
    with pytest.raises(
        ValueError, match=r"^the frame brings no camera, so hfov_deg cannot undistort it; give the lens in"
    ):
        Rectify(hfov_deg=80).process(Frame(picture(320, 240)))


def test_a_camera_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"^camera is for \(320, 240\) pixels, the frame has \(640, 480\)"):
        Rectify(camera=LENS).process(Frame(picture(640, 480)))


def test_a_frame_on_its_side_is_not_called_upright_without_a_turn():
    with pytest.raises(ValueError, match=r"^the frame lies on its side and rotate_deg is 0; set rotate_deg"):
        Rectify(size_wh=[64, 64]).process(Frame(picture(320, 240), upright=False))


def test_the_contract_of_the_result_is_upright_and_of_the_new_size():
    image = {"size_wh": (640, 480), "channels": 1, "upright": False}
    turned = {"size_wh": (480, 640), "channels": 1, "upright": True}
    assert Rectify.emits({"rotate_deg": 90}, {"image": image}) == {"": turned}
    assert Rectify.emits({"size_wh": [64, 32]}, {"image": image}) == {"": turned | {"size_wh": (64, 32)}}
    assert Rectify.emits({}, {}) == {"": {"upright": True}}


def test_only_a_turn_takes_frames_that_lie_on_their_side():
    assert Rectify.expects({})["image"]["upright"] is True
    assert "upright" not in Rectify.expects({"rotate_deg": 90})["image"]


def test_check_finds_all_mistakes_at_once():
    assert list(Rectify.check({"rotate_deg": 45, "size_wh": 640, "hfov_deg": 180})) == [
        "rotate_deg: is 45; expected one of 0, 90, 180, 270",
        "size_wh: is 640; expected width and height in pixels, such as [640, 480]",
        "hfov_deg: is 180; expected degrees, more than 0 and less than 180, or null to keep the lens",
    ]
    assert list(Rectify.check({"rotate_deg": 90, "size_wh": None, "hfov_deg": None})) == []
