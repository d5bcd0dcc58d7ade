"""The picture of the samplers: its numbers by hand, by Python and by the page agree; by keyboard and on a phone."""

import numpy as np
import pytest
import torch
import traitlets

from reidlib.explore import SamplerPicture
from reidlib.samplers import ClassSampler, GroupSampler, RandomSampler

READ = """host => {
  const root = host.shadowRoot, all = (some, of = root) => [...of.querySelectorAll(some)];
  const row = (x) => Number(x.dataset.row), named = (x) => [x.dataset.name, Number(x.dataset.value)];
  const kinds = (name) => all('.block i').filter(x => x.classList.contains(name)).map(row);
  return {
    numbers: Object.fromEntries(all('dd').map(named)),
    table: all("tbody tr").map(x => Object.fromEntries(all('td', x).map(named))),
    of: all('dd').map(x => [x.dataset.name, Number(x.dataset.all)]),
    looks: all('.draw').map(x => x.className.match(/k\\d p\\d/)[0]),
    colours: all('.block .now').map(x => [row(x), x.className.match(/k\\d/)[0]]),
    batch: all('.draw').map(row), again: all('.draw.again').map(row), map: all('.block i').map(row),
    now: kinds('now'), never: kinds('never'), out: kinds('out'),
    none: kinds('s0'), once: kinds('s1'), twice: kinds('s2'), more: kinds('s3'),
    current: root.querySelector("tr.current th").textContent,
    where: root.querySelector('.where').textContent,
  };
}"""
WIDER = """frame => [...frame.querySelectorAll('p, div, ol, li, dl, dt, dd, table, td, th, button')]
  .filter(x => x.scrollWidth > x.clientWidth + 1 && !x.matches('.sr')).map(x => x.outerHTML.slice(0, 90))"""
# ten images: cluster 4 with five, cluster 7 with three, one alone in cluster 0, an outlier; proxies apart
CLUSTERS = [4, 4, 7, 4, 0, -1, 7, 4, 4, 7]
CAMIDS = [0, 1, 0, 0, 2, 0, 1, 1, 0, 0]
PROXIES = [1, 2, 3, 1, 0, -1, 4, 2, 1, 3]
LISTS = {
    "random": {None: [[0, 2, 4, 9], [8, 7, 6, 3]]},
    "cluster": {2: [[0, 1, 6, 6], [4, 4, 3, 8], [4, 4, 4, 4]]},
    "proxy": {1: [[0, 7, 9, 6]], 2: [[0, 3, 4, 4]]},
}


def small(**options):
    return SamplerPicture(CLUSTERS, PROXIES, CAMIDS, LISTS, **{"batch_size": 4} | options)


@pytest.fixture(scope="module")
def large(people):
    """The real samplers over drawn people, as training sees them."""
    frame = people.gallery[people.gallery["pid"] > 0]
    cameras = torch.tensor(frame["camid"].to_numpy(copy=True))
    clusters = torch.unique(torch.tensor(frame["pid"].to_numpy(copy=True)), return_inverse=True)[1]
    clusters[::17] = -1
    proxies = torch.where(clusters < 0, -1, torch.unique(clusters * 10 + cameras, return_inverse=True)[1])
    generator = torch.Generator().manual_seed(0)
    lists = {
        "random": {None: RandomSampler(clusters, 32, 9, generator)},
        "cluster": {k: ClassSampler(clusters, k, 32, 9, generator) for k in (1, 4, 12, 32)},
        "proxy": {k: ClassSampler(proxies, k, 32, 6, generator) for k in (2, 4, 16)},
        "group": {n: GroupSampler(clusters, n, 32, 9, generator) for n in (1, 8, 12)},
    }
    images = people.images[torch.tensor(frame.index.to_numpy(copy=True))]
    return SamplerPicture(clusters, proxies, cameras, lists, images=images, drawn=True, title="Four ways")


@pytest.fixture(scope="module")
def page_file(large, tmp_path_factory):
    path = tmp_path_factory.mktemp("batches") / "page.html"
    path.write_text(large.page())
    return path


def shown(page):
    return page.locator(".host").evaluate(READ)


def put(page, **state):
    for name, value in state.items():
        page.evaluate(
            "([name, value]) => document.querySelector('.reidlib-widget').reidlib.model.set(name, value)", [name, value]
        )


def state(page):
    get = "['sampler', 'parameter', 'batch'].map(x => document.querySelector('.reidlib-widget').reidlib.model.get(x))"
    return tuple(page.evaluate(get))


def unpacked(made, entry):
    kind, offset, length = entry
    return np.frombuffer(made.blob[offset : offset + length], f"<{kind}")


def test_numbers_by_hand():
    made = small()
    assert (made.sampler, made.parameter, made.batch) == ("random", None, 0)
    made.sampler, made.batch = "cluster", 1
    assert made.parameter == 2
    assert made.numbers() == {
        "classes": 2, "different": 3, "duplicates": 1, "classes_seen": 3, "images_seen": 6, "never": 3,
        "all_classes": 3, "all_images": 9,
    }  # fmt: skip
    assert made.table() == {
        2: pytest.approx({"coverage": 1, "image_coverage": 6 / 9, "duplicates": 5 / 12, "classes_per_batch": 5 / 3})
    }
    assert made.table("proxy") == {
        1: pytest.approx({"coverage": 4 / 5, "image_coverage": 4 / 9, "duplicates": 0, "classes_per_batch": 4}),
        2: pytest.approx({"coverage": 2 / 5, "image_coverage": 3 / 9, "duplicates": 1 / 4, "classes_per_batch": 2}),
    }
    assert made.describe().startswith("How samplers fill batches of 4 from 9 images in 3 clusters: ")
    assert "Triplet, by cluster, K 2: 66.7% and 41.7%. Triplet, by proxy, K 1: 44.4% and 0.0%, K 2:" in made.describe()


def test_what_is_packed_is_what_was_drawn(large):
    for made, lists in ((small(), LISTS), (large, large.lists)):
        for sampler in made.meta["samplers"]:
            for setting in sampler["settings"]:
                rows = unpacked(made, setting["rows"]).reshape(-1, made.meta["size"])
                assert rows.tolist() == np.asarray(lists[sampler["name"]][setting["value"]]).tolist()
        assert unpacked(made, made.meta["cluster"]).tolist() == made.clusters.tolist()
    assert unpacked(small(), small().meta["order"]).tolist() == [0, 3, 8, 1, 7, 2, 9, 6, 4, 5]


def test_the_page_of_a_usual_training_set_is_small():
    clusters = np.arange(1800) // 15
    batches = np.arange(100 * 32).reshape(100, 32) % 1800
    lists = {name: dict.fromkeys((1, 2, 4, 8, 12, 16, 32), batches) for name in ("cluster", "proxy", "group")}
    made = SamplerPicture(clusters, clusters, clusters % 6, lists | {"random": {None: batches}})
    assert len(made.to_html()) < 300_000


def test_what_does_not_fit_is_refused(people):
    with pytest.raises(ValueError, match="there is no batch to show"):
        small().__class__(CLUSTERS, PROXIES, CAMIDS, {"random": {}})
    for batches, complaint in (
        ([[0, 1, 2, 10]], "sampler 'a', parameter 8: batch 0 draws row 10, but there are 10 images"),
        ([[0, 1, 2, 3], [0, -1, 2, 3]], "batch 1 draws row -1"),
        ([[0, 1, 5, 3]], "batch 0 draws row 5, which is an outlier"),
        ([[0, 1, 2, 3], [0, 1, 2]], "batch 1 has 3 rows, but batch_size is 4"),
        ([], "sampler 'a', parameter 8 has no batch"),
    ):
        with pytest.raises(ValueError, match=complaint):
            SamplerPicture(CLUSTERS, PROXIES, CAMIDS, {"a": {8: batches}}, batch_size=4)
    with pytest.raises(ValueError, match=r"camids are \(9,\) for clusters \(10,\)"):
        SamplerPicture(CLUSTERS, PROXIES, CAMIDS[1:], LISTS, batch_size=4)
    with pytest.raises(ValueError, match=r"image 4 is in cluster 0 but in no proxy \(-1\)"):
        SamplerPicture(CLUSTERS, [*PROXIES[:4], -1, *PROXIES[5:]], CAMIDS, LISTS, batch_size=4)
    with pytest.raises(ValueError, match="pictures of real people"):
        small(images=people.images[:10])
    with pytest.raises(ValueError, match=r"images are torch.uint8 \(9, 3, 64, 32\); pass uint8 \(10, 3, h, w\)"):
        small(images=people.images[:9], drawn=True)


def test_state_keeps_to_what_was_drawn():
    made = small()
    made.sampler, made.batch = "cluster", 2
    made.sampler = "random"
    assert (made.parameter, made.batch) == (None, 1)
    made.set_state({"sampler": "proxy", "parameter": 2})  # as the page sends it
    assert (made.parameter, made.batch) == (2, 0)
    for name, value, complaint in (
        ("sampler", "other", "there are random, cluster, proxy"),
        ("parameter", 3, r"'proxy' was drawn with \[1, 2\], not with 3"),
        ("batch", 1, "this epoch has batches 0 to 0"),
    ):
        with pytest.raises(traitlets.TraitError, match=complaint):
            setattr(made, name, value)


def test_the_page_counts_as_python_does(large, page_file, visit):
    with visit(page_file.as_uri()) as (page, complaints, foreign):
        for sampler, parameter, batch in (
            ("random", None, 0), ("random", None, 8), ("cluster", 4, 3), ("cluster", 12, 8), ("cluster", 32, 5),
            ("proxy", 2, 0), ("proxy", 16, 5), ("group", 1, 2), ("group", 8, 8), ("group", 12, 4),
        ):  # fmt: skip
            put(page, sampler=sampler, parameter=parameter, batch=batch)
            large.set_state({"sampler": sampler, "parameter": parameter, "batch": batch})
            check(shown(page), large)
        assert (complaints, foreign) == ([], [])


def check(seen, made):
    wanted, batches = made.numbers(), made.lists[made.sampler][made.parameter]
    assert seen["numbers"] == {name: wanted[name] for name in seen["numbers"]}
    assert [all_of for _, all_of in seen["of"]][3:] == [wanted[x] for x in ("all_classes", "all_images", "all_images")]
    assert seen["table"] == [pytest.approx(x, abs=1e-12) for x in made.table().values()]
    assert seen["where"] == f"Batch {made.batch + 1} of {len(batches)}"
    now = batches[made.batch].tolist()
    assert seen["batch"] == now
    assert len(seen["again"]) == wanted["duplicates"]
    assert set(seen["again"]) == {row for row in now if now.count(row) > 1}
    drawn = np.bincount(batches[: made.batch + 1].ravel(), minlength=len(made.clusters))
    assert sorted(seen["now"]) == sorted(set(now))
    apart = set(now) | set(seen["out"])
    for name, times in (("none", {0}), ("once", {1}), ("twice", {2}), ("more", set(range(3, 999)))):
        assert set(seen[name]) == {row for row, count in enumerate(drawn.tolist()) if count in times} - apart
    assert len(seen["never"]) == wanted["never"]
    assert sorted(seen["out"]) == np.flatnonzero(made.clusters < 0).tolist()
    assert set(seen["never"]) == set(seen["map"]) - set(seen["out"]) - set(batches.ravel().tolist())
    classes = (made.proxies if made.sampler == "proxy" else made.clusters)[now].tolist()
    assert len(set(zip(classes, seen["looks"], strict=True))) == len(set(classes)) == len(set(seen["looks"]))
    assert dict(seen["colours"]) == {row: look.split()[0] for row, look in zip(now, seen["looks"], strict=True)}
    assert sorted(seen["map"]) == list(range(len(made.clusters)))


def test_everything_by_keyboard(large, page_file, visit):
    with visit(page_file.as_uri(), reduced_motion="reduce") as (page, complaints, _):
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert state(page) == ("cluster", 1, 0)
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert state(page) == ("cluster", 4, 0)
        page.get_by_label("Next batch").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert state(page) == ("cluster", 4, 2)
        assert "batch 3 of 9: " in page.locator("[role=status]").inner_text()
        page.locator(".draw").nth(3).click()
        page.keyboard.press("ArrowRight")
        assert state(page) == ("cluster", 4, 3)
        page.get_by_label("Batch", exact=True).focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        assert state(page) == ("cluster", 4, 7)
        page.get_by_label("Group").focus()
        page.keyboard.press("Space")  # 4 was not drawn: the first N; the batch stays
        assert state(page) == ("group", 1, 7)
        page.get_by_label("Random").focus()
        page.keyboard.press("Space")
        assert state(page) == ("random", None, 7)
        page.get_by_label("Triplet, by cluster").focus()
        page.keyboard.press("Space")
        assert state(page) == ("cluster", 1, 7)
        page.get_by_label("Triplet, by proxy").focus()
        page.keyboard.press("Space")  # an epoch of 6 batches
        assert state(page) == ("proxy", 2, 5)
        assert shown(page)["current"] == "2"
        assert complaints == []


def test_play_goes_on_to_the_end_and_pauses(page_file, visit):
    with visit(page_file.as_uri()) as (page, _, _):
        page.clock.install()
        page.get_by_text("Play").click()
        page.clock.run_for(1000)
        assert state(page)[2] == 2
        page.get_by_text("Pause").click()
        page.clock.run_for(5000)
        assert state(page)[2] == 2
        page.get_by_text("Play").click()
        page.clock.run_for(60_000)
        assert state(page)[2] == 8
        page.get_by_text("Play").click()  # again from the start
        assert state(page)[2] == 0
    with visit(page_file.as_uri(), reduced_motion="reduce") as (page, _, _):
        page.clock.install()
        assert page.locator("i").first.evaluate("x => getComputedStyle(x).transitionDuration") == "0s"
        page.get_by_text("Play").click()
        page.clock.run_for(1600)
        assert state(page)[2] == 1


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")])
def test_no_serious_accessibility_violation_and_no_sideways_scroll(page_file, visit, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with visit(page_file.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme) as (
        page,
        problems,
        _,
    ):
        for sampler, parameter in (("random", None), ("proxy", 4)):
            put(page, sampler=sampler, parameter=parameter, batch=3)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            wide = page.locator(".frame").evaluate(WIDER)
            assert wide == []
            found = axe.Axe().run(page).response["violations"]
            assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []
        assert page.locator(".widget.dark").count() == (scheme == "dark")
        assert problems == []


def test_without_pictures_and_for_other_samplers(visit, tmp_path):
    made = SamplerPicture(CLUSTERS, PROXIES, CAMIDS, {"my own <b>": {3: [[0, 0, 0, 2]]}}, batch_size=4)
    (tmp_path / "page.html").write_text(made.page())
    with visit((tmp_path / "page.html").as_uri()) as (page, complaints, foreign):
        seen = shown(page)
        assert (seen["batch"], seen["again"], seen["current"]) == ([0, 0, 0, 2], [0, 0], "my own <b>: 3")
        assert page.locator(".draw").nth(2).inner_text().split("\n")[-1].strip() == "4"
        assert "drawn in this batch for time 3" in page.locator(".draw").nth(2).inner_text()
        assert page.get_by_label("Next batch").get_attribute("aria-disabled") == "true"
        assert (complaints, foreign) == ([], [])
    with visit((tmp_path / "page.html").as_uri(), java_script_enabled=False) as (page, _, _):
        assert "22.2% and 50.0%" in page.locator(".reidlib-widget").inner_text()
