// The ranking explorer's view: controls, list of queries, the query, and a column for each model shown.

function render({ model, el }) {
  let close = () => {};
  const build = () => {
    close();
    close = guarded(el, "The ranking explorer", () => explorerView(model, el));
  };
  build();
  model.on("change:meta", build);
  return () => (model.off("change:meta", build), close());
}

function explorerView(model, el) {
  const data = readRankings(model.get("meta"), model.get("blob")), { meta } = data;
  const place = stage(el, `${STYLE}\n${data.sprites.rules}`), live = model.live !== false;
  place.body.style.setProperty("--ratio", data.sprites.ratio);
  place.root.host.dataset.explorer = meta.name;
  const set = (name, value) => (model.set(name, value), model.save_changes());
  const state = () => ({
    q: data.place.get(model.get("query")) ?? 0,
    a: data.modelPlace.get(model.get("model")) ?? 0,
    b: model.get("compare") && model.get("compare") !== model.get("model") ? data.modelPlace.get(model.get("compare")) ?? null : null,
    k: model.get("k"),
    ignored: model.get("show_ignored"),
  });
  const list = queryList(data, (q) => set("query", data.numbers[q]));
  const filters = queryFilters(data, () => refill());
  const controls = explorerControls(data, model, set, live);
  const query = h("div", { class: "query" }), columns = h("div", { class: "columns" });
  const status = h("p", { class: "sr", role: "status" }), message = h("p", { class: "message", role: "alert" });
  const results = h("div", { class: "results" }, query, columns);
  place.body.append(
    h("section", { class: "frame", "aria-label": meta.title || "Ranking explorer" },
      h("p", { class: "title" }, meta.title || "Ranking explorer"), controls.element,
      h("div", { class: "panes" }, h("div", { class: "side" }, filters.element, list.element), results),
      h("p", { class: "notes" }, explorerNotes(meta, data)), message, status));
  linkColumns(columns);

  function refill() {
    const { q, a, b } = state();
    filters.models(data.models[a].name, b === null ? null : data.models[b].name);
    list.fill(chosenQueries(data, filters.values, a, b), a, b);
    if (list.length() && !list.has(q)) set("query", data.numbers[list.first()]);
    else show();
  }
  function show() {
    const { q, a, b, k, ignored } = state();
    list.mark(q);
    controls.follow();
    message.textContent = model.get("message") || "";
    query.replaceChildren(queryCard(data, q, list));
    columns.classList.toggle("two", b !== null);
    columns.replaceChildren(...(b === null ? [a] : [a, b]).map((m) => resultColumn(data, m, q, k, ignored)));
    const ap = data.models[a].ap[q].std;
    status.textContent = `${queryName(data, q)}, ${Number.isNaN(ap) ? "not scored" : `AP ${percent(ap)} by ${data.models[a].name}`}`;
  }
  place.body.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, input")) return;
    event.preventDefault();
    list.step(by);
  });
  const names = { "change:query": show, "change:k": show, "change:show_ignored": show, "change:message": show, "change:model": refill, "change:compare": refill };
  for (const [name, follow] of Object.entries(names)) model.on(name, follow);
  refill();
  const follow = () => !live && openLink(data, model, el, list, filters);
  window.addEventListener("hashchange", follow);
  follow();
  return () => {
    for (const [name, listener] of Object.entries(names)) model.off(name, listener);
    window.removeEventListener("hashchange", follow);
    place.close();
    data.sprites.release();
  };
}

/** Models, k, ignored images, link, and, live, a new picture. */
function explorerControls(data, model, set, live) {
  const { meta, models } = data, names = models.map(({ name }) => [name, name]);
  const first = chooser("Model", names, model.get("model"), (value) => {
    if (value === model.get("compare")) set("compare", model.get("model")); // the two change places
    set("model", value);
  });
  const second = chooser("Compare with", [["", "nothing"], ...names], model.get("compare"), (value) => set("compare", value));
  const k = h("input", { type: "range", min: "1", max: String(meta.top), step: "1", value: String(model.get("k")), "aria-label": "Results shown (k)", oninput: () => set("k", Number(k.value)) });
  const shown = h("output", { class: "value" });
  const ignored = h("input", { type: "checkbox", onchange: () => set("show_ignored", ignored.checked) });
  const holds = models.some(({ holdsIgnored }) => holdsIgnored);
  const copied = h("span", { class: "copied", role: "status" });
  const file = h("input", { type: "file", accept: "image/*", onchange: async () => {
    const [picture] = file.files;
    if (picture) model.send({ kind: "picture" }, undefined, [await picture.arrayBuffer()]);
    file.value = "";
  } });
  const element = h("div", { class: "controls" },
    first.element, models.length > 1 ? second.element : null,
    h("label", { class: "field" }, h("span", {}, "Results ", shown), k),
    holds ? h("label", { class: "check", title: `${meta.protocol.ignored}; boxes marked as junk` }, ignored, " show ignored") : null,
    live ? null : h("button", { type: "button", onclick: () => copyLink(meta, model, copied) }, "Copy link"),
    live && meta.accepts ? h("label", { class: "field" }, h("span", {}, "Rank a picture"), file) : null,
    copied);
  return {
    element,
    follow() {
      first.set(model.get("model"));
      second.set(model.get("compare") === model.get("model") ? "" : model.get("compare"));
      for (const option of second.select.options) option.disabled = option.value === model.get("model");
      k.value = String(model.get("k"));
      shown.textContent = `${model.get("k")}`;
      ignored.checked = model.get("show_ignored");
    },
  };
}

function queryCard(data, q, list) {
  const { positive, ignored } = data.meta.protocol;
  const meaning = { right: positive, wrong: "anybody else", ignored: `${ignored}, or junk` };
  const { queries } = data, at = list.at(), number = data.numbers[q];
  const step = (by, text, sign) => h("button", { type: "button", "aria-label": text, disabled: at < 0 || at + by < 0 || at + by >= list.length(), onclick: (event) => {
    const root = event.target.getRootNode();
    list.step(by);
    (root.querySelector(`.query button[aria-label="${text}"]:not(:disabled)`) ?? root.querySelector(".query button:not(:disabled)"))?.focus();
  } }, sign);
  return h("div", { class: "card asked", "data-query": number },
    data.sprites.thumb(q, queryName(data, q)),
    h("div", { class: "about" },
      h("p", { class: "name" }, number < 0 ? "New picture" : "Query"),
      h("p", { class: "facts" }, number < 0 && queries.pid[q] <= 0 ? "somebody" : `person ${queries.pid[q]}`, h("br"),
        queries.camera[q] >= 0 ? `camera ${queries.camera[q] + 1}` : "camera unknown", queries.clothes[q] >= 0 ? [h("br"), `outfit ${queries.clothes[q]}`] : null),
      h("p", { class: "steps-buttons" }, step(-1, "Previous query", "←"), h("span", {}, at < 0 ? "–" : `${at + 1} / ${list.length()}`), step(1, "Next query", "→"))),
    h("ul", { class: "legend" }, [MARKS[1], MARKS[0], MARKS[2]].map(({ name, sign, text }) => h("li", {}, h("span", { class: `key ${name}` }, sign), `${text}: ${meaning[name]}`))));
}

function explorerNotes(meta, data) {
  const asked = data.numbers.filter((number) => number >= 0).length;
  const part = asked < meta.evaluated ? `${asked} of ${meta.evaluated.toLocaleString("en")} queries (drawn with seed ${meta.seed})` : plural(asked, "query", "queries");
  const means = meta.models.map((m) => `${m.name}: mAP${m.depth ? `@${m.depth}` : ""} ${m.all.mAP.toFixed(1)}%, trapezoid ${m.all.mAP_trap.toFixed(1)}%, Rank-1 ${m.all.R1.toFixed(1)}%`).join("; ");
  const pictures = { blurred: " Pictures are blurred: they may show real people.", "left out": " Pictures are left out, for they may show real people; real_people=True puts them in, blurred." }[meta.pictures] ?? "";
  return [
    `${part} over ${plural(meta.gallery, "gallery image")}. Over all ${meta.evaluated.toLocaleString("en")} queries, ${means}. `,
    "In the curve the filled steps are AP, the dashed line bounds its trapezoid. Arrow keys step through the queries.", pictures];
}

async function copyLink(meta, model, copied) {
  const other = model.get("compare") !== model.get("model") ? model.get("compare") : "";
  const hash = writeLink({ w: meta.name, q: model.get("query"), m: model.get("model"), c: other, k: model.get("k") });
  const address = location.href.split("#")[0] + hash;
  history.replaceState(null, "", hash);
  try {
    await navigator.clipboard.writeText(address);
    copied.replaceChildren("link copied");
  } catch {
    const field = h("input", { type: "text", readOnly: true, value: address, "aria-label": "Link to this view" });
    copied.replaceChildren("copy this: ", field);
    field.select();
  }
}

/** Follow the page's address when it names this explorer, or names none and this is the first one. */
function openLink(data, model, el, list, filters) {
  const wanted = readLink(location.hash), host = el.querySelector("[data-explorer]");
  if (!wanted || host !== document.querySelector(wanted.w ? `[data-explorer="${CSS.escape(wanted.w)}"]` : "[data-explorer]")) return;
  const q = data.place.get(Number(wanted.q));
  if (q === undefined) {
    model.set("message", `The link asks for query ${wanted.q}, which this page does not hold.`);
    return;
  }
  if (filters.active()) filters.clear();
  model.set("message", "");
  if (data.modelPlace.has(wanted.m)) {
    if (!("c" in wanted) && wanted.m === model.get("compare")) model.set("compare", model.get("model"));
    model.set("model", wanted.m);
  }
  if (wanted.c === "" || data.modelPlace.has(wanted.c)) model.set("compare", wanted.c);
  const k = Number(wanted.k);
  if (Number.isInteger(k) && k >= 1 && k <= data.meta.top) model.set("k", k);
  model.set("query", data.numbers[q]);
  setTimeout(() => host.scrollIntoView({ block: "start" }), 0);
}
