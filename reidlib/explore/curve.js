// The precision-recall steps of one query, drawn: the filled steps are AP, the dashed line bounds its trapezoid.

const CURVE = { width: 260, height: 132, left: 30, right: 8, top: 8, bottom: 26 };

function precisionRecall(hits, positives, label) {
  const { width, height, left, right, top, bottom } = CURVE;
  const x = (recall) => left + recall * (width - left - right), y = (precision) => height - bottom - precision * (height - top - bottom);
  const steps = [], dashes = [], dots = [];
  hits.forEach((rank, index) => {
    const i = index + 1, precision = i / rank, before = rank > 1 ? (i - 1) / (rank - 1) : 1;
    const [x0, x1, y1] = [x((i - 1) / positives), x(i / positives), y(precision)];
    steps.push(`M${x0} ${y(0)}V${y1}H${x1}V${y(0)}Z`);
    dashes.push(`${index ? "L" : "M"}${x0} ${y(before)}L${x1} ${y1}`);
    dots.push(h("svg:circle", { cx: x1, cy: y1, r: positives > 25 ? 1.5 : 2.6, class: "dot" }, h("svg:title", {}, `right image ${i} of ${positives} at rank ${rank}: precision ${percent(precision)}`)));
  });
  const axis = (path) => h("svg:path", { d: path, class: "axis" });
  const word = (px, py, text, anchor = "middle") => h("svg:text", { x: px, y: py, "text-anchor": anchor }, text);
  const ranks = [...hits].slice(0, 12).join(", ") + (hits.length > 12 ? ", …" : "");
  return h("svg:svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": `Precision over recall, ${label}: right images at ranks ${ranks || "none"}` },
    [0, 0.5, 1].map((at) => [axis(`M${left} ${y(at)}H${width - right}`), word(left - 4, y(at) + 3.5, at ? String(at) : "0", "end")]),
    h("svg:path", { d: steps.join(""), class: "steps" }),
    h("svg:path", { d: dashes.join(""), class: "trap" }),
    dots,
    word(x(0), height - 13, "0", "middle"), word(x(1), height - 13, "1", "end"), word(x(0.5), height - 3, "recall"),
    h("svg:text", { x: -y(0.5), y: 9, transform: "rotate(-90)", "text-anchor": "middle" }, "precision"),
  );
}
