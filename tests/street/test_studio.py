"""Pictures and motion."""

import numpy as np
import pytest

from nodes.street import Scene, Studio
from tests.street.scripted import scene, shot


@pytest.fixture(scope="module")
def walk():
    return Scene.random(3, crowd=0.3)


def test_the_same_moment_is_the_same_picture_in_any_order_and_by_any_number_of_threads(walk):
    alone, both = Studio(walk, (160, 160), threads=1), Studio(walk, (160, 160), threads=2)
    first = alone.shoot(4.0)
    alone.shoot(9.0)
    for again in (alone.shoot(4.0), both.shoot(4.0)):
        np.testing.assert_array_equal(again.pixels, first.pixels)
        np.testing.assert_array_equal(again.depth, first.depth)
        np.testing.assert_array_equal(again.truth.detections.xyxy, first.truth.detections.xyxy)
    both.close()
    assert not np.array_equal(Studio(Scene.random(5), (160, 160), threads=1).shoot(4.0).pixels, first.pixels)


def test_outside_of_the_lens_there_is_nothing_and_the_sky_is_far():
    seen, studio = shot()
    assert not seen.pixels[~studio.is_seen].any()
    assert not seen.depth[~studio.is_seen].any()
    assert np.isinf(seen.depth[20:50, 120:136]).all()
    assert (seen.depth[studio.is_seen] > 0.5).all()


def test_night_is_darker_and_rain_is_seen():
    day, night, rain = (shot(**light)[0].pixels.mean() for light in ({"night": 0}, {"night": 1}, {"rain": 1}))
    assert night < 0.7 * day
    assert abs(rain - day) > 2


def test_the_head_bobs_while_it_walks_and_only_with_sway():
    for sway, moves in ((0, False), (1, True)):
        wearer = Studio(scene(sway=sway, walk={"speed_mps": 1.3}), (64, 64), threads=1).stage.wearer
        heights = [wearer.pose(t).position[2] for t in np.linspace(2, 4, 40)]
        assert bool(np.ptp(heights) > 0.02) is moves


def test_the_accelerometer_feels_gravity_and_the_gyroscope_the_turning():
    wearer = Studio(scene(sway=1, walk={"speed_mps": 1.3}), (64, 64), threads=1).stage.wearer
    still = Studio(scene(), (64, 64), threads=1).stage.wearer
    np.testing.assert_allclose(still.felt(1.0), [0, -9.81, 0], atol=1e-6)  # y is down, and the ground pushes up
    times = np.arange(5, 5.2, 0.001)
    turned = np.eye(3)
    for t in times:
        x, y, z = wearer.turning(t + 0.0005) * 0.001
        turned = turned @ (np.eye(3) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    expected = wearer.pose(5.0).rotation.T @ wearer.pose(5.2).rotation
    np.testing.assert_allclose(turned, expected, atol=2e-3)
