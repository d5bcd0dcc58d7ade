"""Pictures with choosers and layers, and figures with ipywidgets choices, live and without a kernel."""

import base64
import io
import re

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from reidlib.explore import Pictures, choices
from reidlib.explore.pictures import Cell

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (40, 40, 200), "white": (240, 240, 240)}


def plain(name):
    return torch.tensor(COLOURS[name], dtype=torch.uint8)[:, None, None].expand(3, 32, 16)


def make(**options):
    grids = {
        ("a", 1): [[Cell([plain("red"), plain("green")], "first", True), None]],
        ("a", 2): [[[plain("blue"), plain("green")], [plain("red"), plain("blue")]]],
        ("b", 1): [[[plain("white"), plain("red")]], [[plain("red"), plain("red")]]],
        ("b", 2): [],
    }
    settings = {
        "drawn": True,
        "choosers": {"sampler": ["a", "b"], "batch": [1, 2]},
        "layers": ["image", "mask"],
        "quality": 100,
    }
    return Pictures(grids, **settings | options)


def colour(page, cell):
    picture = np.array(Image.open(io.BytesIO(page.locator(".stack").nth(cell).screenshot())).convert("RGB"))
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
    return min(COLOURS, key=lambda name: np.abs(middle - COLOURS[name]).sum())


def test_choosers_and_slider_without_a_kernel(visit, tmp_path):
    made = make(title="Batches")
    (tmp_path / "page.html").write_text(made.page())
    with visit((tmp_path / "page.html").as_uri()) as (page, complaints, foreign):
        assert (page.locator(".stack").count(), colour(page, 0)) == (1, "red")
        assert page.locator(".stack").first.get_attribute("aria-label") == "right: first"
        page.get_by_label("Layer: image, mask").focus()
        page.keyboard.press("End")
        assert colour(page, 0) == "green"
        page.get_by_label("batch", exact=True).select_option(index=1)
        assert [colour(page, i) for i in range(2)] == ["green", "blue"]
        page.get_by_label("Layer: image, mask").focus()
        page.keyboard.press("Home")
        assert [colour(page, i) for i in range(2)] == ["blue", "red"]
        page.get_by_label("sampler", exact=True).select_option("b")
        assert page.get_by_text("There is nothing to show for this choice.").is_visible()
        page.get_by_label("batch", exact=True).select_option(index=0)
        assert [colour(page, i) for i in range(2)] == ["white", "red"]
        assert (complaints, foreign) == ([], [])
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_each_image_is_kept_once_and_real_people_are_not():
    assert make().meta["sheets"]["count"] == 4
    assert make(drawn=False).meta["sheets"]["files"] == []
    assert make(drawn=False, real_people=True).meta["pictures"] == "blurred"
    assert make(drawn=False, real_people=True, blur=False).meta["pictures"] == "shown"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"no grid for the choice \('c', '1'\)"):
        make(choosers={"sampler": ["c"], "batch": [1]})
    with pytest.raises(ValueError, match="2 images for 1 layers"):
        make(layers=[])
    with pytest.raises(ValueError, match="resize them"):
        Pictures([[plain("red"), plain("red")[:, :8]]], drawn=True)
    with pytest.raises(ValueError, match=r"float32 \(3, 32, 16\); pass uint8"):
        Pictures([[plain("red").float()]], drawn=True)
    with pytest.raises(ValueError, match="no image to show"):
        Pictures([[None]], drawn=True)
    with pytest.raises(traitlets.TraitError, match="one number for each chooser"):
        make().chosen = [0, 5]


def draw(run, k=1):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(1, 1))
    axes.set_facecolor({"one": "red", "two": "blue"}[run])
    axes.set_position([0, 0, 1, 1])
    return figure


def test_choices_are_a_picture_in_the_static_book(visit, tmp_path):
    first = choices(draw, run=["one", "two"], k=[1, 2])._repr_mimebundle_()
    bundle = first[0] if isinstance(first, tuple) else first
    assert "application/vnd.jupyter.widget-view+json" in bundle
    (encoded,) = re.findall(r"base64,([^\"]+)", bundle["text/html"])
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    assert picture[picture.shape[0] // 2, picture.shape[1] // 2].tolist() == [255, 0, 0]
    made = choices(draw, static="all", run=["one", "two"], k=[1, 2])
    head = "<!doctype html><html lang=en><title>t</title><link rel=icon href='data:,'>"
    (tmp_path / "page.html").write_text(f"{head}<body>{made.to_html()}</body></html>")
    with visit((tmp_path / "page.html").as_uri()) as (page, complaints, _):
        assert page.locator("img:visible").get_attribute("alt") == "run one, k 1"
        page.get_by_label("run").select_option("two")
        page.get_by_label("k", exact=True).select_option("2")
        assert page.locator("img:visible").get_attribute("alt") == "run two, k 2"
        assert complaints == []


def test_choices_live_draw_anew():
    made = choices(draw, run=["one", "two"])
    view = made._live()
    controls, output = view.children
    before = output.outputs[0]["data"]["image/png"]
    controls.children[0].value = "two"
    assert output.outputs[0]["data"]["image/png"] != before
    assert len(output.outputs) == 1
    with pytest.raises(ValueError, match="'run' has no values"):
        choices(draw, run=[])
    with pytest.raises(ValueError, match="40 combinations are too many"):
        choices(draw, static="all", run=["one"] * 40)
