"""How many people, cameras and pictures the drawn data sets have, and how hard they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A drawn data set. ``dataclasses.replace(PRESETS["market-like"], gap=0.5)`` makes a variant of the same people.

    name: seeds the streams: two names share no person and no camera.
    train_ids, test_ids: numbers of identities; no identity is in both.
    cameras: number of cameras.
    cameras_per_id: fewest and most cameras that see one person (one outfit of a person, if ``outfits`` has more than
        one).
    images_per_camera: fewest and most images of one person (and outfit) under one camera.
    skewed: few cameras see many people and low image counts are the common ones, as in real data sets.
    gap: strength in [0, 1] of everything that makes a camera differ from another: light, colour, blur, resolution,
        noise, clutter. 0: all cameras alike but for their scenes; 0.3: an ordinary data set; 1: hardly solvable.
    occluded: share of images in which a pole, bench, bush, box or passer-by hides a part of the person.
    outfits: fewest and most outfits of one person.
    changing: share of persons who own more than one outfit (if ``outfits`` allows it).
    shared_looks: share of outfits whose design another person of the same split wears too.
    wrong_boxes: share of images with a badly placed bounding box.
    distractors: share of gallery images with pid 0 (background, body parts, strangers).
    junk: share of gallery images with pid -1 (badly cropped test people).
    extra_ids: further test identities that are in the gallery and never in the query.
    protocol: how test images become query and gallery. ``market``: one query per person, outfit and camera that has a
        second image, the rest is gallery. ``pairs``: camera 0 is query, camera 1 gallery. ``both``: every test image
        is in both. ``prcc``: camera A is gallery, B and C are query; A and B see the first outfit, C the second.
        ``none``: train only.
    """

    name: str
    train_ids: int
    test_ids: int
    cameras: int
    cameras_per_id: tuple[int, int]
    images_per_camera: tuple[int, int]
    skewed: bool = True
    gap: float = 0.3
    occluded: float = 0.12
    outfits: tuple[int, int] = (1, 1)
    changing: float = 1.0
    shared_looks: float = 0.15
    wrong_boxes: float = 0.02
    distractors: float = 0.0
    junk: float = 0.0
    extra_ids: int = 0
    protocol: str = "market"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"preset {self.name!r}: protocol {self.protocol!r} is unknown; use one of {', '.join(PROTOCOLS)}"
            )
        if not 0 <= self.gap <= 1:
            raise ValueError(f"preset {self.name!r}: gap is {self.gap}, must be in [0, 1]")
        low, high = self.cameras_per_id
        if not 1 <= low <= high <= self.cameras:
            raise ValueError(
                f"preset {self.name!r}: cameras_per_id {self.cameras_per_id} does not fit {self.cameras} cameras"
            )
        if self.protocol != "none" and low < 2:
            raise ValueError(
                f"preset {self.name!r}: every person must be seen by two cameras, cameras_per_id starts at {low}"
            )
        if not 1 <= self.images_per_camera[0] <= self.images_per_camera[1]:
            raise ValueError(
                f"preset {self.name!r}: images_per_camera {self.images_per_camera} must be (fewest >= 1, most)"
            )


PROTOCOLS = ("market", "pairs", "both", "prcc", "none")

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("market-like", 130, 100, 6, (2, 6), (2, 5), distractors=0.15, junk=0.10),
        Preset("duke-like", 100, 100, 8, (2, 6), (2, 5), gap=0.5, occluded=0.30, extra_ids=40),
        Preset("msmt17-like", 250, 250, 15, (3, 9), (1, 4), gap=0.8, occluded=0.15),
        Preset("viper-like", 60, 60, 2, (2, 2), (1, 1), occluded=0.03, wrong_boxes=0.0, protocol="pairs"),
        Preset("cuhk03-like", 120, 20, 2, (2, 2), (4, 5), protocol="both"),
        Preset("prcc-like", 60, 30, 3, (3, 3), (8, 8), gap=0.15, occluded=0.05, outfits=(2, 2), protocol="prcc"),
        Preset("ltcc-like", 40, 40, 8, (2, 4), (3, 3), gap=0.2, occluded=0.08, outfits=(1, 4), changing=0.6),
        Preset("warmstart", 200, 0, 6, (2, 6), (2, 4), protocol="none"),
    )
}
