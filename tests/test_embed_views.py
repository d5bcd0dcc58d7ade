import pytest
import torch
import torch.nn.functional as F

from reidlib.data.augment import normalise
from reidlib.data.clothing import views
from reidlib.data.store import ImageStore
from reidlib.embedding import embed, embed_views
from reidlib.models import build


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def store():
    images = torch.randint(0, 256, (7, 3, 16, 8), generator=seeded(), dtype=torch.uint8)
    parts = torch.randint(0, 8, (7, 16, 8), generator=seeded(1), dtype=torch.uint8)
    return ImageStore(images, parts)


def columns(seen):
    """Embeddings that show each input and how it lies: sums over the rows of a map's left and right columns."""
    return {
        "image": seen.images.mean((1, 2)),
        "both": torch.cat([seen.masked.mean(2).flatten(1), seen.clothing.float().mean(1)], dim=1),
    }


def by_hand(store, row, flip=True):
    """One image at a time, without the library's normalisation of embeddings."""
    images, parts = store.batch([row])
    seen = columns(views(images, parts))
    if flip:
        other = columns(views(images.flip(-1), parts.flip(-1)))
        seen = {name: seen[name] + other[name] for name in seen}
    return {name: x[0] / x[0].square().sum().sqrt() for name, x in seen.items()}


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 256])
def test_each_image_as_by_hand(store, flip, batch):
    rows = [4, 0, 6, 4, 2]
    found = embed_views(columns, store, rows, flip=flip, batch=batch)
    assert set(found) == {"image", "both"}
    assert found["image"].shape == (5, 8)
    assert found["both"].shape == (5, 32)
    for place, row in enumerate(rows):
        expected = by_hand(store, row, flip)
        for name, features in found.items():
            assert features.dtype == torch.float32
            torch.testing.assert_close(features[place], expected[name])


def test_all_rows_by_default(store):
    every = embed_views(columns, store)
    torch.testing.assert_close(every["both"], embed_views(columns, store, torch.arange(7))["both"])
    torch.testing.assert_close(every["both"].norm(dim=1), torch.ones(7))


def test_images_are_summed_before_they_are_brought_to_length_one():
    """An image of length 3 along x, its mirror image of length 1 along y: the sum's direction is (3, 1), not (1, 1)."""
    store = ImageStore(torch.arange(8, dtype=torch.uint8).view(1, 1, 1, 8).expand(1, 3, 1, 8).contiguous())

    def forward(seen):
        mirrored = bool(seen.images[0, 0, 0, 0] > seen.images[0, 0, 0, -1])
        return {"f": torch.tensor([[0.0, 1.0]] if mirrored else [[3.0, 0.0]])}

    torch.testing.assert_close(embed_views(forward, store)["f"], F.normalize(torch.tensor([[3.0, 1.0]]), dim=1))
    assert embed_views(forward, store, flip=False)["f"].tolist() == [[1.0, 0.0]]


def test_scheme_and_sets_reach_the_views(store):
    def area(seen):
        return {"share": torch.stack([seen.clothing.float().mean((1, 2)), torch.ones(len(seen.images))], dim=1)}

    for scheme, sets, values in (("drawn", "shoes", [6]), ("pascal", "upper", [2, 3, 4]), ("lip", "head", [1, 2, 4])):
        chosen = ImageStore(store.images, store.parts.clamp(max=6))
        share = torch.isin(chosen.parts, torch.tensor(values)).float().mean((1, 2))
        found = embed_views(area, chosen, scheme=scheme, sets=sets)["share"]
        torch.testing.assert_close(found[:, 0] / found[:, 1], share)


def test_a_store_without_maps(store):
    bare = ImageStore(store.images)
    seen = []
    embed_views(lambda v: seen.append(v) or columns(v), bare, [3, 1])
    plain, mirrored = seen
    assert torch.equal(plain.images, normalise(store.images[[3, 1]]))
    assert torch.equal(plain.masked, plain.images)
    assert torch.equal(mirrored.masked, plain.images.flip(-1))
    assert plain.clothing.shape == (2, 16, 8)
    assert plain.clothing.dtype == torch.bool
    assert not plain.clothing.any()
    blank = ImageStore(store.images, torch.zeros_like(store.parts))
    for name, features in embed_views(columns, bare).items():
        torch.testing.assert_close(features, embed_views(columns, blank)[name])


def test_a_model_of_one_input_gives_what_embed_gives(store):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 64, 32), generator=seeded(), dtype=torch.uint8)
    store = ImageStore(images, torch.zeros((5, 64, 32), dtype=torch.uint8))
    model = build("resnet-small", weights=None).eval()
    found = embed_views(lambda seen: {"f": model(seen.images)}, store, flip=False, batch=2)["f"]
    torch.testing.assert_close(found, F.normalize(embed(model, store), dim=1), rtol=1e-4, atol=1e-5)
    assert not found.requires_grad


def test_no_gradient_and_the_mode_of_the_caller(store):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 8, 4), torch.nn.Dropout())
    modes = []

    def forward(seen):
        modes.append((model.training, torch.is_grad_enabled()))
        return {"f": model(seen.images)}

    for training in (True, False):
        model.train(training)
        assert not embed_views(forward, store)["f"].requires_grad
        assert model.training is training
    assert modes == [(True, False)] * 2 + [(False, False)] * 2


def test_low_precision_and_zero_embeddings(store):
    half = embed_views(lambda v: {"f": columns(v)["both"].bfloat16()}, store)["f"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.norm(dim=1), torch.ones(7))
    zero = embed_views(lambda v: {"f": torch.zeros(len(v.images), 3)}, store)["f"]
    assert zero.eq(0).all()


def test_no_rows(store):
    assert embed_views(columns, store, []) == {}


def test_what_forward_must_return(store):
    with pytest.raises(ValueError, match="forward returned Tensor, not a dict of named embeddings"):
        embed_views(lambda v: v.images.mean((1, 2)), store)
    with pytest.raises(ValueError, match="forward returned dict, not a dict of named embeddings"):
        embed_views(lambda v: {}, store)
    with pytest.raises(ValueError, match=r"returned 'maps' of shape \(7, 3, 16, 8\) for 7 images; return \(7, d\)"):
        embed_views(lambda v: {"maps": v.images}, store)
    with pytest.raises(ValueError, match=r"returned 'f' of shape \(6, 8\) for 7 images"):
        embed_views(lambda v: {"f": v.images[1:].mean((1, 2))}, store)
    with pytest.raises(ValueError, match="holds the value 7, but 'pascal'"):
        embed_views(columns, ImageStore(store.images, store.parts.fill_(7)), scheme="pascal")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(store):
    devices = []

    def forward(seen):
        devices.append(seen.masked.device.type)
        return columns(seen)

    there = embed_views(forward, store.to("cuda"), [1, 5])
    assert devices == ["cuda"] * 2
    for name, features in embed_views(columns, store, [1, 5]).items():
        assert there[name].device.type == "cpu"
        torch.testing.assert_close(there[name], features)
