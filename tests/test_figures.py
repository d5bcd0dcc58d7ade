"""What the figures compute; how they look is for eyes."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from reidlib import figures
from reidlib.data.pedestrians import draw


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_smooth_is_a_mean_over_the_last_values():
    assert figures.smooth([1, 2, 3, 4, 5], 3).tolist() == [1, 1.5, 2, 3, 4]


def test_drawn_gives_the_same_pictures_as_the_whole_data_set():
    frame, images, parts = draw("viper-like", size=(32, 16))
    rows = [[3, 200], [17]]
    some, pictures, maps = figures.drawn("viper-like", lambda f: rows, size=(32, 16))
    pd.testing.assert_frame_equal(some, frame)
    for found, whole in ((pictures, images), (maps, parts)):
        assert [len(some) for some in found] == [2, 1]
        flat = [picture for some in found for picture in some]
        assert all(torch.equal(picture, whole[row]) for picture, row in zip(flat, (3, 200, 17), strict=True))


def test_by_camera_takes_each_camera_of_a_person_once():
    frame, _, _ = draw("viper-like", size=(16, 8))
    rows = figures.by_camera(frame, people=4, each=5)
    assert [len(row) for row in rows] == [2] * 4
    for row in rows:
        assert frame["pid"][row].nunique() == 1
        assert frame["camid"][row].nunique() == len(row)
        assert set(frame["split"][row]) <= {"query", "gallery"}


def test_ranked_lists_mark_right_and_wrong_by_colour_and_sign():
    images = torch.zeros(5, 3, 8, 4, dtype=torch.uint8)
    figure = figures.ranked_lists(images, [0], [[1, 2, 3]], [[True, False, True]], labels=["a"])
    assert [axis.get_title() for axis in figure.axes] == ["query", "1 ✓", "2 ✗", "3 ✓"]
    colours = [axis.spines["left"].get_edgecolor() for axis in figure.axes[1:]]
    assert colours[0] == colours[2] == matplotlib.colors.to_rgba(figures.RIGHT)
    assert colours[1] == matplotlib.colors.to_rgba(figures.WRONG)


def test_heat_is_brightest_where_the_weight_is_highest():
    image = torch.full((3, 8, 4), 100, dtype=torch.uint8)
    found = figures.heat(image, [[0.0], [1.0]])
    assert found.dtype == np.uint8
    assert found.shape == (3, 8, 4)
    assert (np.diff(found.astype(int).sum(0), axis=0) >= 0).all()
    top, bottom = found[:, 0, 0], found[:, -1, 0]
    assert top.tolist() == [
        45 + round(0.55 * 255 * v) for v in (0.001462, 0.000466, 0.013866)
    ]  # the dark end of inferno
    assert bottom.tolist() == [45 + round(0.55 * 255 * v) for v in (0.988362, 0.998364, 0.644924)]
    low = figures.heat(image, [[0.2]], low=0.2, high=0.6)
    assert (low == figures.heat(image, [[-5.0]], low=0.2, high=0.6)).all()
    assert (figures.heat(image, [[0.6]], low=0.2, high=0.6) == figures.heat(image, [[9.0]], low=0.2, high=0.6)).all()


def test_dots_and_curves_also_without_runs():
    table = pd.DataFrame({"arm": ["a", "b"], "mAP": [1.0, 2.0], "low": [0.5, np.nan], "high": [1.5, np.nan]})
    axis = figures.dots(table, "mAP", "low", "high", "arm", "mAP (%)").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    figures.dots(table.iloc[:0], "mAP", "low", "high", "arm", "mAP (%)")
    axis = figures.curves({}, "step", "loss")
    assert axis.texts[0].get_text() == "not run"
