"""The report of `reidlib.data.check` as one HTML page without any other file: verdict, numbers, histograms, people."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np

from reidlib.data.check import Report
from reidlib.data.decode import ImageError, decode_image

_PEOPLE, _VIEWS, _SIZE = 8, 10, (64, 32)
_CSS = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ccc}"
    "img{max-width:100%}.wrong{color:#a33c00}.wrong::before{content:'✗ '}.note::before{content:'– '}"
    ".fine::before{content:'✓ ';color:#0072b2}li{list-style:none}ul{padding:0}"
)


def write(report: Report, file, pictures: bool = True) -> Path:
    """Write the page to `file`; returns it. `pictures`: with a contact sheet of a few people, so that the page must be
    treated like the data set itself."""
    parts = [
        f"<h1>{html.escape(report.name)}</h1>",
        f"<p class={'fine' if report.ok else 'wrong'}><strong>{html.escape(report.verdict)}</strong></p>",
        report.counts.to_html(na_rep="–", border=0),
        *(f"<p>{html.escape(line)}</p>" for line in report.sizes()),
        "<ul>",
        *(_item(*group) for group in report.by_remedy()),
        "</ul>",
        _img(histograms(report), "Histograms of images per identity, images per camera and image height"),
    ]
    if pictures and report.root is not None:
        sheet = contact_sheet(report)
        if sheet is not None:
            words = (
                "A few people, one a row. This page shows pictures of the data set: treat it as the data set itself."
            )
            parts += [f"<p>{words}</p>", _img(sheet, "Images of a few people, one person a row")]
    title = html.escape(f"Data check: {report.name}")
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_CSS}</style>{''.join(parts)}"
    )
    file = Path(file)
    file.write_text(page, encoding="utf-8")
    return file


def _item(wrong: bool, remedy: str, sentences: list[str]) -> str:
    words = ".<br>".join(html.escape(sentence) for sentence in sentences)
    return f"<li class={'wrong' if wrong else 'note'}>{words}. <em>{html.escape(remedy)}.</em></li>"


def histograms(report: Report) -> bytes:
    """PNG: images per identity (the thesis's Fig. 3.3), images per camera and, where files were read, image heights."""
    import seaborn as sns
    from matplotlib.figure import Figure

    people = report.frame[report.frame["pid"] >= 1].drop_duplicates("path")
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots(1, 3 if report.files is not None else 2)
    whole = people.assign(part=np.where(people["split"].isin(["train", "val"]), "training", "test"))
    each = whole.groupby(["part", "pid"]).size().rename("images").reset_index()
    sns.histplot(each, x="images", hue="part", discrete=each["images"].max() < 50, ax=axes[0], palette="colorblind")
    axes[0].set(xlabel="images of an identity", ylabel="identities")
    cameras = people.groupby("camid").size()
    sns.barplot(x=cameras.index + 1, y=cameras.to_numpy(), ax=axes[1], color="#0072B2")
    axes[1].set(xlabel="camera", ylabel="images")
    if report.files is not None:
        heights = report.files["height"].dropna()
        few = heights.nunique() < 10
        sns.histplot(heights, discrete=few, bins="auto" if few else 30, ax=axes[2], color="#0072B2")
        axes[2].set(xlabel="image height in pixels", ylabel="images")
    for axis in axes:
        sns.despine(ax=axis)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def contact_sheet(report: Report, seed: int = 0) -> bytes | None:
    """JPEG of up to 8 people, chosen by seed, up to 10 images of each; None when no image can be read."""
    from PIL import Image

    people = report.frame[report.frame["pid"] >= 1].drop_duplicates("path")
    pids = people["pid"].unique()
    chosen = np.sort(np.random.default_rng(seed).permutation(pids)[:_PEOPLE])
    height, width = _SIZE
    sheet = np.full((len(chosen) * (height + 2), _VIEWS * (width + 2), 3), 255, np.uint8)
    found = False
    for row, pid in enumerate(chosen):
        mine = people.loc[people["pid"] == pid, "path"]
        spread = mine.iloc[np.unique(np.linspace(0, len(mine) - 1, min(_VIEWS, len(mine))).astype(int))]
        for column, path in enumerate(spread):
            try:
                image = decode_image(report.root / path, _SIZE).permute(1, 2, 0).numpy()
            except ImageError:
                continue
            found = True
            y, x = row * (height + 2), column * (width + 2)
            sheet[y : y + height, x : x + width] = image
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "JPEG", quality=85)
    return content.getvalue() if found else None


def _img(content: bytes, words: str) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f'<img alt="{html.escape(words)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
