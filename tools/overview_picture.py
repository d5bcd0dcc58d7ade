"""Draw the README's picture, book/figures/overview.png: people under several cameras, and one ranked list.

python tools/overview_picture.py        # about a minute, most of it the warm start if that is not cached
"""

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TARGET = ROOT / "book" / "figures" / "overview.png"


def main() -> None:
    matplotlib.use("Agg")
    from reidlib import figures

    figures.style()
    _, people, _ = figures.drawn("market-like", lambda frame: figures.by_camera(frame, 4, 6))
    top = as_image(figures.grid([people[0] + people[1], people[2] + people[3]]))
    bottom = as_image(ranked())
    bottom = bottom.resize((top.width, round(bottom.height * top.width / bottom.width)))
    picture = Image.new("RGB", (top.width, top.height + bottom.height), "white")
    picture.paste(top, (0, 0))
    picture.paste(bottom, (0, top.height))
    TARGET.parent.mkdir(exist_ok=True)
    picture.quantize(192, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(ROOT)}: {picture.width}x{picture.height}, {TARGET.stat().st_size / 1000:.0f} kB")


def ranked():
    """The list of a query at the 60% point of average precision, by the warm start's features."""
    from reidlib import data, figures, models
    from reidlib.data.frame import rows_of
    from reidlib.embedding import embed
    from reidlib.retrieval import CrossCamera, evaluate
    from reidlib.warmstart import warm_start

    people = data.load("market-like")
    rows = {split: rows_of(people.frame, split) for split in ("query", "gallery")}
    query, gallery = (people.frame[people.frame["split"] == split] for split in rows)
    model = models.build("resnet-small", weights=warm_start("resnet-small"))
    features = (torch.nn.functional.normalize(embed(model, people.store, r, trunk=True)) for r in rows.values())
    scores = evaluate(*features, query, gallery, CrossCamera(), top_k=11)
    pick = np.argsort(scores.ap_std, kind="stable")[int(0.6 * len(scores.ap_std))]
    chosen = [rows["query"][pick], *rows["gallery"][scores.order[pick]]]
    right = gallery["pid"].to_numpy()[scores.order[pick]] == query["pid"].iloc[pick]
    _, (images,), _ = figures.drawn("market-like", lambda frame: [chosen])
    return figures.ranked_lists(images, [0], [range(1, len(images))], [right])


def as_image(figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
