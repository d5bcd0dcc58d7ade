"""The playground: results moved by keyboard and by mouse are scored as the library scores them."""

import pytest
import traitlets

from reidlib.explore import MetricsPlayground

LISTS = {"A": [1, 2, 3, 8], "B": [1, 7, 9, 10]}


def numbers(page):
    read = "x => [...x.querySelectorAll('[data-value]')].map(y => Number(y.dataset.value))"
    return [page.locator(".list").nth(i).evaluate(read) for i in range(2)] + [page.locator(".means").evaluate(read)]


def expected(made):
    rated = made.scores()
    return [[rated[n]["AP"], rated[n]["AP_trap"]] for n in LISTS] + [list(rated["mean"].values())]


def test_scores_by_hand():
    made = MetricsPlayground(LISTS)
    assert made.scores()["A"]["AP"] == pytest.approx((1 + 1 + 1 + 4 / 8) / 4)
    made.order = made.order | {"A": [3, 0, 1, 2, 7, 4, 5, 6, 8, 9]}
    assert made.scores()["A"] == pytest.approx(
        {"AP": (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4, "AP_trap": (0.25 + 7 / 12 + 17 / 24 + 31 / 40) / 4, "first": 2}
    )
    with_ignored = MetricsPlayground({"A": [2]}, length=3, ignored={"A": [1]})
    assert with_ignored.scores()["A"]["first"] == 1


def test_what_cannot_be_scored_is_refused(people):
    with pytest.raises(ValueError, match=r"list 'A': rank 11 is outside 1\.\.10"):
        MetricsPlayground({"A": [11]})
    with pytest.raises(ValueError, match="list 'A' has no right image"):
        MetricsPlayground({"A": []})
    with pytest.raises(ValueError, match="place 2 is both right and ignored"):
        MetricsPlayground({"A": [2]}, ignored={"A": [2]})
    with pytest.raises(ValueError, match="pictures of real people"):
        MetricsPlayground({"A": [2]}, images=people.images, rows={"A": range(10)})
    with pytest.raises(ValueError, match="list 'B' has 0 pictures for 10 places"):
        MetricsPlayground(LISTS, images=people.images, rows={"A": range(10)}, drawn=True)
    with pytest.raises(traitlets.TraitError, match="must hold 0 to 9 once each"):
        MetricsPlayground({"A": [1]}).order = {"A": [0, 0]}


def test_results_move_by_keyboard_and_by_mouse(people, visit, tmp_path):
    made = MetricsPlayground(
        LISTS,
        ignored={"A": [5]},
        images=people.images,
        rows={n: list(range(10)) for n in LISTS},
        drawn=True,
        title="Move",
    )
    (tmp_path / "page.html").write_text(made.page())
    with visit((tmp_path / "page.html").as_uri(), viewport={"width": 900, "height": 1000}) as (
        page,
        complaints,
        foreign,
    ):
        for shown, wanted in zip(numbers(page), expected(made), strict=True):
            assert shown == pytest.approx(wanted, abs=1e-12)
        first = page.locator(".row").first
        first.locator(".item").first.focus()
        for key in ("ArrowRight", "Enter", "ArrowRight", "ArrowRight", "Enter", "ArrowLeft"):
            page.keyboard.press(key)
        made.order = made.order | {"A": [0, 2, 3, 1, 4, 5, 6, 7, 8, 9]}
        assert (
            page.evaluate("document.querySelector('.reidlib-widget').reidlib.model.get('order').A") == made.order["A"]
        )
        assert page.evaluate("document.querySelector('.host').shadowRoot.activeElement.dataset.at") == "3"
        second = page.locator(".row").nth(1)
        start, end = (second.locator(".item").nth(i).bounding_box() for i in (6, 1))
        page.mouse.move(start["x"] + 15, start["y"] + 15)
        page.mouse.down()
        page.mouse.move(end["x"] + 15, end["y"] + 15, steps=8)
        page.mouse.up()
        made.order = made.order | {"B": [0, 6, 1, 2, 3, 4, 5, 7, 8, 9]}
        for shown, wanted in zip(numbers(page), expected(made), strict=True):
            assert shown == pytest.approx(wanted, abs=1e-12)
        page.get_by_text("Worst").click()
        assert "right images at ranks 7, 8, 9, 10" in page.locator(".list").nth(1).inner_text()
        assert "Rank-5 0%" in page.locator(".means").inner_text()
        page.get_by_text("As it was").click()
        assert "right images at ranks 1, 2, 3, 7" in page.locator(".list").first.inner_text()
        assert (complaints, foreign) == ([], [])
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
