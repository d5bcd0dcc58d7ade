"""P x K batches."""

from collections import Counter

import pytest
import torch

from reidlib.samplers import PKSampler


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
