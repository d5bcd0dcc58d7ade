// The rankings of a page: lists as typed arrays, average precision, filters and orders. Nothing here touches the page.

const MARKS = [
  { name: "wrong", sign: "✗", text: "wrong" },
  { name: "right", sign: "✓", text: "right" },
  { name: "ignored", sign: "–", text: "ignored" },
];
const NOWHERE = 65535;

/** AP of hits at 1-based ranks among `positives` right images: the finite sum, and the trapezoid of Market-1501. */
function averagePrecision(hits, positives) {
  let std = 0, trap = 0;
  hits.forEach((rank, index) => {
    const i = index + 1, precision = i / rank, before = rank > 1 ? (i - 1) / (rank - 1) : 1;
    std += precision;
    trap += (before + precision) / 2;
  });
  return positives ? { std: std / positives, trap: trap / positives } : { std: NaN, trap: NaN };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function readPeople(bytes, source) {
  return Object.fromEntries(Object.entries(source).map(([name, entry]) => [name, numbersAt(bytes, entry)]));
}

/** Everything that a page knows, from its packed data. Thumbnails: the queries first, then the gallery. */
function readRankings(meta, blob) {
  const bytes = bytesOf(blob);
  const gallery = readPeople(bytes, meta.gallerySource), queries = readPeople(bytes, meta.querySource);
  const numbers = meta.queries, count = numbers.length;
  const models = meta.models.map((model) => readModel(model, bytes, count));
  const place = new Map(numbers.map((number, i) => [number, i]));
  const sprites = spritesOf({ ...meta.sheets, count: count + gallery.row.length }, bytes);
  return { meta, gallery, queries, numbers, count, models, place, sprites, modelPlace: new Map(models.map((m, i) => [m.name, i])) };
}

function readModel(model, bytes, count) {
  const lists = Object.fromEntries(Object.entries(model.lists).map(([name, entry]) => [name, numbersAt(bytes, entry)]));
  if (lists.start.length !== count + 1) throw new Error(`the lists of ${model.name} are not complete; build this page again`);
  const hitsOf = (q) => lists.hits.subarray(lists.hitStart[q], lists.hitStart[q + 1]);
  const ap = Array.from({ length: count }, (_, q) => averagePrecision(hitsOf(q), lists.positives[q]));
  return {
    ...model,
    ap,
    hits: hitsOf,
    positives: (q) => lists.positives[q],
    first: (q) => hitsOf(q)[0] ?? Infinity,
    hitPlaces: (q) => lists.hitPlace.subarray(lists.hitStart[q], lists.hitStart[q + 1]),
    /** The first k images that are not ignored, and the ignored ones between them: [{ place, distance, mark, rank }]. */
    list(q, k, withIgnored) {
      const found = [];
      for (let at = lists.start[q], rank = 0; at < lists.start[q + 1] && rank < k; at++) {
        const ignored = lists.mark[at] === 2;
        if (!ignored) rank++;
        if (!ignored || withIgnored) {
          found.push({ place: lists.order[at], distance: lists.distance[at], mark: lists.mark[at], rank: ignored ? null : rank });
        }
      }
      return found;
    },
    holdsIgnored: lists.mark.includes(2),
  };
}

const sameClothes = (a, b) => a >= 0 && b >= 0 && a === b;
const changedClothes = (a, b) => a >= 0 && b >= 0 && a !== b;

/** Does a right image of query q satisfy `test(place)`? Asked of the first model: all share the same right images. */
function someRight(data, q, test) {
  for (const place of data.models[0].hitPlaces(q)) if (place !== NOWHERE && test(place)) return true;
  return false;
}

/** The queries (0, 1, …) that pass the filters, in the order asked for; a, b: places of the two models, b may be null. */
function chosenQueries(data, { sort, from, to, clothes, outcome }, a, b) {
  const { queries, gallery, models } = data, A = models[a], B = b === null ? null : models[b];
  const keep = (q) => {
    if (from !== "any" && queries.camera[q] !== Number(from)) return false;
    if (to !== "any" && !someRight(data, q, (place) => gallery.camera[place] === Number(to))) return false;
    if (clothes === "same" && !someRight(data, q, (place) => sameClothes(gallery.clothes[place], queries.clothes[q]))) return false;
    if (clothes === "changed" && !someRight(data, q, (place) => changedClothes(gallery.clothes[place], queries.clothes[q]))) return false;
    if (outcome === "failures") return A.first(q) !== 1;
    if (outcome === "gained") return B && A.first(q) !== 1 && B.first(q) === 1;
    if (outcome === "lost") return B && A.first(q) === 1 && B.first(q) !== 1;
    return true;
  };
  const value = (model, q) => (Number.isNaN(model.ap[q].std) ? -1 : model.ap[q].std);
  const keys = {
    worst: (q) => value(A, q),
    best: (q) => -value(A, q),
    gain: (q) => (B ? value(B, q) - value(A, q) : 0),
    loss: (q) => (B ? value(A, q) - value(B, q) : 0),
    camera: (q) => queries.camera[q],
    person: (q) => queries.pid[q],
  };
  const key = keys[sort] ?? keys.worst, found = [];
  for (let q = 0; q < data.count; q++) if (keep(q)) found.push(q);
  return found.sort((x, y) => key(x) - key(y) || queries.pid[x] - queries.pid[y] || x - y);
}

function personName(pid) {
  return pid > 0 ? `person ${pid}` : pid === 0 ? "stranger" : "junk";
}

/** `#w=name&q=12&m=triplet&c=lossless&k=20` as { w, q, m, c, k }, or null where no query is named. */
function readLink(hash) {
  const values = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  return "q" in values ? values : null;
}

function writeLink(values) {
  return `#${new URLSearchParams(values)}`;
}
