"""Generated sets: what is kept, whose images a set holds, and collapse."""

import dataclasses

import pytest
import torch

from reidlib import generation, training
from reidlib.gan import sample, train_gan
from reidlib.generation import generated_set, health

TINY = {"base": 2, "latent": 3, "batch": 8, "progress": False}


def noisy(n, seed=0, height=16, width=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def equal(one, other):
    return all(torch.equal(one[part][name], other[part][name]) for part in PARTS for name in one[part])


PARTS = ("generator", "discriminator")


# ---------------------------------------------------------------- sets

CLUSTERS = torch.tensor([0, 1, 2, 2, 1] * 6)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(count, ...) -> Generated, and make.trained: (number of images, options) of every GAN that was trained."""
    trained, images = [], noisy(30)

    def watched(pixels, **options):
        trained.append((pixels, options))
        return train_gan(pixels, **options)

    def made(count=10, clusters=CLUSTERS, images=images, **options):
        options = {**TINY, "parent_steps": 3, "steps": 2, "seed": 0, "cache": tmp_path, **options}
        return generated_set(images, clusters, count, **options)

    monkeypatch.setattr(generation, "train_gan", watched)
    made.trained = trained
    return made


def test_one_gan_a_cluster_from_the_parent(make):
    found = make(10)
    assert [len(pixels) for pixels, _ in make.trained] == [30, 6, 12, 12]
    assert [options["steps"] for _, options in make.trained] == [3, 2, 2, 2]
    assert len({options["seed"] for _, options in make.trained}) == 4
    starts = [options["start"] for _, options in make.trained]
    assert starts[0] is None
    assert all(equal(start, found.parent) for start in starts[1:])
    for cluster, (pixels, _) in enumerate(make.trained[1:]):
        assert torch.equal(pixels, noisy(30)[cluster == CLUSTERS])
    assert len(found.gans) == 3
    assert not equal(found.gans[0], found.gans[1])


def test_settings_reach_the_gans(make):
    settings = {"size": (32, 16), "base": 3, "latent": 4, "batch": 5, "g_steps": 1, "learning_rate": 0.1, "beta1": 0.7}
    make(4, **settings)
    for _, options in make.trained:
        assert {name: options[name] for name in settings} == settings


def test_equal_shares_shuffled_and_cut(make):
    found = make(11)
    assert found.images.shape == (11, 3, 16, 16)
    assert found.images.dtype == torch.uint8
    assert found.cluster.dtype == torch.int64
    counts = found.cluster.bincount(minlength=3)
    assert counts.max() <= 4  # floor(11 / 3) + 1, of which one of the 12 was cut
    assert sorted(counts.tolist()) == [3, 4, 4]
    assert found.cluster.tolist() != sorted(found.cluster.tolist())


@pytest.mark.parametrize(("count", "share"), [(11, 4), (12, 5), (1, 1)])
def test_the_share_of_a_cluster(make, monkeypatch, count, share):
    shares = []
    monkeypatch.setattr(generation, "sample", lambda gan, n, **_: shares.append(n) or sample(gan, n, seed=0))
    assert len(make(count).images) == count
    assert shares == [share] * 3


def test_every_image_is_of_its_clusters_gan(make):
    found = make(11, learning_rate=5e-3, steps=15)
    for cluster, gan in enumerate(found.gans):
        own = sample(gan, 4, seed=training.stream_seed(0, "images of a cluster", cluster))
        assert len({bytes(image.numpy()) for image in own}) == 4
        drawn = found.images[found.cluster == cluster]
        places = [next(i for i, image in enumerate(own) if torch.equal(image, one)) for one in drawn]
        assert len(set(places)) == len(drawn)


def test_without_a_parent(make):
    found = make(parent=False)
    assert found.parent is None
    assert [options["start"] for _, options in make.trained] == [None] * 3
    assert [len(pixels) for pixels, _ in make.trained] == [6, 12, 12]


def test_without_clusters_the_parent_draws_all(make):
    found = make(7, clusters=None)
    assert [(len(pixels), options["steps"]) for pixels, options in make.trained] == [(30, 3)]
    assert found.cluster.tolist() == [0] * 7
    assert len(found.gans) == 1
    assert found.gans[0] is found.parent
    make(7)
    assert len(make.trained) == 4  # the same parent serves the clusters
    assert len(make(7, clusters=None, parent=False).images) == 7
    assert len(make.trained) == 4


def test_a_second_call_trains_and_draws_nothing(make, monkeypatch):
    first = make(10)
    monkeypatch.setattr(generation, "train_gan", None)
    monkeypatch.setattr(generation, "sample", None)
    again = make(10)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.cluster, again.cluster)
    assert all(equal(one, other) for one, other in zip(first.gans, again.gans, strict=True))
    assert equal(first.parent, again.parent)


def test_another_count_trains_nothing_and_the_same_images_come_first(make):
    many = make(200, learning_rate=5e-3, steps=15)
    assert len(make.trained) == 4
    few = make(20, learning_rate=5e-3, steps=15)
    assert len(make.trained) == 4
    pool = {bytes(image.numpy()) for image in many.images}
    assert len(pool) > 50
    assert sum(bytes(image.numpy()) in pool for image in few.images) >= 18  # the cut of 200 from 201 took one


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"seed": 1}, 4),
        ({"steps": 3}, 3),
        ({"parent_steps": 4}, 4),
        ({"g_steps": 1}, 4),
        ({"beta1": 0.6}, 4),
        ({"parent": False}, 3),
        ({"images": noisy(30, seed=1)}, 4),
        ({"clusters": (CLUSTERS + 1) % 3}, 3),
        ({"progress": False}, 0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_trained_again(make, change, again):
    first = make(10)
    other = make(10, **change)
    assert len(make.trained) == 4 + again
    assert torch.equal(first.images, other.images) == (again == 0)


def test_other_code_is_trained_again(make, monkeypatch):
    make(10)
    monkeypatch.setattr(generation, "_code", lambda name: "other")
    make(10)
    assert len(make.trained) == 8


def test_the_code_that_counts():
    codes = [generation._code(name) for name in ("train_gan", "generated_set", "health")]
    assert len(set(codes)) == 3
    assert codes[0] == generation._code("train_gan")


def test_back_at_the_size_of_the_training_images(make):
    images = noisy(30, height=40, width=24)
    found = make(5, images=images, size=(32, 16))
    assert found.gans[0]["size"] == [32, 16]
    assert found.images.shape == (5, 3, 40, 24)
    assert found.images.dtype == torch.uint8


def test_no_images_train_nothing(make):
    found = make(0)
    assert make.trained == []
    assert found.images.shape == (0, 3, 16, 16)
    assert found.images.dtype == torch.uint8
    assert found.cluster.shape == (0,)
    assert (found.parent, found.gans) == (None, [])


def test_errors_of_sets(make):
    for clusters, message in {
        (0, 0, 2): "cluster 1 has no image",
        (0, 0, 1): "cluster 1 has only 1 image",
        (0, -1, 0): "numbered from 0, got -1",
        (0, 0): "one integer for each of the 3 images",
        (0.5, 0.0, 1.0): "one integer for each of the 3 images",
    }.items():
        with pytest.raises(ValueError, match=message):
            make(5, clusters=torch.tensor(clusters), images=noisy(3))
    with pytest.raises(ValueError, match="cannot generate -1 images"):
        make(-1)
    with pytest.raises(ValueError, match="the generated set has only 1 image"):
        make(images=noisy(1), clusters=None)
    assert make.trained == []


def test_a_set_cannot_be_changed(make):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make(0).images = None


# ---------------------------------------------------------------- collapse


def normal(n, d=8, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def slow_health(fakes, real):
    def nearest(rows):
        return [min((a - b).norm().item() for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]

    def spread(rows):
        return sum(((rows - rows.mean(0)) ** 2).sum().item() for rows in [rows]) / (len(rows) - 1)

    near = torch.tensor(nearest(real), dtype=torch.float64).quantile(0.01).item()
    return spread(fakes) / spread(real), sum(distance <= near for distance in nearest(fakes)) / len(fakes)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_health_against_loops(scale):
    fakes, real = (normal(60, seed=1) * scale + 3).double(), normal(90, seed=2).double()
    found, (spread, repeats) = health(fakes, real), slow_health(fakes, real)
    assert found["spread"] == pytest.approx(spread, rel=1e-6)
    assert found["repeats"] == pytest.approx(repeats, rel=1e-6)


def test_spread_by_hand():
    real, fakes = torch.tensor([[0.0, 0], [4, 0], [0, 4]]), torch.tensor([[1.0, 1], [3, 1]])
    assert health(fakes, real)["spread"] == pytest.approx(2 / (32 / 3))  # variances: 2 and 0; twice 16 / 3


def test_healthy_sets():
    for fakes in (normal(1500, seed=1), normal(1500, seed=1) * 0.8 + 5, normal(1500, seed=2) * 1.3):
        found = health(fakes, normal(1500, seed=3))
        assert found["collapsed"] == 0
        assert found["repeats"] < 0.1
    assert health(normal(2000, seed=1), normal(2000, seed=3))["spread"] == pytest.approx(1, abs=0.05)


def test_copies_of_few_images_are_collapse():
    real, few = normal(1000, seed=1), normal(50, seed=2)
    copies = few[torch.arange(1000) % 50]
    found = health(copies, real)
    assert found["spread"] > 0.8
    assert found["repeats"] == 1
    assert found["collapsed"] == 1
    found = health(copies + 0.01 * normal(1000, seed=3), real)
    assert found["repeats"] > 0.9
    assert found["collapsed"] == 1


def test_copies_are_repeats_even_among_real_copies():
    real = normal(100, seed=1).repeat(2, 1)
    assert health(normal(20, seed=2).repeat(5, 1), real)["repeats"] == 1
    assert health(normal(100, seed=2), real)["repeats"] == 0


def test_copies_far_from_the_origin_are_repeats():
    assert health(normal(20, seed=2).repeat(5, 1) + 1000, normal(100, seed=1) + 1000)["repeats"] == 1


def test_a_narrow_set_is_collapse():
    found = health(0.45 * normal(400, 32, seed=1), normal(400, 32, seed=2))
    assert found["spread"] == pytest.approx(0.45**2, rel=0.1)
    assert found["collapsed"] == 1
    wider = health(0.55 * normal(400, 32, seed=1), normal(400, 32, seed=2))
    assert wider["spread"] > 0.25
    far = health(torch.cat([normal(399, 32, seed=1) * 0.01, torch.full((1, 32), 60.0)]), normal(400, 32, seed=2))
    assert far["spread"] > 1
    assert far["repeats"] > 0.9
    assert far["collapsed"] == 1


def test_blocks_equal_the_whole():
    features = normal(50)
    whole = generation._nearest_distances(features)
    assert torch.equal(whole, generation._nearest_distances(features, block=7))


def test_errors_of_health():
    good = normal(5)
    for fakes, real in ((normal(1), good), (good, normal(1)), (good, normal(5, 9)), (good[0], good)):
        with pytest.raises(ValueError, match=r"health needs features \(n, d\) and \(m, d\)"):
            health(fakes, real)
    bad = good.clone()
    bad[3, 2] = torch.nan
    with pytest.raises(ValueError, match="row 3 of fakes holds NaN"):
        health(bad, good)
    with pytest.raises(ValueError, match="row 3 of real holds NaN"):
        health(good, bad)
    with pytest.raises(ValueError, match="all real images are equal"):
        health(good, torch.ones(5, 8))
