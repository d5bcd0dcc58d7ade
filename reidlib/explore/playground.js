// The playground: results move by drag or keyboard; AP in both definitions, CMC and mAP follow.

const SIGNS = [["wrong", "✗"], ["right", "✓"], ["ignored", "–"]];

function render({ model, el }) {
  return guarded(el, "The playground", () => playgroundView(model, el));
}

/** Ranks of the right results, ignored ones not counted. */
function hitsOf(marks) {
  const hits = [];
  let rank = 0;
  for (const mark of marks) {
    if (mark !== 2) rank++;
    if (mark === 1) hits.push(rank);
  }
  return hits;
}

function rate(hits) {
  let std = 0, trap = 0;
  hits.forEach((rank, at) => {
    const precision = (at + 1) / rank;
    std += precision / hits.length;
    trap += ((rank > 1 ? at / (rank - 1) : 1) + precision) / 2 / hits.length;
  });
  return { std, trap, first: hits[0] };
}

function playgroundView(model, el) {
  const meta = model.get("meta"), names = Object.keys(meta.marks), length = meta.marks[names[0]].length;
  const sprites = meta.sheets ? spritesOf(meta.sheets, bytesOf(model.get("blob"))) : null;
  const place = stage(el, `${STYLE}\n${sprites?.rules ?? ""}`);
  if (sprites) place.body.style.setProperty("--ratio", sprites.ratio);
  const lists = names.map((name, n) => movableList(name, meta.marks[name], (at) => sprites?.thumb(n * length + at, ""), (order) => {
    model.set("order", { ...model.get("order"), [name]: order });
    model.save_changes();
  }));
  const means = h("p", { class: "means" }), curve = h("div", { class: "cmc" }), status = h("p", { class: "sr", role: "status" });
  const preset = (text, key) => h("button", { type: "button", onclick: () => {
    const order = {};
    names.forEach((name) => (order[name] = [...Array(length).keys()].sort((a, b) => (key ? key(meta.marks[name][a]) - key(meta.marks[name][b]) : 0) || a - b)));
    model.set("order", order);
    model.save_changes();
  } }, text);
  place.body.append(h("section", { class: "frame", "aria-label": meta.title || "Playground of ranked lists" },
    meta.title ? h("p", { class: "title" }, meta.title) : null,
    h("p", { class: "facts how" }, "Drag a result, or focus one with Tab and the arrow keys, press Enter to pick it up, move it with the arrow keys and press Enter again."),
    lists.map((list) => list.element),
    h("div", { class: "totals" }, curve, h("div", {}, means, h("p", { class: "controls" }, preset("As it was"), preset("Best", (mark) => [1, 0, 2][mark]), preset("Worst", (mark) => [2, 3, 0][mark])))),
    status));
  function follow() {
    const order = model.get("order");
    const rated = lists.map((list, i) => list.show(order[names[i]]));
    const m = (key) => rated.reduce((sum, one) => sum + one[key], 0) / rated.length;
    const cmc = Array.from({ length }, (_, k) => rated.filter(({ first }) => first <= k + 1).length / rated.length);
    const ranks = [1, 5, 10].filter((k) => k <= length).map((k) => `Rank-${k} ${percent(cmc[k - 1], 0)}`).join(", ");
    means.replaceChildren(h("strong", { "data-value": m("std") }, `mAP ${percent(m("std"))}`), h("span", { "data-value": m("trap") }, `trapezoid ${percent(m("trap"))}`), h("span", {}, ranks));
    curve.replaceChildren(cmcCurve(cmc));
    status.textContent = `mAP ${percent(m("std"))}, trapezoid ${percent(m("trap"))}, ${ranks}`;
  }
  model.on("change:order", follow);
  follow();
  return () => (model.off("change:order", follow), place.close(), sprites?.release());
}

/** A ranked list whose items move; `moved(order)` tells the new order of their first places. */
function movableList(name, marks, picture, moved) {
  const items = marks.map((mark, at) => {
    const rank = h("span", { class: "line strong" });
    const element = h("button", { type: "button", class: `card item ${SIGNS[mark][0]}`, "data-at": at }, picture(at) ?? h("span", { class: "block" }, SIGNS[mark][1]), rank);
    return { element, rank };
  });
  const row = h("div", { class: "row", role: "group", "aria-label": `List ${name}, ${marks.length} results` });
  const numbers = h("p", { class: "numbers" });
  let order = marks.map((_, at) => at), held = null, dragged = null, suppress = false;

  function move(at, to) {
    const from = order.indexOf(at);
    to = Math.max(0, Math.min(order.length - 1, to));
    if (from === to) return;
    const next = order.filter((other) => other !== at);
    next.splice(to, 0, at);
    moved(next);
    if (held === at) items[at].element.focus();
  }
  function hold(at) {
    held = at;
    items.forEach(({ element }, i) => element.setAttribute("aria-pressed", String(i === at)));
  }
  row.addEventListener("keydown", (event) => {
    const at = Number(event.target.closest(".item")?.dataset.at), by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (Number.isNaN(at) || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") hold(null);
    else if (by && held === at) move(at, order.indexOf(at) + by);
    else if (by) focusOn(order[Math.max(0, Math.min(order.length - 1, order.indexOf(at) + by))]);
    else return;
    event.preventDefault();
  });
  function focusOn(at) {
    items.forEach(({ element }, i) => (element.tabIndex = i === at ? 0 : -1));
    items[at].element.focus();
  }
  row.addEventListener("click", (event) => {
    const at = Number(event.target.closest(".item")?.dataset.at);
    if (suppress || Number.isNaN(at)) return (suppress = false);
    focusOn(at);
    hold(held === at ? null : at);
  });
  row.addEventListener("focusout", (event) => !row.contains(event.relatedTarget) && dragged === null && hold(null));
  row.addEventListener("pointerdown", (event) => {
    const item = event.target.closest(".item");
    if (!item || event.button) return;
    dragged = { at: Number(item.dataset.at), x: event.clientX, y: event.clientY, moving: false };
  });
  row.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    if (!dragged.moving && Math.hypot(event.clientX - dragged.x, event.clientY - dragged.y) < 6) return;
    if (!dragged.moving) {
      dragged.moving = true;
      row.setPointerCapture(event.pointerId);
      items[dragged.at].element.classList.add("dragged");
    }
    const over = row.getRootNode().elementFromPoint(event.clientX, event.clientY)?.closest(".item");
    if (over && row.contains(over)) move(dragged.at, order.indexOf(Number(over.dataset.at)));
  });
  const drop = () => {
    if (!dragged) return;
    items[dragged.at].element.classList.remove("dragged");
    suppress = dragged.moving;
    dragged = null;
    setTimeout(() => (suppress = false), 0);
  };
  row.addEventListener("pointerup", drop);
  row.addEventListener("pointercancel", drop);
  return {
    element: h("div", { class: "list" }, h("p", { class: "name" }, `List ${name}`), row, numbers),
    show(wanted) {
      const focused = row.getRootNode().activeElement;
      order = [...wanted];
      let rank = 0;
      order.forEach((at, i) => {
        const ignored = marks[at] === 2, { element, rank: label } = items[at];
        if (!ignored) rank++;
        label.replaceChildren(h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[marks[at]][1]), ignored ? "" : String(rank));
        element.setAttribute("aria-label", `${ignored ? "not ranked" : `rank ${rank}`}: ${SIGNS[marks[at]][0]}`);
        element.setAttribute("aria-pressed", String(held === at));
        if (row.children[i] !== element) row.insertBefore(element, row.children[i] ?? null);
      });
      if (!items.some(({ element }) => element.tabIndex === 0 && element === focused)) {
        items.forEach(({ element }) => (element.tabIndex = element === row.children[0] ? 0 : -1));
      }
      if (focused && row.contains(focused)) focused.focus();
      const hits = hitsOf(order.map((at) => marks[at])), rated = rate(hits);
      numbers.replaceChildren(h("strong", { "data-value": rated.std }, `AP ${percent(rated.std)}`), h("span", { "data-value": rated.trap }, `trapezoid ${percent(rated.trap)}`), h("span", { class: "facts" }, `right images at ranks ${hits.join(", ")}`));
      return rated;
    },
  };
}

function cmcCurve(cmc) {
  const width = 230, height = 110, left = 30, bottom = 24, top = 8, right = 8, n = cmc.length;
  const x = (k) => left + ((k - 1) / Math.max(1, n - 1)) * (width - left - right), y = (share) => height - bottom - share * (height - top - bottom);
  const word = (px, py, text, anchor) => h("svg:text", { x: px, y: py, "text-anchor": anchor }, text);
  return h("svg:svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": `CMC: ${cmc.map((share, k) => `rank ${k + 1} ${percent(share, 0)}`).join(", ")}` },
    [0, 0.5, 1].map((at) => [h("svg:path", { d: `M${left} ${y(at)}H${width - right}`, class: "axis" }), word(left - 4, y(at) + 3.5, String(at), "end")]),
    h("svg:path", { d: cmc.map((share, k) => `${k ? "L" : "M"}${x(k + 1)} ${y(share)}`).join(""), class: "line-path" }),
    cmc.map((share, k) => h("svg:circle", { cx: x(k + 1), cy: y(share), r: 2.6, class: "dot" })),
    word(left, height - 11, "1", "middle"), word(width - right, height - 11, String(n), "end"), word((left + width) / 2, height - 2, "k of Rank-k (CMC)", "middle"));
}
