"""ipywidgets controls for figures in a live notebook that are a picture in the static book."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from itertools import product

MOST = 36  # combinations that a static page draws


def choices(draw: Callable, *, static: str = "first", alt: str = "", **options: Sequence):
    """Controls over `draw(**values)`, a function that returns a matplotlib figure (or axes).

    options: name=values, a dropdown each. Live, choosing draws anew. In the static book the figure of the first values
    stands there as a picture, or with static="all" one for each combination (at most 36), with choosers that need no
    kernel. Raises ValueError for an empty list of values, or too many combinations.
    """
    empty = [name for name, values in options.items() if not len(values)]
    if empty or not options:
        raise ValueError(f"{empty[0]!r} has no values to choose from" if empty else "there is nothing to choose from")
    if static not in ("first", "all"):
        raise ValueError(f"static={static!r} is unknown; pass 'first' or 'all'")
    count = 1
    for values in options.values():
        count *= len(values)
    if static == "all" and count > MOST:
        raise ValueError(f"{count} combinations are too many pictures, a page holds {MOST}; use static='first'")
    return Choices(draw, {name: list(values) for name, values in options.items()}, static, alt)


class Choices:
    """What `choices` returns: shown live by ipywidgets, else as HTML."""

    def __init__(self, draw: Callable, options: dict[str, list], static: str, alt: str):
        self.draw, self.options, self.static, self.alt = draw, options, static, alt
        self._view = None

    def picture(self, **values) -> bytes:
        """The figure for these values, as PNG."""
        import matplotlib.pyplot as plt

        made = self.draw(**values)
        figure = plt.gcf() if made is None else getattr(made, "figure", None) or made
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight")
        plt.close(figure)
        return buffer.getvalue()

    def to_html(self) -> str:
        """Pictures without a kernel: the first choice, or all of them with choosers and a few lines of script."""
        combinations = list(product(*self.options.values())) if self.static == "all" else [self._first()]
        images = "".join(self._image(values, i) for i, values in enumerate(combinations))
        if len(combinations) == 1:
            return f"<figure>{images}</figure>"
        fields = "".join(
            f'<label>{html.escape(name)} <select aria-label="{html.escape(name, quote=True)}">'
            f"{''.join(f'<option>{html.escape(str(v))}</option>' for v in values)}"
            "</select></label> "
            for name, values in self.options.items()
        )
        script = (
            "(f => { const s = [...f.querySelectorAll('select')], p = [...f.querySelectorAll('img')];"
            " const show = () => { const at = s.reduce((n, x) => n * x.length + x.selectedIndex, 0);"
            " p.forEach((x, i) => { x.hidden = i !== at; }); };"
            " s.forEach(x => x.addEventListener('change', show)); show(); })(document.currentScript.parentNode)"
        )
        return f"<figure><div>{fields}</div>{images}<script>{script}</script></figure>"

    def _first(self) -> tuple:
        return tuple(values[0] for values in self.options.values())

    def _image(self, values: tuple, number: int) -> str:
        named = dict(zip(self.options, values, strict=True))
        text = ", ".join(f"{name} {value}" for name, value in named.items())
        alt = html.escape(f"{self.alt} ({text})" if self.alt else text, quote=True)
        data = base64.b64encode(self.picture(**named)).decode()
        hidden = " hidden" if number else ""
        return f'<img src="data:image/png;base64,{data}" alt="{alt}" style="max-width: 100%"{hidden}>'

    def _live(self):
        import ipywidgets
        from IPython.display import Image

        dropdown = ipywidgets.Dropdown
        controls = {name: dropdown(options=values, description=name) for name, values in self.options.items()}
        output = ipywidgets.Output()

        def show(_=None):
            values = {name: control.value for name, control in controls.items()}
            made = Image(self.picture(**values))
            output.outputs = ()
            output.append_display_data(made)

        for control in controls.values():
            control.observe(show, "value")
        show()
        return ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), output])

    def _repr_mimebundle_(self, **options):
        if self._view is None:
            self._view = self._live()
        live = self._view._repr_mimebundle_(**options)
        live, metadata = live if isinstance(live, tuple) else (live or {}, {})
        text = ", ".join(f"{name}: {values}" for name, values in self.options.items())
        return {**live, "text/plain": f"Figure with choices of {text}", "text/html": self.to_html()}, metadata
