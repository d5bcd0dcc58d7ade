// What one model ranks first for one query: marked results, both APs, the curve, and the right images further down.

/** One result as a list item. `item`: { place, distance, mark, rank }. */
function resultCard(data, item, q) {
  const { gallery, queries } = data, mark = MARKS[item.mark], p = item.place;
  const camera = `camera ${gallery.camera[p] + 1}`, who = personName(gallery.pid[p]);
  const changed = item.mark === 1 && changedClothes(gallery.clothes[p], queries.clothes[q]);
  const rank = item.rank === null ? "not ranked" : `rank ${item.rank}`;
  const distance = item.distance === undefined ? "" : `, distance ${item.distance.toFixed(3)}`;
  return h("li", { class: `card ${mark.name}`, "data-row": gallery.row[p], "data-mark": mark.name, "data-rank": item.rank ?? "" },
    h("span", { class: "sr" }, `${rank}, ${mark.text}${distance}, ${who}, ${camera}${changed ? ", other clothes" : ""}`),
    h("span", { "aria-hidden": "true" },
      data.sprites.thumb(data.count + p, ""),
      h("span", { class: "line strong" }, h("span", { class: "sign" }, mark.sign), item.rank ?? ""),
      item.distance === undefined ? null : h("span", { class: "line" }, item.distance.toFixed(3)),
      h("span", { class: "line" }, gallery.pid[p] > 0 ? `id ${gallery.pid[p]}` : who),
      h("span", { class: "line" }, `cam ${gallery.camera[p] + 1}${changed ? " ⇄" : ""}`),
    ));
}

/** The column of a model. */
function resultColumn(data, a, q, k, withIgnored) {
  const model = data.models[a], { std, trap } = model.ap[q], hits = model.hits(q), positives = model.positives(q);
  const scored = !Number.isNaN(std), upTo = model.depth ? `@${model.depth}` : "";
  const first = hits.length ? `first at rank ${hits[0].toLocaleString("en")}` : "no right image found";
  const known = model.depth && hits.length < positives ? `${hits.length} of ${plural(positives, "right image")} in the list` : plural(positives, "right image");
  const head = [
    h("p", { class: "name" }, model.name),
    h("p", { class: "numbers" }, scored
      ? [h("span", { class: "ap", "data-value": std }, `AP${upTo} ${percent(std)}`), h("span", { class: "ap trap", "data-value": trap }, `trapezoid ${percent(trap)}`)]
      : h("span", { class: "ap" }, "not scored: who this is was not said")),
    h("p", { class: "facts" }, scored ? `${known}, ${first}` : ""),
    scored ? precisionRecall(hits, positives, model.name) : null,
  ];
  const items = model.list(q, k, withIgnored);
  const cards = h("ol", { class: "cards" }, items.map((item) => resultCard(data, item, q)));
  const places = model.hitPlaces(q);
  const later = [...hits].map((rank, i) => ({ rank, place: places[i], mark: 1 })).filter(({ rank, place }) => rank > k && place !== NOWHERE);
  const some = later.slice(0, 8);
  const further = some.length ? h("div", { class: "further" },
    h("p", { class: "facts" }, `${plural(later.length, "right image")} beyond rank ${k}${later.length > some.length ? ` (${some.length} shown)` : ""}`),
    h("ol", { class: "cards small" }, some.map((item) => resultCard(data, item, q)))) : null;
  return h("section", { class: "column", "aria-label": `Ranked by ${model.name}`, "data-model": model.name }, head, cards, further);
}

/** Point at an image: the same gallery image is framed in every column. */
function linkColumns(parent) {
  const point = (event, on) => {
    const row = event.target.closest?.(".card")?.dataset.row;
    for (const card of parent.querySelectorAll(".card")) card.classList.toggle("same", on && row !== undefined && card.dataset.row === row);
  };
  parent.addEventListener("mouseover", (event) => point(event, true));
  parent.addEventListener("mouseleave", (event) => point(event, false));
}
