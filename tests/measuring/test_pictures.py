"""What models are fed with."""

import json

import cv2
import numpy as np
import pytest

from graph.errors import ConfigError
from nodes.measuring import pictures
from nodes.street import CLASS_NAMES
from tests.media import clip

COCO = {
    "images": [{"id": 7, "file_name": "some/where/2.png"}, {"id": 8, "file_name": "3.png"}],
    "categories": [{"id": 3, "name": "car"}],
    "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
}


@pytest.fixture
def folder(tmp_path):
    for i in (10, 2, 3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((8, 12, 3), i, np.uint8))
    return tmp_path


def test_images_of_a_folder_come_in_natural_order(folder):
    found = pictures.read(str(folder), None)
    assert [(p.name, p.frame().pixels[0, 0, 0]) for p in found] == [("2.png", 2), ("3.png", 3), ("10.png", 10)]
    assert [p.name for p in pictures.read(str(folder), 2)] == ["2.png", "3.png"]


def test_frames_of_a_video(tmp_path):
    found = pictures.read(str(clip(tmp_path / "a.avi", 9)), 4)
    assert [p.name for p in found] == ["a-00000", "a-00001", "a-00002", "a-00003"]
    assert len(pictures.read(str(tmp_path / "a.avi"), None)) == 9


def test_a_place_without_pictures_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"command\.frames: there is no image or video at .*; expected a folder"):
        pictures.read(str(tmp_path), None)
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(ConfigError, match=r"command\.frames: "):
        pictures.read(str(tmp_path / "a.mp4"), None)


def test_labels_are_found_by_file_name_and_pictures_without_are_left_out(folder):
    path = folder / "instances.json"
    path.write_text(json.dumps(COCO))
    found = pictures.labelled(pictures.read(str(folder), None), str(path))
    assert [(p.name, p.labels) for p in found] == [
        ("2.png", (pictures.Label("car", (1, 2, 3, 4), is_crowd=True),)),
        ("3.png", ()),
    ]


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"images": [], "categories": []}'])
def test_labels_of_another_form_are_refused(folder, text):
    (folder / "labels.json").write_text(text)
    with pytest.raises(ConfigError, match=r"command\.labels: .*labels\.json cannot be read: .*; expected instances"):
        pictures.labelled(pictures.read(str(folder), None), str(folder / "labels.json"))


def test_labels_of_other_pictures_are_refused(folder):
    other = {**COCO, "images": [{"id": 7, "file_name": "x.png"}]}
    (folder / "labels.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"knows none of the frames, such as 2\.png"):
        pictures.labelled(pictures.read(str(folder), None), str(folder / "labels.json"))


def test_depth_in_metres_and_in_millimetres(folder, tmp_path):
    place = tmp_path / "depth"
    place.mkdir()
    np.save(place / "2.npy", np.array([[1.5, 0.0]]))
    cv2.imwrite(str(place / "3.png"), np.array([[1500, 0]], np.uint16))
    found = pictures.with_depth(pictures.read(str(folder), None), str(place))
    assert [p.name for p in found] == ["2.png", "3.png"]
    for p in found:
        np.testing.assert_allclose(p.depth(), [[1.5, np.nan]])
    cv2.imwrite(str(place / "3.png"), np.zeros((2, 2), np.uint8))
    with pytest.raises(ConfigError, match=r"3\.png is no image of 16 bits; expected millimetres"):
        found[1].depth()


def test_a_folder_without_depth_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"expected files such as 2\.npy \(metres\) or 2\.png"):
        pictures.with_depth(pictures.read(str(folder), None), str(tmp_path / "empty"))


def test_noise_is_the_same_every_time():
    first, second = pictures.noise(2, 16), pictures.noise(2, 16)
    np.testing.assert_array_equal(first[1].frame().pixels, second[1].frame().pixels)
    assert (first[0].frame().pixels != first[1].frame().pixels).any()


def test_the_street_is_the_same_every_time_and_its_truth_is_known():
    first, second = pictures.street(5, 176), pictures.street(5, 176)
    assert [p.name for p in first] == ["street-0-0", "street-0-1", "street-0-2", "street-0-3", "street-1-0"]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.frame().pixels, b.frame().pixels)
        assert a.labels == b.labels
        assert {label.name for label in a.labels} <= set(CLASS_NAMES)
        metres = a.depth()
        assert metres.shape == (176, 176)
        assert np.nanmin(metres) > 0
        assert np.isnan(metres).any()
    assert len({p.frame().pixels.tobytes() for p in first}) == 5
    assert any(p.labels for p in first)
