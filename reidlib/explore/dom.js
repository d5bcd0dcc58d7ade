// What all widgets share: elements, the packed data, sprites, and the page's light or dark theme.

/** An element: h("button", { class: "x", onclick: f, "aria-label": "…" }, child, …); null and false children are left out. */
function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string" && !tag.startsWith("svg:")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array };

/** The bytes of a DataView, aligned so that typed arrays can lie on them. */
function bytesOf(blob) {
  if (!blob) return new Uint8Array(0);
  const bytes = blob instanceof DataView ? new Uint8Array(blob.buffer, blob.byteOffset, blob.byteLength) : new Uint8Array(blob);
  return bytes.byteOffset % 4 ? bytes.slice() : bytes;
}

/** entry = [type, offset, length in bytes]: a typed array on the bytes. */
function numbersAt(bytes, [type, offset, length]) {
  if (offset + length > bytes.byteLength) throw new Error("its data is cut off; build this page again");
  const Type = TYPES[type];
  return new Type(bytes.buffer, bytes.byteOffset + offset, length / Type.BYTES_PER_ELEMENT);
}

/** Pictures packed as files: addresses that live as long as the widget. */
function picturesAt(bytes, entries) {
  return entries.map(([type, offset, length]) => {
    if (offset + length > bytes.byteLength) throw new Error("its pictures are cut off; build this page again");
    return URL.createObjectURL(new Blob([bytes.subarray(offset, offset + length)], { type }));
  });
}

/** Thumbnails from sprite sheets; `rules` is a style sheet that gives each sheet a class. */
function spritesOf(sheets, bytes) {
  const addresses = picturesAt(bytes, sheets.files), missing = new Set(sheets.missing), { columns, perSheet } = sheets;
  const total = sheets.count;
  const lines = (sheet) => Math.ceil(Math.min(perSheet, total - sheet * perSheet) / columns);
  const rules = addresses.map((address, i) =>
    `.sheet${i} { background-image: url("${address}"); background-size: ${columns * 100}% ${lines(i) * 100}% }`).join("\n");
  return {
    rules,
    some: addresses.length > 0,
    ratio: sheets.size[1] / sheets.size[0],
    /** A picture of thumbnail i, or a grey figure where there is none. */
    thumb(i, label, extra = "") {
      const element = h("span", { class: `thumb ${extra}`, ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) });
      if (!addresses.length || missing.has(i)) {
        element.classList.add("none");
        if (missing.has(i)) element.title = "this image could not be read";
        return element;
      }
      const sheet = Math.floor(i / perSheet), place = i % perSheet, many = lines(sheet);
      const x = columns > 1 ? ((place % columns) / (columns - 1)) * 100 : 0;
      const y = many > 1 ? (Math.floor(place / columns) / (many - 1)) * 100 : 0;
      element.classList.add(`sheet${sheet}`);
      element.style.backgroundPosition = `${x}% ${y}%`;
      return element;
    },
    release: () => addresses.forEach((address) => URL.revokeObjectURL(address)),
  };
}

/** Is the page dark? As its theme says, or else by the first background behind the element that is not transparent. */
function isDark(element) {
  const said = document.documentElement.dataset.theme, light = document.body.dataset.jpThemeLight;
  if (said === "dark" || said === "light") return said === "dark";
  if (light) return light === "false";
  for (let at = element; at; at = at.parentElement ?? at.getRootNode().host ?? null) {
    const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    if (a > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 110;
  }
  return false;
}

/** A place of its own for a widget: a shadow root with its style, following the page's theme. */
function stage(el, style) {
  const host = h("div", { class: "host" });
  el.replaceChildren(host);
  const root = host.attachShadow({ mode: "open" });
  const body = h("div", { class: "widget" });
  root.append(h("style", {}, style), body);
  const follow = () => body.classList.toggle("dark", isDark(el));
  const watcher = new MutationObserver(() => setTimeout(follow, 350)); // after a theme's own transition
  for (const node of [document.documentElement, document.body]) {
    watcher.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-mode", "data-jp-theme-light", "class", "style"] });
  }
  const wish = matchMedia("(prefers-color-scheme: dark)");
  wish.addEventListener("change", follow);
  follow();
  return { root, body, close: () => (watcher.disconnect(), wish.removeEventListener("change", follow)) };
}

/** A sentence in the place of a figure that cannot be drawn. */
function sentence(el, text) {
  el.replaceChildren(h("p", { class: "reidlib-sentence", role: "alert" }, text));
}

/** Run `draw`, and say in a sentence what went wrong with it. */
function guarded(el, what, draw) {
  try {
    return draw();
  } catch (error) {
    sentence(el, `${what} could not be drawn: ${error.message}`);
    console.warn(error);
    return () => {};
  }
}

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

let ids = 0;
const unique = (word) => `${word}-${++ids}`;

/** A labelled <select>; choices: [[value, text], …]. */
function chooser(label, choices, value, change, extra = "") {
  const select = h("select", { "aria-label": label, onchange: () => change(select.value) });
  const fill = (some, chosen) => {
    select.replaceChildren(...some.map(([key, text]) => h("option", { value: key, selected: key === chosen }, text)));
    select.value = chosen;
  };
  fill(choices, value);
  const element = h("label", { class: `field ${extra}` }, h("span", {}, label), select);
  return { element, select, fill, set: (chosen) => (select.value = chosen) };
}
