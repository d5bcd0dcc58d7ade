// Images in a grid: choosers pick a grid, a slider fades from each layer to the next.

function render({ model, el }) {
  return guarded(el, "The figure", () => picturesView(model, el));
}

function picturesView(model, el) {
  const meta = model.get("meta"), sprites = spritesOf(meta.sheets, bytesOf(model.get("blob")));
  const place = stage(el, `${STYLE}\n${sprites.rules}`), counts = Object.values(meta.choosers).map((options) => options.length);
  place.body.style.setProperty("--ratio", sprites.ratio);
  place.body.style.setProperty("--width", `${meta.width}px`);
  const pick = (i, value) => {
    model.set("chosen", model.get("chosen").map((old, at) => (at === i ? value : old)));
    model.save_changes();
  };
  const choosers = Object.entries(meta.choosers).map(([label, options], i) => chooser(label, options.map((text, at) => [String(at), text]), "0", (value) => pick(i, Number(value))));
  const many = meta.layers.length, name = h("output", { class: "value" });
  const slider = many > 1 ? h("input", { type: "range", min: "0", max: String(many - 1), step: "0.01", value: "0", "aria-label": `Layer: ${meta.layers.join(", ")}`, oninput: () => (model.set("layer", Number(slider.value)), model.save_changes()) }) : null;
  const grid = h("div", { class: "scroll" }), status = h("p", { class: "sr", role: "status" });
  const left = meta.pictures === "left out" ? "Pictures are left out, for they may show real people; real_people=True puts them in, blurred. " : meta.pictures === "blurred" ? "Pictures are blurred: they may show real people. " : "";
  place.body.append(h("section", { class: "frame", "aria-label": meta.title || "Pictures" },
    meta.title ? h("p", { class: "title" }, meta.title) : null,
    choosers.length || slider ? h("div", { class: "controls" }, choosers.map(({ element }) => element),
      slider ? h("label", { class: "field wide" }, h("span", {}, "Layer ", name), slider) : null) : null,
    grid, left || meta.note ? h("p", { class: "notes" }, left, meta.note) : null, status));

  const at = () => model.get("chosen").reduce((sum, value, i) => sum * counts[i] + value, 0);
  function show() {
    model.get("chosen").forEach((value, i) => choosers[i].set(String(value)));
    const view = meta.views[at()], wide = Math.max(0, ...view.map((row) => row.length));
    if (!wide) return grid.replaceChildren(h("p", { class: "facts" }, "There is nothing to show for this choice."));
    const heads = meta.columns.length ? h("tr", {}, meta.rows.length ? h("td") : null, meta.columns.map((text) => h("th", { scope: "col" }, text))) : null;
    grid.replaceChildren(h("table", {}, heads, view.map((row, r) => h("tr", {},
      meta.rows.length ? h("th", { scope: "row" }, meta.rows[r] ?? "") : null, row.map((cell, c) => h("td", {}, cell ? figureCell(cell, r, c) : null))))));
    if (grid.scrollWidth > grid.clientWidth) Object.assign(grid, { tabIndex: 0 }).setAttribute("role", "region"), grid.setAttribute("aria-label", "Images, scroll sideways");
    else grid.removeAttribute("tabindex"), grid.removeAttribute("role"), grid.removeAttribute("aria-label");
    status.textContent = Object.entries(meta.choosers).map(([label, options], i) => `${label}: ${options[model.get("chosen")[i]]}`).join(", ");
    fade();
  }
  function figureCell(cell, r, c) {
    const kind = cell.mark === null ? "" : cell.mark ? "right" : "wrong", sign = { right: "✓ ", wrong: "✗ " }[kind] ?? "";
    const label = [kind, cell.caption || `${meta.rows[r] ?? `row ${r + 1}`}, ${meta.columns[c] ?? `column ${c + 1}`}`].filter(Boolean).join(": ");
    return h("div", { class: `cell ${kind}` },
      h("div", { class: "stack", role: "img", "aria-label": label }, cell.layers.map((image) => sprites.thumb(image, ""))),
      sign || cell.caption ? h("p", { class: "caption" }, h("span", { class: "sign" }, sign), cell.caption) : null);
  }
  function fade() {
    if (!slider) return;
    const layer = Math.max(0, Math.min(many - 1, model.get("layer")));
    slider.value = String(layer);
    name.textContent = meta.layers[Math.round(layer)];
    slider.setAttribute("aria-valuetext", meta.layers[Math.round(layer)]);
    for (const stack of grid.querySelectorAll(".stack")) {
      [...stack.children].forEach((image, i) => (image.style.opacity = i === 0 ? "1" : String(Math.max(0, Math.min(1, layer - i + 1)))));
    }
  }
  model.on("change:chosen", show);
  model.on("change:layer", fade);
  show();
  return () => (model.off("change:chosen", show), model.off("change:layer", fade), place.close(), sprites.release());
}
