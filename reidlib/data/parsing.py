"""Label maps of body and clothes: classes of SCHP's three label sets and of the drawn people, and named sets of them.

A label map is an 8-bit grey or palette picture of an image's size, whose pixel values are class numbers, 0 being the
background. Readers find it at `parts/PATH_OF_THE_IMAGE.png`, and it is kept as it is in the image store's `parts`. SCHP
(Li et al., Self-Correction for Human Parsing, PAMI 2020) writes such files with one of three sets of classes: `lip`
(20), `atr` (18), `pascal` (7). `drawn` are the exact maps of `reidlib.data.pedestrians` (8).

Left and right are the person's own. `pascal` knows body parts and not clothes: its set "clothes" is torso, arms and
legs, and contains bare skin.
"""

import numpy as np
import torch
from torch import Tensor

CLASSES = {
    "lip": (
        "background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "trousers",
        "jumpsuit", "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg", "left shoe",
        "right shoe",
    ),
    "atr": (
        "background", "hat", "hair", "sunglasses", "upper clothes", "skirt", "trousers", "dress", "belt", "left shoe",
        "right shoe", "face", "left leg", "right leg", "left arm", "right arm", "bag", "scarf",
    ),
    "pascal": ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs"),
    "drawn": ("background", "head", "hair", "upper", "lower", "limbs", "shoes", "bag"),
}  # fmt: skip

_SETS = {
    "upper": {"upper clothes", "dress", "coat", "jumpsuit", "scarf", "upper", "torso", "upper arms", "lower arms"},
    "lower": {"trousers", "skirt", "socks", "belt", "lower", "upper legs", "lower legs"},
    "shoes": {"left shoe", "right shoe", "shoes"},
    "head": {"hat", "hair", "sunglasses", "face", "head"},
    "skin": {"left arm", "right arm", "left leg", "right leg", "limbs"},
    "carried": {"bag", "glove"},
}
SETS = ("person", "clothes", "identity", *_SETS)


def classes(scheme: str) -> tuple[str, ...]:
    """Names of the classes of a label set, index = value in the map. Raises ValueError."""
    if scheme not in CLASSES:
        raise ValueError(f"unknown label set {scheme!r}; the label sets are {', '.join(CLASSES)}")
    return CLASSES[scheme]


def members(scheme: str, name: str) -> tuple[int, ...]:
    """Class numbers of a named set: "person" all but the background; "clothes" what is changed with the outfit (upper,
    lower, shoes); "identity" the person without it (head and skin); or one of upper, lower, shoes, head, skin, carried.

    Every class but the background is in exactly one of the last six, which may be empty (Pascal has no shoes).
    """
    known = classes(scheme)
    if name not in SETS:
        raise ValueError(f"unknown set {name!r} of classes; the sets are {', '.join(SETS)}")
    parts = {"person": tuple(_SETS), "clothes": ("upper", "lower", "shoes"), "identity": ("head", "skin")}
    wanted = set().union(*(_SETS[part] for part in parts.get(name, (name,))))
    return tuple(value for value, label in enumerate(known) if label in wanted)


def select(parts: Tensor, scheme: str, name: str) -> Tensor:
    """Which pixels of uint8 maps (b, h, w) belong to a named set: bool (b, h, w). Raises ValueError (see `check`)."""
    check(parts, scheme)
    table = torch.zeros(256, dtype=torch.bool, device=parts.device)
    table[list(members(scheme, name))] = True
    return table[parts.long()]


def check(parts: Tensor, scheme: str, name: str = "the label map") -> None:
    """Raise ValueError when a map holds a value that is no class of the label set."""
    count = len(classes(scheme))
    highest = int(parts.max()) if parts.numel() else 0
    if highest >= count:
        fits = [other for other in CLASSES if highest < len(CLASSES[other])]
        hint = f"is it of the label set {' or '.join(fits)}?" if fits else "is it a picture in colours?"
        raise ValueError(f"{name} holds the value {highest}, but {scheme!r} has the classes 0..{count - 1}; {hint}")


def check_file(mask, image, scheme: str | None = None) -> int:
    """Check the file of a label map against its image's file: readable, of the same size, values in range.

    Returns the highest value. `scheme` None allows any of the label sets. Raises ValueError that names the file.
    """
    from PIL import Image

    try:
        with Image.open(mask) as file, Image.open(image) as picture:
            size, wanted, mode, values = file.size, picture.size, file.mode, np.asarray(file)
    except Exception as error:  # Pillow raises many kinds for broken files
        raise ValueError(f"the label map {mask} of {image} cannot be read ({error}); make it again") from error
    if mode not in ("L", "P"):
        raise ValueError(f"the label map {mask} has mode {mode!r}; save class numbers as an 8-bit grey or palette png")
    if size != wanted:
        raise ValueError(
            f"the label map {mask} has {size[0]}x{size[1]} pixels and its image {wanted[0]}x{wanted[1]}; make it again "
            "from this image"
        )
    widest = scheme or max(CLASSES, key=lambda known: len(CLASSES[known]))
    check(torch.from_numpy(values.copy()), widest, f"the label map {mask}")
    return int(values.max())
