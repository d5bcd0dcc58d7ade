"""Which images make a batch: P x K, and the lists that are cut into batches."""

import itertools
from collections import Counter
from functools import partial

import pytest
import torch

from reidlib.samplers import ClassSampler, GroupSampler, MultipleGallerySampler, PKSampler, RandomSampler


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


LABELS = torch.tensor([4] * 10 + [7] * 3 + [9] * 4 + [2] + [11] * 6)[torch.randperm(24, generator=rng(9))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("p", "k"), [(3, 4), (5, 4), (2, 8), (1, 1)])
def test_every_batch_holds_p_identities_with_k_images_each(seed, p, k):
    sampler = PKSampler(LABELS, p=p, k=k, batches_per_epoch=20, generator=rng(seed))
    batches = list(sampler)
    assert len(batches) == len(sampler) == 20
    for batch in batches:
        assert len(batch) == p * k
        labels = LABELS[batch].view(p, k)
        assert (labels == labels[:, :1]).all(), "one identity after the other"
        assert len(labels[:, 0].unique()) == p
        for images, label in zip(torch.tensor(batch).view(p, k), labels[:, 0].tolist(), strict=True):
            size = int(torch.eq(LABELS, label).sum())
            assert len(images.unique()) == min(size, k), "all different, or every image of a short identity"


def test_all_identities_and_images_are_drawn_evenly():
    generator, rounds = rng(), 3000
    identities, images = Counter(), Counter()
    for batch in PKSampler(LABELS, p=2, k=3, batches_per_epoch=rounds, generator=generator):
        identities.update(LABELS[batch].view(2, 3)[:, 0].tolist())
        images.update(batch)
    assert set(images) == set(range(24))
    for label, count in identities.items():
        assert abs(count - rounds * 2 / 5) < 5 * (rounds * 2 / 5) ** 0.5
        members = torch.eq(LABELS, label).nonzero()[:, 0].tolist()
        for image in members:
            mean = 3 * count / len(members)
            assert abs(images[image] - mean) < 5 * mean**0.5 + 1


def test_short_identities_fill_up_with_replacement_evenly():
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    counts = Counter(i for batch in PKSampler(labels, 2, 8, 2000, rng()) for i in batch if i < 3)
    assert sum(counts.values()) == 16_000
    assert all(abs(count - 16_000 / 3) < 250 for count in counts.values())


def test_the_generator_decides():
    def draw(seed):
        return list(PKSampler(LABELS, 3, 4, 5, rng(seed)))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    sampler = PKSampler(LABELS, 3, 4, 5, rng(1))
    assert list(sampler) != list(sampler), "another epoch, other batches"


def test_a_restored_generator_continues_where_it_was():
    generator = rng(3)
    sampler = PKSampler(LABELS, 3, 4, 5, generator)
    list(sampler)
    state = generator.get_state()
    second = list(sampler)
    generator.set_state(state)
    assert list(sampler) == second


def test_epoch_length_and_negative_labels():
    labels = torch.cat((torch.arange(8).repeat_interleave(20), torch.full((40,), -1)))
    sampler = PKSampler(labels, p=4, k=4, generator=rng())
    assert len(sampler) == 160 // 16
    assert max(i for batch in sampler for i in batch) < 160
    assert len(PKSampler(torch.arange(8), p=8, k=8)) == 1


def test_it_drives_a_data_loader():
    data = torch.utils.data.TensorDataset(LABELS)
    loader = torch.utils.data.DataLoader(data, batch_sampler=PKSampler(LABELS, 3, 4, 2, rng()))
    assert [len(labels) for (labels,) in loader] == [12, 12]


@pytest.mark.parametrize("settings", [{"p": 0}, {"k": 0}, {"batches_per_epoch": 0}])
def test_settings_below_one_are_refused(settings):
    with pytest.raises(ValueError, match="of 1 or more"):
        PKSampler(LABELS, **settings)


def test_too_few_identities_are_refused():
    with pytest.raises(ValueError, match="needs p=6 identities but there are 5"):
        PKSampler(LABELS, p=6)


# ---------------------------------------------------------------- samplers that cut a list into batches

# 60 clusters of 1 to 20 images, five cameras, a tenth of the images outliers; numbered with gaps and shuffled
SIZES = torch.arange(60) % 20 + 1
CLUSTERS = torch.cat(((torch.arange(60) * 3 + 5).repeat_interleave(SIZES), torch.full((70,), -1)))[
    torch.randperm(int(SIZES.sum()) + 70, generator=rng(1))
]
CAMIDS = torch.randint(5, CLUSTERS.shape, generator=rng(2))
INLIERS = (CLUSTERS >= 0).nonzero()[:, 0]
OUTLIERS = (CLUSTERS < 0).nonzero()[:, 0]
LIST_SAMPLERS = [
    RandomSampler,
    partial(ClassSampler, k=4),
    partial(GroupSampler, group_size=4),
    partial(GroupSampler, group_size=4, as_released=True),
    lambda labels, **settings: MultipleGallerySampler(labels, CAMIDS[: len(labels)], k=4, **settings),
]
list_samplers = pytest.mark.parametrize("make", LIST_SAMPLERS, ids=["random", "class", "group", "released", "gallery"])


def chi_square(observed, expected):
    return ((observed.double() - expected) ** 2 / expected).sum().item()


@list_samplers
@pytest.mark.parametrize("iterations", [1, 7, 60])
def test_an_epoch_has_exactly_its_batches_whether_the_list_is_longer_or_shorter(make, iterations):
    sampler = make(CLUSTERS, batch_size=32, iterations=iterations, generator=rng())
    batches = list(sampler)
    assert len(batches) == len(sampler) == iterations
    assert all(len(batch) == 32 for batch in batches)


@list_samplers
def test_the_batches_are_the_lists_cut_without_their_remainders(make):
    again = make(CLUSTERS, batch_size=55, iterations=40, generator=rng(4))
    lists = [again.draw() for _ in range(40)]
    assert len(lists[0]) % 55, "there is a remainder to drop"
    expected = [part.tolist() for images in lists for part in images.split(55) if len(part) == 55][:40]
    assert list(make(CLUSTERS, batch_size=55, iterations=40, generator=rng(4))) == expected


@list_samplers
def test_without_iterations_an_epoch_is_one_list(make):
    sampler = make(CLUSTERS, batch_size=32, generator=rng())
    assert len(sampler) == len(sampler.draw()) // 32 == len(list(sampler))
    assert len(make(CLUSTERS, batch_size=10_000, generator=rng())) == 1


@list_samplers
def test_lists_shorter_than_a_batch_are_joined(make):
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    again = make(labels, batch_size=20, iterations=2, generator=rng(3))
    lists = [again.draw() for _ in range(6)]
    assert all(len(images) == 8 for images in lists)
    first, second = torch.cat(lists[:3])[:20], torch.cat(lists[3:])[:20]
    sampler = make(labels, batch_size=20, iterations=2, generator=rng(3))
    assert list(sampler) == [first.tolist(), second.tolist()]


@list_samplers
def test_a_generator_state_gives_the_same_batches(make):
    generator = rng(5)
    sampler = make(CLUSTERS, iterations=45, generator=generator)
    first = list(sampler)
    state = generator.get_state()
    second = list(sampler)
    assert first != second, "another epoch, other batches"
    generator.set_state(state)
    assert list(make(CLUSTERS, iterations=45, generator=generator)) == second
    assert list(make(CLUSTERS, iterations=45, generator=rng(6))) != first


@list_samplers
def test_outliers_are_drawn_only_as_released(make):
    sampler = make(CLUSTERS, iterations=400, generator=rng())
    expected = set(range(700)) if getattr(sampler, "as_released", False) else set(INLIERS.tolist())
    assert {i for batch in sampler for i in batch} == expected


@list_samplers
def test_without_an_inlier_there_is_nothing_to_draw(make):
    with pytest.raises(ValueError, match=r"all 5 labels are negative.*larger eps"):
        make(torch.full((5,), -1))
    with pytest.raises(ValueError, match="all 0 labels are negative"):
        make(torch.empty(0, dtype=torch.int64))


@list_samplers
@pytest.mark.parametrize("name", ["batch_size", "iterations"])
def test_batches_below_one_are_refused(make, name):
    with pytest.raises(ValueError, match=f"Sampler needs a {name} of 1 or more, got {name}=0"):
        make(CLUSTERS, **{name: 0})


def test_k_and_group_size_below_one_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="ClassSampler needs a k of 1 or more, got k=0"):
        ClassSampler(CLUSTERS, k=0)
    with pytest.raises(ValueError, match="MultipleGallerySampler needs a k of 1 or more, got k=-1"):
        MultipleGallerySampler(CLUSTERS, CAMIDS, k=-1)
    with pytest.raises(ValueError, match="GroupSampler needs a group_size of 1 or more, got group_size=0"):
        GroupSampler(CLUSTERS, group_size=0)
    with pytest.raises(ValueError, match=r"\(700,\) labels but \(3,\) camids"):
        MultipleGallerySampler(CLUSTERS, CAMIDS[:3])
    with pytest.raises(ValueError, match=r"shape \(n,\), one an image, got \(1, 700\)"):
        RandomSampler(CLUSTERS[None])


@list_samplers
def test_every_sampler_drives_a_data_loader(make):
    data = torch.utils.data.TensorDataset(CLUSTERS)
    sampler = make(CLUSTERS, iterations=3, generator=rng())
    loader = torch.utils.data.DataLoader(data, batch_sampler=sampler)
    assert [len(labels) for (labels,) in loader] == [32, 32, 32]


# ---------------------------------------------------------------- random and group sampling


@pytest.mark.parametrize("make", [RandomSampler, partial(GroupSampler, group_size=1)], ids=["random", "group-n1"])
def test_random_and_groups_of_one_are_uniform_permutations(make):
    labels = torch.tensor([0, -1, 0, 0, 7, 7])
    sampler = make(labels, generator=rng(1))
    lists = torch.stack([sampler.draw() for _ in range(6000)])
    assert (lists.sort(1).values == torch.tensor([0, 2, 3, 4, 5])).all()
    for place in range(5):
        counts = torch.bincount(lists[:, place], minlength=6)[[0, 2, 3, 4, 5]]
        assert chi_square(counts, 1200) < 18.5, "4 degrees of freedom: 1 in 1000"
    orders = torch.unique(lists, dim=0, return_counts=True)[1]
    assert len(orders) == 120
    assert chi_square(orders, 50) < 173, "119 degrees of freedom: 1 in 1000"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 50])
def test_groups_are_runs_of_one_cluster_and_every_inlier_occurs_once(n):
    images = GroupSampler(CLUSTERS, group_size=n, generator=rng(n)).draw()
    assert torch.equal(images.sort().values, INLIERS)
    expected = Counter()  # a cluster of 11 in groups of 4: two of 4 and one of 3
    for label, size in zip(*torch.unique(CLUSTERS[INLIERS], return_counts=True), strict=True):
        expected.update((label.item(), len(run)) for run in torch.arange(size.item()).split(n))
    assert cut_into_groups(CLUSTERS[images].tolist(), n) == expected


def cut_into_groups(labels, n):
    """How often each (label, group length) is in a list.

    Groups of one cluster may be neighbours. Only one of them is short, so s images in a row are s // n groups of n and,
    if the short one is among them, s % n images.
    """
    counts = Counter()
    for label, stretch in itertools.groupby(labels):
        s = len(list(stretch))
        counts[label, n] += s // n
        if s % n:
            counts[label, s % n] += 1
    return Counter({key: count for key, count in counts.items() if count})


def test_groups_and_the_images_in_them_are_shuffled_evenly():
    labels = torch.tensor([3, 3, 3, 3, 3, 1, 1])  # groups of 2: two of 2 and one of 1; one of 2
    sampler = GroupSampler(labels, group_size=2, generator=rng(2))
    lists = torch.stack([sampler.draw() for _ in range(4000)])
    pair_of_1 = (labels[lists] == 1).int().argmax(1)
    # 4! orders of the four groups: the pair is first in 6, after the single one in 2, after a pair in 4, and so on
    expected = 4000 * torch.tensor([6, 2, 4, 4, 2, 6], dtype=torch.float64) / 24
    assert chi_square(torch.bincount(pair_of_1, minlength=6), expected) < 20.5, "5 degrees of freedom: 1 in 1000"
    # an image of the pair is first in 1/4 * 1/2; one of the five, single in 1/5, in 1/4 * (1/5 + 4/5 * 1/2)
    expected = torch.tensor([600.0] * 5 + [500.0] * 2)
    assert chi_square(torch.bincount(lists[:, 0]), expected) < 22.5, "6 degrees of freedom: 1 in 1000"


def test_as_released_outliers_follow_and_whole_batches_are_shuffled():
    places = Counter()
    for seed in range(60):
        groups = GroupSampler(CLUSTERS, group_size=4, batch_size=32, generator=rng(seed)).draw()
        images = GroupSampler(CLUSTERS, group_size=4, batch_size=32, generator=rng(seed), as_released=True).draw()
        assert torch.equal(images.sort().values, torch.arange(700))
        batches = images[: 21 * 32].view(21, 32)  # 700 is 21 batches and 28: the short one stays at the end
        outliers = (CLUSTERS[batches] < 0).sum(1)
        assert sorted(outliers.tolist()) == [0] * 19 + [10, 32], "630 inliers end in the 20th batch before the shuffle"
        assert {tuple(batch) for batch in groups[: 19 * 32].view(19, 32).tolist()} < set(map(tuple, batches.tolist()))
        last = batches[outliers == 10][0].tolist()
        assert last[:22] == groups[19 * 32 :].tolist()
        assert (CLUSTERS[images[21 * 32 :]] < 0).all()
        places[int(outliers.argmax())] += 1
    assert len(places) > 15, "the batch of outliers stands anywhere"


# ---------------------------------------------------------------- class sampling


@pytest.mark.parametrize("k", [1, 2, 4, 12, 20, 32])
def test_a_list_has_each_class_once_with_k_images(k):
    images = ClassSampler(CLUSTERS, k=k, generator=rng(k)).draw().view(-1, k)
    labels = CLUSTERS[images]
    assert (labels == labels[:, :1]).all()
    assert torch.equal(labels[:, 0].sort().values, torch.unique(CLUSTERS[INLIERS]))
    for row, label in zip(images, labels[:, 0].tolist(), strict=True):
        size = int(torch.eq(CLUSTERS, label).sum())
        if size >= k:
            assert len(row.unique()) == k, "no image twice"
        else:
            assert row.unique(return_counts=True)[1].max() <= k, "the list repeated k times has k of each"


def test_a_class_of_k_images_gives_all_of_them_in_any_order():
    labels = torch.tensor([0, 0, 0, 5])
    lists = torch.stack([ClassSampler(labels[:3], k=3, generator=rng(i)).draw() for i in range(1200)])
    orders = torch.unique(lists, dim=0, return_counts=True)[1]
    assert len(orders) == 6
    assert chi_square(orders, 200) < 20.5, "5 degrees of freedom: 1 in 1000"


def test_subsets_of_a_large_class_are_uniform():
    labels = torch.zeros(5, dtype=torch.int64)
    sampler = ClassSampler(labels, k=2, generator=rng(7))
    pairs = torch.stack([sampler.draw() for _ in range(6000)])
    counts = torch.unique(pairs, dim=0, return_counts=True)[1]
    assert len(counts) == 20, "5 x 4 ordered pairs of different images"
    assert chi_square(counts, 300) < 43.8, "19 degrees of freedom: 1 in 1000"


def test_a_small_class_is_repeated_k_times_and_k_are_taken():
    """3 images, k = 4, taken from 12: none of one image in 3 * C(8, 4) / C(12, 4) less 3 * C(4, 4) / C(12, 4)."""
    labels = torch.arange(2000).repeat_interleave(3)
    images = ClassSampler(labels, k=4, generator=rng(8)).draw().view(2000, 4)
    different = torch.tensor([len(row.unique()) for row in images])
    missing = (3 * 70 - 3) / 495
    assert missing == pytest.approx(0.418, abs=1e-3)
    assert (different < 3).double().mean().item() == pytest.approx(missing, abs=0.035)
    assert (different == 1).double().mean().item() == pytest.approx(3 / 495, abs=0.006)


def test_drawing_with_replacement_would_not_pass_for_repeating():
    """2 images, k = 3, taken from 6: the same one three times in 2 of C(6, 3) draws; with replacement 1 of 4."""
    labels = torch.arange(3000).repeat_interleave(2)
    images = ClassSampler(labels, k=3, generator=rng(9)).draw().view(-1, 3)
    assert same_share(images) == pytest.approx(2 / 20, abs=0.02)


def test_a_class_of_one_image_gives_it_k_times():
    assert same_share(ClassSampler(torch.arange(50), k=3, generator=rng()).draw().view(-1, 3)) == 1


def same_share(images):
    return (images == images[:, :1]).all(1).double().mean().item()


def test_classes_come_in_random_order():
    labels = torch.arange(4).repeat_interleave(6)
    sampler = ClassSampler(labels, k=2, generator=rng(3))
    first = torch.stack([labels[sampler.draw()[0]] for _ in range(2000)])
    assert chi_square(torch.bincount(first, minlength=4), 500) < 16.3, "3 degrees of freedom: 1 in 1000"


def test_twelve_of_a_class_straddle_batches_of_32():
    labels = torch.arange(40).repeat_interleave(20)
    batches = list(ClassSampler(labels, k=12, iterations=15, generator=rng()))
    flat = labels[torch.tensor(batches).flatten()].view(40, 12)
    assert (flat == flat[:, :1]).all(), "40 classes of 12 fill 15 batches without a gap"
    lengths = [[len(list(run)) for _, run in itertools.groupby(labels[batch].tolist())] for batch in batches[:3]]
    assert lengths == [[12, 12, 8], [4, 12, 12, 4], [8, 12, 12]]


# ---------------------------------------------------------------- a gallery of several cameras


@pytest.mark.parametrize("k", [1, 2, 4, 8, 32])
def test_the_others_of_a_cluster_are_of_other_cameras_than_the_anchor(k):
    sampler = MultipleGallerySampler(CLUSTERS, CAMIDS, k=k, generator=rng(k))
    for _ in range(5):
        images = sampler.draw().view(-1, k)
        labels = CLUSTERS[images]
        assert (labels == labels[:, :1]).all()
        assert torch.equal(labels[:, 0].sort().values, torch.unique(CLUSTERS[INLIERS]))
        for anchor, *others in images.tolist():
            cluster = torch.eq(CLUSTERS, CLUSTERS[anchor])
            elsewhere = set((cluster & (torch.ne(CAMIDS, CAMIDS[anchor]))).nonzero()[:, 0].tolist())
            rest = set(cluster.nonzero()[:, 0].tolist()) - {anchor}
            candidates = elsewhere or rest or {anchor}
            assert set(others) <= candidates
            assert len(candidates) < k - 1 or len(set(others)) == k - 1, "different when there are enough"


def test_anchors_and_others_are_uniform():
    labels, camids = torch.tensor([0, 0, 0, 0, -1, 0]), torch.tensor([3, 1, 3, 2, 1, 3])
    sampler = MultipleGallerySampler(labels, camids, k=3, generator=rng(2))
    lists = torch.stack([sampler.draw() for _ in range(6000)])
    anchors = torch.bincount(lists[:, 0], minlength=6)
    assert anchors[4] == 0
    assert chi_square(anchors[[0, 1, 2, 3, 5]], 1200) < 18.5, "4 degrees of freedom: 1 in 1000"
    of_camera_2 = lists[lists[:, 0] == 3][:, 1:]  # two of images 0, 1, 2, 5, in any order
    pairs = torch.unique(of_camera_2, dim=0, return_counts=True)[1]
    assert len(pairs) == 12
    assert chi_square(pairs, len(of_camera_2) / 12) < 31.3, "11 degrees of freedom: 1 in 1000"


def test_too_few_images_elsewhere_are_drawn_with_replacement():
    labels, camids = torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1])
    sampler = MultipleGallerySampler(labels, camids, k=4, generator=rng(2))
    lists = torch.stack([sampler.draw() for _ in range(4000)])
    others = lists[lists[:, 0] < 2][:, 1:]
    triples = torch.unique(others, dim=0, return_counts=True)[1]
    assert len(triples) == 8
    assert chi_square(triples, len(others) / 8) < 24.4, "7 degrees of freedom: 1 in 1000"


def test_clusters_of_one_camera_and_of_one_image():
    labels, camids = torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 2, 5])
    for images in MultipleGallerySampler(labels, camids, k=3, generator=rng()).draw().view(2, 3).tolist():
        assert images == [3, 3, 3] or sorted(images) == [0, 1, 2]
    sampler = MultipleGallerySampler(labels[:3], camids[:3], k=4, generator=rng())
    for _ in range(20):
        anchor, *others = sampler.draw().tolist()
        assert anchor not in others
