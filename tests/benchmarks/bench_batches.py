"""Augmented batches of training images against torchreid's pipeline.

torchreid opens, decodes and resizes a file for each image of each batch, and gives floats. reidlib does the first part
once, before the clock starts (see the case "decoding"), and can leave the last to the device. Their crops differ too:
torchreid enlarges an image by an eighth and crops, reidlib pads it by 10 pixels and crops.
"""

import io
import random
from pathlib import Path

import numpy as np
import torch
from side_by_side import Case, Way, main

SIZE = (256, 128)
BATCH = 64
GEOMETRY = ["random_flip", "random_crop"]  # of torchreid


def files(size, folder):
    """Drawn pedestrians as JPEG files of Market-1501's 128 x 64 pixels."""
    from PIL import Image

    from reidlib.data.pedestrians import PRESETS
    from reidlib.data.pedestrians.compose import plan
    from reidlib.data.pedestrians.draw import render

    scene = plan(PRESETS["market-like"])
    rows = np.linspace(0, len(scene.shots["pid"]) - 1, 256 if size == "full" else 64).astype(int)
    images = render(scene, (128, 64), rows)[0]
    for row, image in enumerate(np.asarray(images)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{row:04d}.jpg", quality=90)
    return {"folder": str(folder)}


def jpegs(folder):
    return sorted(str(path) for path in Path(folder).glob("*.jpg"))


def drawn_rows(count):
    """Row numbers of one batch after the other."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(count, (BATCH,), generator=generator).tolist()


def reidlib(finish):
    def prepare(folder):
        from reidlib.data.augment import Augment
        from reidlib.data.store import ImageStore

        store = ImageStore.from_files(jpegs(folder), SIZE, progress=False)
        augment = Augment(flip=0.5, padding=10, erasing=0.5)
        rows, generator = drawn_rows(len(store)), torch.Generator().manual_seed(1)

        def run():
            images, parts = store.batch(next(rows))
            if finish:
                return {"images": augment(images, parts, generator)[0].numpy()}
            return {"images": augment.geometry(images, parts, generator)[0].numpy()}

        return run

    return prepare


def torchreid(from_memory, transforms):
    def prepare(folder):
        from torchreid.reid.data.transforms import build_transforms
        from torchreid.reid.utils.tools import read_image

        random.seed(1)
        transform = build_transforms(*SIZE, transforms)[0]
        paths = jpegs(folder)
        held = [read_image(path) for path in paths] if from_memory else None
        rows = drawn_rows(len(paths))

        def run():
            images = held if from_memory else None
            return {
                "images": torch.stack(
                    [transform(images[row] if images else read_image(paths[row])) for row in next(rows)]
                ).numpy()
            }

        return run

    return prepare


def copied(dtype):
    def prepare(folder):
        images = torch.zeros(BATCH, 3, *SIZE, dtype=dtype)
        place = torch.zeros_like(images)
        return lambda: {"images": place.copy_(images).numpy()}

    return prepare


def decode_reidlib(folder):
    from reidlib.data.store import ImageStore

    paths = jpegs(folder)
    threads = torch.get_num_threads()
    return lambda: {"images": ImageStore.from_files(paths, SIZE, workers=threads, progress=False).images.numpy()}


def decode_torchreid(folder):
    """Reading and resizing as in its pipeline for evaluation, kept as bytes."""
    from torchreid.reid.utils.tools import read_image
    from torchvision.transforms import Resize

    paths, resize = jpegs(folder), Resize(SIZE)
    return lambda: {"images": np.stack([np.asarray(resize(read_image(path))).transpose(2, 0, 1) for path in paths])}


def decode_only(folder):
    from PIL import Image

    held = [Path(path).read_bytes() for path in jpegs(folder)]
    return lambda: {"pixels": np.array([np.asarray(Image.open(io.BytesIO(data))).size for data in held])}


def alike(results):
    """Draws differ, so only shapes can be equal, and means be near: (x - mean) / std over some thousand pixels."""
    made = {name: result["images"] for name, result in results.items() if name != "copy the bytes"}
    means = []
    for name, images in made.items():
        assert images.shape == (BATCH, 3, *SIZE), f"{name} gave {images.shape}"
        if images.dtype == np.uint8:
            images = (images / 255 - 0.45) / 0.225
        means.append(float(images.mean()))
    assert max(means) - min(means) < 0.5, f"{means}"
    return {"means apart": max(means) - min(means)}


def same_pixels(results):
    """Two resizers of one kind: nearly all pixels within one grey level."""
    ours, other = (result["images"].astype(int) for result in results.values() if "images" in result)
    apart = np.abs(ours - other)
    assert (apart <= 1).mean() > 0.99, f"{(apart <= 1).mean()}"
    return {"grey levels": apart.max(), "share of equal pixels": (apart == 0).mean()}


def batches(name, words, finish, steps, aim, limit):
    return Case(
        name=name,
        title=f"augmented batch, {words}",
        size=f"{BATCH} images of {SIZE[0]} x {SIZE[1]}: flip, crop" + (", erasing" if finish else ""),
        ways=(
            Way("reidlib", reidlib(finish), rounds=9),
            Way("torchreid, from files", torchreid(False, steps), "torchreid 0.2.5, to floats", peer=True),
            Way("copy the bytes", copied(torch.float32 if finish else torch.uint8), "torch.Tensor.copy_", rounds=9),
            Way(
                "torchreid, from memory",
                torchreid(True, steps),
                "torchreid 0.2.5, decoded before, to floats",
                peer=True,
            ),
        ),
        inputs=files,
        check=alike,
        floor="copy the bytes",
        at_least=aim,
        limit=limit,
        threads=("one",),
    )


FLOAT = "four bytes a number: they are written once, and changed in place"
BYTES = "two copies: the rows of the store, then slices of these"
CASES = [
    batches("batches-float", "normalised float32", True, [*GEOMETRY, "random_erase"], 10, FLOAT),
    batches("batches-uint8", "bytes for the device, which normalises", False, GEOMETRY, 30, BYTES),
    Case(
        name="decoding",
        title="reading, decoding and resizing files, once for a run",
        size=f"256 JPEG files of 128 x 64 to {SIZE[0]} x {SIZE[1]}",
        ways=(
            Way("reidlib", decode_reidlib, rounds=5),
            Way("torchreid", decode_torchreid, "torchreid 0.2.5", peer=True),
            Way("decoding alone", decode_only, "Pillow"),
        ),
        inputs=files,
        check=same_pixels,
        floor="decoding alone",
        limit="the JPEG decoder and the resizer; torchreid does this for each image of each batch",
    ),
]

if __name__ == "__main__":
    main(__file__, CASES)
