"""The explorer's page in a real browser, without a kernel: what it shows, how it is used, how large and fast it is."""

import dataclasses
import functools
import http.server
import io
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlib.data import pedestrians
from reidlib.explore import RankingExplorer, rank
from reidlib.explore.ranking import IGNORED, RIGHT
from reidlib.retrieval import evaluate

SHOWN = """host => [...host.shadowRoot.querySelectorAll(".column")].map(column => ({
  model: column.dataset.model,
  ap: [...column.querySelectorAll(".ap")].map(x => [Number(x.dataset.value), x.textContent]),
  facts: column.querySelector(".facts").textContent,
  cards: [...column.querySelectorAll(":scope > .cards > .card")].map(x => [
    Number(x.dataset.row), x.dataset.mark, x.dataset.rank, x.querySelectorAll(".line")[1].textContent,
    x.querySelector(".sign").textContent, x.querySelector(".sr").textContent]),
}))"""
FOCUSED = """() => {
  const x = document.activeElement.shadowRoot?.activeElement;
  return x && (x.getAttribute("aria-label") || x.closest("label")?.textContent || x.textContent);
}"""
SIGNS = {"right": "✓", "wrong": "✗", "ignored": "–"}


@pytest.fixture(scope="module")
def page_file(explorer, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(explorer.page())
    return path


@pytest.fixture(scope="module")
def served(page_file):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(page_file.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()
        thread.join()


def choose(page, number, which=0):
    page.evaluate(f"document.querySelectorAll('.reidlib-widget')[{which}].reidlib.model.set('query', {number})")


def shown(page, which=0):
    return page.locator(".host").nth(which).evaluate(SHOWN)


def queries_listed(page):
    return page.locator("[role=option]").count()


def test_twenty_queries_equal_the_evaluator(people, explorer, page_file, visit):
    k = 25
    rankings = {n: rank(*pair, people.query, people.gallery) for n, pair in people.features.items()}
    scores = {n: evaluate(*pair, people.query, people.gallery, top_k=k) for n, pair in people.features.items()}
    with visit(page_file.as_uri()) as (page, complaints, foreign):
        page.evaluate(f"document.querySelector('.reidlib-widget').reidlib.model.set('k', {k})")
        for row in np.random.default_rng(0).choice(len(people.query), 20, replace=False).tolist():
            choose(page, row)
            columns = shown(page)
            assert [column["model"] for column in columns] == ["good", "bad"]
            for column in columns:
                check_column(column, row, scores[column["model"]], rankings[column["model"]], people, k)
        assert (complaints, foreign) == ([], [])


def check_column(column, row, score, ranking, people, k):
    values = [value for value, _ in column["ap"]]
    assert values == pytest.approx([score.ap_std[row], score.ap_trap[row]], abs=1e-12)
    assert [text.split()[-1] for _, text in column["ap"]] == [f"{100 * v:.1f}%" for v in values]
    assert column["facts"].endswith(f"first at rank {score.rank[row]}")
    ranked = [card for card in column["cards"] if card[1] != "ignored"]
    assert [card[0] for card in ranked] == score.order[row].tolist()
    assert [card[2] for card in ranked] == [str(i + 1) for i in range(k)]
    part = slice(ranking.start[row], ranking.start[row + 1])
    order, mark = ranking.order[part], ranking.mark[part]
    for place, (gallery_row, name, _, distance, sign, words) in enumerate(column["cards"]):
        assert gallery_row == order[place]
        assert name == ("ignored" if mark[place] == IGNORED else "right" if mark[place] == RIGHT else "wrong")
        assert sign == SIGNS[name]
        assert abs(float(distance) - ranking.distances[part][place]) <= 0.00051
        person = people.gallery.iloc[gallery_row]
        assert f"camera {person['camid'] + 1}" in words
        assert (
            f"person {person['pid']}" if person["pid"] > 0 else "stranger" if person["pid"] == 0 else "junk"
        ) in words


def test_each_thumbnail_is_the_image_of_its_row(people, explorer, page_file, visit):
    with visit(page_file.as_uri(), viewport={"width": 1000, "height": 1400}) as (page, _, _):
        cards = page.locator(".column").first.locator("> .cards > .card")
        pictures = [(int(cards.nth(i).get_attribute("data-row")), cards.nth(i).locator(".thumb")) for i in range(4)]
        own = [people.images[int(people.gallery.index[row])] for row, _ in pictures]
        query = int(page.locator(".asked").get_attribute("data-query"))
        pictures.append((query, page.locator(".asked .thumb")))
        own.append(people.images[int(people.query.index[query])])
        for (_, thumb), image in zip(pictures, own, strict=True):
            thumb.evaluate("x => { x.style.opacity = 1; }")  # ignored images are paler
            seen = Image.open(io.BytesIO(thumb.screenshot())).convert("RGB")
            seen = seen.crop((4, 4, seen.width - 4, seen.height - 4)).resize((32, 64))  # without the frame
            seen = torch.from_numpy(np.array(seen)).permute(2, 0, 1).float()
            errors = (people.images.float() - seen).abs().mean((1, 2, 3))
            assert torch.equal(people.images[errors.argmin()], image), errors.min()


def test_served_pages_and_several_widgets(people, explorer, served, page_file, visit):
    other = RankingExplorer(
        {"alone": rank(*people.features["bad"], people.query, people.gallery)},
        people.query,
        people.gallery,
        people.images,
        queries=4,
    )
    path = page_file.parent / "two.html"
    path.write_text(explorer.page().replace("</main>", other.to_html() + "</main>"))
    for address in (served, served.replace("page", "two"), path.as_uri()):
        with visit(address) as (page, complaints, foreign):
            first = shown(page)
            if "two" in address:
                before = shown(page, 1)
                assert [column["model"] for column in before] == ["alone"]
                choose(page, explorer.meta["queries"][0])
                assert shown(page, 1) == before
                assert shown(page) != first
            assert (complaints, foreign) == ([], [])


def test_everything_by_keyboard(people, explorer, page_file, visit):
    with visit(page_file.as_uri()) as (page, complaints, _):
        reached = set()
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(FOCUSED))
        words = " ".join(filter(None, reached))
        for control in (
            "Model",
            "Compare with",
            "Results",
            "show ignored",
            "Copy link",
            "Sort",
            "Show",
            "Query camera",
            "Match camera",
            "Queries",
            "Next query",
        ):
            assert control in words, control
        listing = page.locator("[role=listbox]")
        listing.focus()
        page.keyboard.press("Home")
        first = page.locator(".asked").get_attribute("data-query")
        assert listing.get_attribute("aria-activedescendant") == page.locator("[aria-selected=true]").get_attribute(
            "id"
        )
        page.keyboard.press("ArrowRight")
        second = page.locator(".asked").get_attribute("data-query")
        worst = np.lexsort(
            (people.query["pid"], rank(*people.features["good"], people.query, people.gallery).average_precision[0])
        )
        assert [int(first), int(second)] == worst[:2].tolist()
        page.keyboard.press("ArrowLeft")
        assert page.locator(".asked").get_attribute("data-query") == first
        page.keyboard.press("End")
        assert page.locator(".asked").get_attribute("data-query") == str(worst[-1])
        page.get_by_label("Previous query").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert page.locator(".asked").get_attribute("data-query") == str(worst[-3])
        page.keyboard.press("ArrowRight")
        assert page.locator(".asked").get_attribute("data-query") == str(worst[-2])
        page.get_by_label("show ignored").focus()
        page.keyboard.press("Space")
        assert not any(card[1] == "ignored" for column in shown(page) for card in column["cards"])
        page.get_by_label("Results shown (k)").focus()
        page.keyboard.press("ArrowRight")
        assert len(shown(page)[0]["cards"]) == 11
        assert complaints == []


def top_query(page):
    page.locator("[role=listbox]").focus()
    page.keyboard.press("Home")
    return int(page.locator(".asked").get_attribute("data-query"))


def test_filters_and_orders(people, explorer, page_file, visit):
    ap = {n: rank(*pair, people.query, people.gallery).average_precision[0] for n, pair in people.features.items()}
    first = {n: evaluate(*pair, people.query, people.gallery).rank for n, pair in people.features.items()}
    with visit(page_file.as_uri()) as (page, _, _):
        page.get_by_label("Sort").select_option("gain")
        assert top_query(page) == np.argmax(ap["good"] - ap["bad"])
        page.get_by_label("Sort").select_option("loss")
        assert top_query(page) == np.argmin(ap["good"] - ap["bad"])
        page.get_by_label("Sort").select_option("best")
        assert top_query(page) == np.argmax(ap["good"])
        page.get_by_label("Show", exact=True).select_option("failures")
        assert queries_listed(page) == (first["good"] > 1).sum() > 0
        page.get_by_label("Show", exact=True).select_option("lost")
        assert queries_listed(page) == ((first["good"] == 1) & (first["bad"] > 1)).sum() > 0
        page.get_by_label("Show", exact=True).select_option("all")
        page.get_by_label("Query camera").select_option(label="1")
        page.get_by_label("Match camera").select_option(label="3")
        wanted = [
            i for i, (pid, camera) in enumerate(zip(people.query["pid"], people.query["camid"], strict=True))
            if camera == 0 and ((people.gallery["pid"] == pid) & (people.gallery["camid"] == 2)).any()
        ]  # fmt: skip
        assert queries_listed(page) == len(wanted) > 0
        assert page.locator(".summary").inner_text().startswith(f"{len(wanted)} quer")
        assert (
            f"mAP {100 * ap['good'][wanted].mean():.1f}% and {100 * ap['bad'][wanted].mean():.1f}%"
            in page.locator(".summary").inner_text()
        )
        page.get_by_label("Match camera").select_option(label="1")
        assert queries_listed(page) == 0
        assert page.get_by_text("No query passes these filters.").is_visible()
        page.get_by_text("Reset filters").click()
        assert queries_listed(page) == len(people.query)
        page.get_by_label("Compare with").select_option("")
        assert len(shown(page)) == 1


def test_clothes_can_be_filtered(people, visit, tmp_path):
    half = (np.arange(len(people.gallery)) % 3 == 0) & (people.gallery["pid"] > 0)
    gallery = people.gallery.assign(clothes=people.gallery["clothes"].where(~half, people.gallery["clothes"] + 5000))
    made = RankingExplorer.from_features(people.features, people.query, gallery, people.images, queries=None)
    (tmp_path / "page.html").write_text(made.page())
    right = people.query.reset_index(names="at").merge(gallery, on="pid")
    right = right[right["camid_x"] != right["camid_y"]]
    changed = right[right["clothes_x"] != right["clothes_y"]]["at"].nunique()
    with visit((tmp_path / "page.html").as_uri()) as (page, _, _):
        page.get_by_label("Clothes").select_option("changed")
        assert queries_listed(page) == changed < len(people.query)


def test_a_link_reopens_the_view(explorer, page_file, visit):
    number = explorer.meta["queries"][7]
    with visit(page_file.as_uri()) as (page, _, _):
        choose(page, number)
        page.get_by_label("Model", exact=True).select_option("bad")
        page.get_by_text("Copy link").click()
        link = page.evaluate("location.href")
        before = shown(page)
        assert f"q={number}&m=bad" in link
        page.wait_for_selector(".copied:has-text('link copied'), .copied input")
    with visit(link) as (page, complaints, _):
        assert shown(page) == before
        page.evaluate(f"location.hash = '#q={explorer.meta['queries'][2]}&m=good'")
        page.wait_for_selector(f".asked[data-query='{explorer.meta['queries'][2]}']")
        assert complaints == []
    with visit(page_file.as_uri() + "#q=4242&m=good") as (page, complaints, _):
        assert page.locator(".message").inner_text() == "The link asks for query 4242, which this page does not hold."


def test_a_page_that_is_damaged_says_so(explorer, tmp_path, visit):
    html = explorer.page()
    start = html.index('-blob">') + 7
    (tmp_path / "cut.html").write_text(
        html[:start] + html[start : start + 4000] + html[html.index("</script>", start) :]
    )
    (tmp_path / "bad.html").write_text(html.replace('{"meta"', '{meta"'))
    with visit((tmp_path / "cut.html").as_uri()) as (page, _, _):
        assert "cut off; build this page again" in page.locator(".reidlib-widget").inner_text()
    with visit((tmp_path / "bad.html").as_uri()) as (page, _, _):
        assert page.locator(".reidlib-widget").inner_text().startswith("This figure could not start")
    with visit((tmp_path / "cut.html").as_uri(), java_script_enabled=False) as (page, _, _):
        assert "needs JavaScript" in page.locator(".reidlib-widget").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_no_serious_accessibility_violation_and_no_sideways_scroll(page_file, visit, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visit(page_file.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme) as (
        page,
        complaints,
        _,
    ):
        assert complaints == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".widget.dark").count() == (scheme == "dark")
        found = axe.Axe().run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def tiled(count, images):
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count]


def large(queries, gallery, images, height, models=2):
    """An explorer of random rankings: each query has ten right images."""
    generator = torch.Generator().manual_seed(1)
    pid = np.arange(gallery) % max(1, gallery // 10) + 1
    frames = (
        pd.DataFrame({"pid": pid[:queries], "camid": 0, "clothes": -1, "look": 0}),
        pd.DataFrame({"pid": pid, "camid": 1 + np.arange(gallery) % 5, "clothes": -1, "look": 0}),
    )
    features = {
        f"model {m}": tuple(torch.randn(n, 8, generator=generator) for n in (queries, gallery)) for m in range(models)
    }
    rows = np.arange(queries), queries + np.arange(gallery)
    return RankingExplorer.from_features(
        features, *frames, tiled(queries + gallery, images), *rows, queries=None, height=height
    )


def test_size_of_the_default_page():
    preset = dataclasses.replace(pedestrians.PRESETS["market-like"], train_ids=2, test_ids=70)
    frame, images, _ = pedestrians.draw(preset, size=(64, 32))
    made = large(200, 1000, images[: min(1200, len(frame))], 64)
    assert len(made.blob) > 500_000
    assert len(made.to_html()) < 2_000_000


def test_a_thousand_queries_over_ten_thousand_images(people, visit, tmp_path):
    made = large(1000, 10_000, people.images, 16, models=2)
    (tmp_path / "page.html").write_text(made.page())
    with visit((tmp_path / "page.html").as_uri()) as (page, complaints, _):
        times = page.evaluate("""() => {
          const { model } = document.querySelector('.reidlib-widget').reidlib, host = document.querySelector('.host');
          return [...Array(25).keys()].map(i => {
            const began = performance.now();
            model.set('query', (i * 37) % 1000);
            host.getBoundingClientRect();
            return performance.now() - began;
          });
        }""")
        assert sorted(times)[len(times) // 2] < 50
        assert complaints == []
