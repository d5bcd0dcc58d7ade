"""The figures that chapters share. Right is blue with a tick, wrong is orange with a cross: never colour alone."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch

from reidlib.saliency import upsample

RIGHT, WRONG, JUNK, QUERY = "#0072B2", "#D55E00", "#888888", "#222222"
MARKS = {True: ("✓", RIGHT), False: ("✗", WRONG)}


def style() -> None:
    """Seaborn's settings of the book: white, colour-blind safe, readable at phone width."""
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": 11, "axes.labelsize": 10})


def picture(axis, image, title: str = "", colour: str | None = None) -> None:
    """One uint8 image (3, h, w) without ticks; `colour` draws a frame, `title` goes above in the same colour."""
    axis.imshow(np.asarray(image).transpose(1, 2, 0), interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set(visible=colour is not None, color=colour, linewidth=2.5)
    if title:
        axis.set_title(title, color=colour or "black", fontsize=8, pad=4)


def heat(image, weights, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A picture under a map of weights: uint8 (3, h, w).

    image: uint8 (3, h, w), shown in grey; weights: float (h', w'), brought to its size bilinearly and coloured, dark at
    `low` and bright yellow at `high`.
    """
    image = np.asarray(image)
    spread = upsample(torch.as_tensor(np.asarray(weights, np.float32))[None], image.shape[1:])
    share = (spread[0].numpy() - low) / max(high - low, 1e-9)
    colours = plt.get_cmap("inferno")(share.clip(0, 1))[..., :3].transpose(2, 0, 1)
    return (0.45 * image.mean(0) + 0.55 * 255 * colours).round().astype(np.uint8)


def grid(rows: list[list], titles=None, labels=None, colours=None, width: float = 0.62):
    """A table of images: `rows` of uint8 (3, h, w) images or None; `titles` and `colours` of the same shape.

    `labels` stand left of each row. Returns the figure.
    """
    columns = max(map(len, rows))
    height, breadth = next(np.asarray(i).shape[1:] for row in rows for i in row if i is not None)
    lines = 1 + max((text.count("\n") for row in titles for text in row), default=0) if titles else 0
    above = 0.05 + 0.16 * lines  # inches
    left = 1.5 if labels else 0.1
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(left + columns * (width + 0.06), len(rows) * (width * height / breadth + above) + 0.05),
        squeeze=False,
    )
    for r, row in enumerate(rows):
        for c in range(columns):
            if c >= len(row) or row[c] is None:
                axes[r, c].axis("off")
                continue
            picture(axes[r, c], row[c], titles[r][c] if titles else "", colours[r][c] if colours else None)
        if labels:
            text = "\n".join(textwrap.wrap(labels[r], 18))
            axes[r, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
    figure.subplots_adjust(
        left=left / figure.get_figwidth(),
        right=0.995,
        bottom=0.03 / figure.get_figheight(),
        top=1 - above / figure.get_figheight(),
        wspace=0.08,
        hspace=above / (width * height / breadth),
    )
    return figure


def drawn(preset: str, choose, size: tuple[int, int] = (128, 64), data_seed: int = 0):
    """Only some images of a drawn data set, since a whole one takes a while at picture size.

    choose: a function of the frame that returns lists of its rows. Returns the frame, and in the same lists the images
    uint8 (3, h, w) and part maps uint8 (h, w).
    """
    from reidlib.data.pedestrians import PRESETS
    from reidlib.data.pedestrians.compose import plan
    from reidlib.data.pedestrians.draw import frame_of, render

    whole = plan(PRESETS[preset], data_seed)
    frame, shots = frame_of(whole)
    chosen = choose(frame)
    flat = [row for rows in chosen for row in rows]
    images, parts = (iter(found) for found in render(whole, size, shots[flat]))
    return frame, [[next(images) for _ in rows] for rows in chosen], [[next(parts) for _ in rows] for rows in chosen]


def by_camera(frame, people: int, each: int) -> list[list[int]]:
    """Rows of the test people that most cameras saw, a list a person, each camera once at most."""
    test = frame[frame["split"].isin(["query", "gallery"]) & (frame["pid"] > 0)]
    cameras = test.groupby("pid")["camid"].nunique().sort_values(ascending=False, kind="stable")
    return [test[test["pid"] == pid].drop_duplicates("camid").index[:each].tolist() for pid in cameras.index[:people]]


def ranked_lists(images, query_rows, gallery_rows, right, labels=None, ranks=None):
    """Queries and what was ranked first for them (Figs 4.4, 4.6 and 4.9 of the thesis).

    Parameters
    ----------
    images: uint8 (n, 3, h, w), the data set's store; query_rows (q,): rows of the queries;
    gallery_rows (q, k): rows of the results in order; right (q, k) bool: same person or not.
    """
    rows, titles, colours = [], [], []
    for query, results, marks in zip(query_rows, gallery_rows, right, strict=True):
        rows.append([images[query], *(images[g] for g in results)])
        titles.append(["query", *(f"{i + 1} {MARKS[bool(m)][0]}" for i, m in enumerate(marks))])
        colours.append([QUERY, *(MARKS[bool(m)][1] for m in marks)])
    return grid(rows, titles, labels, colours)


def curves(lines: dict[str, tuple], xlabel: str, ylabel: str, title: str = "", ax=None, marker=None):
    """Named lines with a band: {name: (x, mean, low, high)}; low and high may be None. Returns the axes."""
    ax = ax or plt.subplots(figsize=(6.4, 3.6))[1]
    if not lines:
        ax.annotate("not run", (0.5, 0.5), xycoords="axes fraction", ha="center", color="dimgrey")
    styles = ["-", "--", "-.", ":"]
    for i, (name, (x, mean, low, high)) in enumerate(lines.items()):
        (line,) = ax.plot(x, mean, styles[i % 4], label=name, marker=marker, markersize=4)
        if low is not None:
            ax.fill_between(x, low, high, alpha=0.18, color=line.get_color(), linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if lines:
        ax.legend(frameon=False, fontsize=9)
    sns.despine(ax=ax)
    return ax


def smooth(values, window: int = 15) -> np.ndarray:
    """Running mean over `window` steps, shorter at the start."""
    total = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    stop = np.arange(1, len(total))
    start = np.maximum(0, stop - window)
    return (total[stop] - total[start]) / (stop - start)


def dots(table, x: str, low: str, high: str, label: str, xlabel: str, hue: str | None = None):
    """One dot and its interval a row, in the table's order; the way the book shows every comparison of arms."""
    figure, ax = plt.subplots(figsize=(6.4, 0.34 * max(1, len(table)) + 0.9))
    places = np.arange(len(table))[::-1]
    groups = table[hue].tolist() if hue else [None] * len(table)
    colours = dict(zip(dict.fromkeys(groups), sns.color_palette("colorblind"), strict=False))
    for place, group, (_, row) in zip(places, groups, table.iterrows(), strict=True):
        if np.isfinite(row[low]) and np.isfinite(row[high]):
            ax.plot([row[low], row[high]], [place, place], color=colours[group], linewidth=2, alpha=0.6)
        ax.plot(row[x], place, "o", color=colours[group])
    if hue:
        handles = [plt.Line2D([], [], marker="o", color=c, label=g) for g, c in colours.items()]
        ax.legend(handles=handles, frameon=False, fontsize=9, loc="best")
    ax.set(yticks=places, yticklabels=table[label], xlabel=xlabel)
    ax.grid(axis="y", alpha=0.3)
    sns.despine(ax=ax, left=True)
    figure.tight_layout()
    return figure
