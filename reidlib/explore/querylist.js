// The list of queries: thumbnails that can be sorted, filtered and stepped through with the arrow keys.

function queryList(data, pick) {
  const options = Array.from({ length: data.count }, (_, q) => {
    const score = h("span", { class: "score" });
    const element = h("div", { role: "option", id: unique("query"), "aria-selected": "false", class: "option", onclick: () => pick(q) },
      data.sprites.thumb(q, ""), score);
    return { element, score };
  });
  const list = h("div", { role: "listbox", tabindex: "0", class: "queries", "aria-label": "Queries" });
  const empty = h("p", { class: "empty", hidden: true }, "No query passes these filters.");
  const summary = h("p", { class: "summary" });
  let order = [], current = -1;

  function columns() {
    if (order.length < 2) return 1;
    const top = options[order[0]].element.offsetTop;
    const wrapped = order.findIndex((q) => options[q].element.offsetTop !== top);
    return wrapped < 0 ? order.length : wrapped;
  }
  function step(by) {
    if (!order.length) return;
    const at = order.indexOf(current);
    pick(order[Math.max(0, Math.min(order.length - 1, at < 0 ? 0 : at + by))]);
  }
  list.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -Infinity, End: Infinity, PageUp: -3 * columns(), PageDown: 3 * columns() };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    step(moves[event.key]);
  });
  return {
    element: h("div", { class: "listing" }, summary, empty, list),
    step,
    at: () => order.indexOf(current),
    length: () => order.length,
    has: (q) => order.includes(q),
    first: () => order[0],
    /** Show these queries, scored by model a, with the gain over model b where there is one. */
    fill(some, a, b) {
      order = some;
      const A = data.models[a], B = b === null ? null : data.models[b];
      for (const q of order) {
        const gain = B ? A.ap[q].std - B.ap[q].std : 0, ap = A.ap[q].std;
        const scored = !Number.isNaN(ap);
        options[q].score.textContent = scored ? `${Math.round(100 * ap)}%` : "new";
        const change = B && scored ? `, ${gain >= 0 ? "gain" : "loss"} of ${Math.abs(100 * gain).toFixed(0)} points over ${B.name}` : "";
        options[q].element.setAttribute("aria-label", `${queryName(data, q)}, camera ${data.queries.camera[q] + 1}, AP ${scored ? percent(ap, 0) : "unknown"}${change}`);
        options[q].element.classList.toggle("failed", A.first(q) !== 1 && scored);
      }
      list.replaceChildren(...order.map((q) => options[q].element));
      list.hidden = !order.length;
      empty.hidden = order.length > 0;
      const scored = order.filter((q) => !Number.isNaN(A.ap[q].std));
      const means = (B ? [A, B] : [A]).map((m) => percent(mean(scored.map((q) => m.ap[q].std))));
      summary.textContent = scored.length ? `${plural(order.length, "query", "queries")}, mAP ${means.join(" and ")}` : plural(order.length, "query", "queries");
      this.mark(current);
    },
    mark(q) {
      if (options[current]) options[current].element.setAttribute("aria-selected", "false");
      current = q;
      const chosen = options[q]?.element;
      if (!chosen || !chosen.isConnected) return list.removeAttribute("aria-activedescendant");
      chosen.setAttribute("aria-selected", "true");
      list.setAttribute("aria-activedescendant", chosen.id);
      const box = list.getBoundingClientRect(), own = chosen.getBoundingClientRect();
      if (own.top < box.top) list.scrollTop -= box.top - own.top + 4;
      else if (own.bottom > box.bottom) list.scrollTop += own.bottom - box.bottom + 4;
      if (own.left < box.left) list.scrollLeft -= box.left - own.left + 4;
      else if (own.right > box.right) list.scrollLeft += own.right - box.right + 4;
    },
  };
}

function queryName(data, q) {
  return data.numbers[q] < 0 ? `new picture ${-data.numbers[q]}` : `query ${data.numbers[q]}, ${personName(data.queries.pid[q])}`;
}

/** The filters above the list; `change` is called with nothing when one of them changed. */
function queryFilters(data, change) {
  const values = { sort: "worst", from: "any", to: "any", clothes: "any", outcome: "all" };
  const cameras = [...new Set([...data.queries.camera, ...data.gallery.camera])].filter((c) => c >= 0).sort((a, b) => a - b);
  const cameraChoices = [["any", "any"], ...cameras.map((c) => [String(c), String(c + 1)])];
  const fields = {};
  const field = (name, label, choices) => {
    fields[name] = chooser(label, choices, values[name], (value) => ((values[name] = value), change()));
    return fields[name].element;
  };
  const elements = [
    field("sort", "Sort", []),
    field("outcome", "Show", []),
    field("from", "Query camera", cameraChoices),
    field("to", "Match camera", cameraChoices),
  ];
  const kinds = (test) => Array.from({ length: data.count }, (_, q) => q).some((q) => someRight(data, q, (place) => test(data.gallery.clothes[place], data.queries.clothes[q])));
  if (kinds(changedClothes)) elements.push(field("clothes", "Clothes", [["any", "same or changed"], ["same", "some match in same"], ["changed", "some match in changed"]]));
  const reset = h("button", { type: "button", class: "quiet", onclick: () => clear() }, "Reset filters");
  function clear() {
    Object.assign(values, { from: "any", to: "any", clothes: "any", outcome: "all" });
    for (const name of Object.keys(fields)) fields[name].set(values[name]);
    change();
  }
  return {
    element: h("div", { class: "filters" }, elements, reset),
    values,
    clear,
    active: () => ["from", "to", "clothes"].some((name) => values[name] !== "any") || values.outcome !== "all",
    /** The choices that depend on how many models are compared. */
    models(a, b) {
      const sorts = [["worst", "AP, worst first"], ["best", "AP, best first"], ["camera", "camera"], ["person", "person"]];
      const outcomes = [["all", "all queries"], ["failures", "failures only"]];
      if (b) {
        sorts.push(["gain", `gain of ${a} over ${b}`], ["loss", `gain of ${b} over ${a}`]);
        outcomes.push(["gained", `only ${b} is right at once`], ["lost", `only ${a} is right at once`]);
      }
      if (!sorts.some(([key]) => key === values.sort)) values.sort = "worst";
      if (!outcomes.some(([key]) => key === values.outcome)) values.outcome = "all";
      fields.sort.fill(sorts, values.sort);
      fields.outcome.fill(outcomes, values.outcome);
      reset.hidden = !this.active();
    },
  };
}
