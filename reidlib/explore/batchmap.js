/** The training set: a cell an image, a block a cluster; darker the more often it was drawn. */
function mapOf({ meta, cluster, camera, order, allImages }) {
  const cells = new Map(), blocks = h("div", { class: "blocks", role: "img" });
  let block = null, last = null;
  for (const row of order) {
    if (block === null || (cluster[row] !== last && cluster[row] >= 0) || (cluster[row] < 0 && last >= 0)) {
      block = h("div", { class: cluster[row] < 0 ? "block outliers" : "block" });
      blocks.append(block);
    }
    last = cluster[row];
    const cell = h("i", { "data-row": row });
    cells.set(row, cell);
    block.append(cell);
  }
  const outliers = order.length - allImages, head = h("p", { class: "head" });
  const swatch = (kind, text) => h("span", {}, h("i", { class: kind }), text);
  const keys = h("p", { class: "key-line" }, swatch("now k0", "in this batch"), swatch("s0", "not drawn yet"), swatch("s0 never", "never drawn in this epoch"),
    swatch("s1", "once"), swatch("s2", "twice"), swatch("s3", "3 times or more"), outliers ? swatch("out", `outlier, in no cluster (${outliers})`) : null);
  let now = null;
  blocks.addEventListener("mouseover", ({ target }) => {
    const row = Number(target.dataset.row);
    if (Number.isNaN(row) || !now) return;
    target.title = `image ${row}, ${cluster[row] < 0 ? "an outlier" : `cluster ${cluster[row]}`}, camera ${camera[row] + 1}: drawn ${now.counts[row]} times so far, ${now.whole[row]} in the epoch`;
  });
  return {
    element: h("div", { class: "map" }, head, blocks, keys),
    point: (row, on) => cells.get(row)?.classList.toggle("pointed", on),
    show(setting, sampler, epoch, batch, colours) {
      const counts = new Uint16Array(order.length), start = batch * meta.size;
      for (const row of setting.rows.subarray(0, start + meta.size)) counts[row]++;
      const here = new Set(setting.rows.subarray(start, start + meta.size));
      for (const [row, cell] of cells) {
        const kind = cluster[row] < 0 ? "out" : here.has(row) ? `now k${colours.get(sampler.classes[row])[0]}` : `s${Math.min(3, counts[row])}${epoch.counts[row] ? "" : " never"}`;
        if (cell.className !== kind) cell.className = kind;
      }
      now = { counts, whole: epoch.counts };
      const { images_seen: seen } = epoch.steps[batch];
      head.replaceChildren(h("strong", {}, "The training set"), h("span", { class: "facts" }, ` a square an image, a block a cluster; after ${plural(batch + 1, "batch", "batches")}`));
      blocks.setAttribute("aria-label", `Map of ${plural(allImages, "image")}: ${seen} drawn so far, ${allImages - seen} not yet, ${epoch.never} never in this epoch`);
    },
  };
}
