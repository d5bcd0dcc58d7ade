"""Widgets that also run without a kernel: one ES module, live through anywidget, or inlined in self-contained HTML."""

from __future__ import annotations

import base64
import html
import json
import uuid
from functools import cache
from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


@cache
def module(name: str) -> str:
    """The widget's one ES module: its style, the helpers that all widgets share, and `name`.js."""
    style = "".join((HERE / f"{part}.css").read_text(encoding="utf-8") for part in ("base", name))
    own = {
        "explorer": ("rankings", "curve", "querylist", "results", "explorer"),
        "batches": ("batchmap", "batches"),
    }
    parts = ("dom", *own.get(name, (name,)))
    code = "\n".join((HERE / f"{part}.js").read_text(encoding="utf-8") for part in parts)
    return f"const STYLE = {json.dumps(style)};\n{code}\nexport default {{ render }};\n"


class KernelFree(anywidget.AnyWidget):
    """Base of the widgets. `meta` is what to show as plain data; `blob` holds pictures and numbers as bytes.

    Whatever `STATE` names is a trait that both sides may change; a static page starts from its present value.
    """

    STATE: tuple[str, ...] = ()
    MODULE = ""
    meta = traitlets.Dict().tag(sync=True)
    blob = traitlets.Bytes().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init_subclass__(cls, **options):
        if "MODULE" in cls.__dict__:
            cls._esm = module(cls.MODULE)
        super().__init_subclass__(**options)

    def to_html(self) -> str:
        """Self-contained HTML: the module, a model without a kernel, and the data. It asks no host for anything."""
        key = uuid.uuid4().hex[:12]
        state = {name: getattr(self, name) for name in ("meta", "message", *self.STATE)}
        text = json.dumps(state, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        shim = (HERE / "shim.js").read_text(encoding="utf-8")
        described = html.escape(self.describe())
        return (
            "<style>.text_html:has(> .reidlib-widget) { background: none !important; padding: 0 !important }</style>\n"
            f'<div id="reid-{key}" class="reidlib-widget" style="margin: 0.75em 0">'
            f"<p>{described} It needs JavaScript, which is off or did not start here.</p></div>\n"
            f'<script type="application/json" id="reid-{key}-state">{text}</script>\n'
            f'<script type="text/plain" id="reid-{key}-blob">{base64.b64encode(self.blob).decode()}</script>\n'
            f'<script type="module">\n{module(self.MODULE)}{shim}start("reid-{key}", render);\n</script>'
        )

    def page(self, title: str | None = None) -> str:
        """A whole HTML page with this widget alone, to be written to a file and sent to somebody."""
        name = html.escape(title or self.describe().split(":")[0].rstrip("."))
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
            "<style>body { margin: 1rem; font: 16px/1.5 system-ui, sans-serif; background: #fff; color: #222 }\n"
            "@media (prefers-color-scheme: dark) { body { background: #14181e; color: #ddd } }</style></head>\n"
            f"<body><main><h1>{name}</h1>\n{self.to_html()}\n</main></body></html>\n"
        )

    def describe(self) -> str:
        """One sentence, for readers without JavaScript and for plain text."""
        return "An interactive figure."

    def __repr__(self) -> str:
        return self.describe()

    def _repr_mimebundle_(self, **options):
        live = super()._repr_mimebundle_(**options)
        live, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**live, "text/plain": self.describe(), "text/html": self.to_html()}, metadata


class Packer:
    """Collects arrays and files in one blob; `index` says where each lies: [type, offset, length in bytes]."""

    def __init__(self):
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, content, kind: str) -> list:
        """Append bytes (kind: a MIME type) or a NumPy array (kind: u1, u2, u4, i4 or f4); returns its entry."""
        data = content if isinstance(content, bytes) else content.astype(f"<{kind}").tobytes()
        pad = -self.size % 4
        self.parts += [b"\0" * pad, data]
        entry = [kind, self.size + pad, len(data)]
        self.size += pad + len(data)
        return entry

    def blob(self) -> bytes:
        return b"".join(self.parts)
