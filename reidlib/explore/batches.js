// How samplers fill batches: one batch as cells, the training set as a map that fills, and what whole epochs leave out.

const COLOURS = 8, PACE = 450, SLOW = 1500; // colours of classes; milliseconds a batch while it plays

function render({ model, el }) {
  return guarded(el, "The picture of the samplers", () => samplersView(model, el));
}

function samplersView(model, el) {
  const data = samplerData(model), { meta } = data, bytes = data.bytes;
  const sprites = meta.sheets ? spritesOf(meta.sheets, bytes) : null;
  const place = stage(el, `${STYLE}\n${sprites?.rules ?? ""}`);
  if (sprites) place.body.style.setProperty("--ratio", sprites.ratio);
  const remembered = { value: meta.samplers.flatMap(({ settings }) => settings).find(({ value }) => value !== null)?.value };
  const note = h("p", { class: "how" }), parameters = h("div", {}), status = h("p", { class: "sr", role: "status" });
  const samplers = radios("Sampler", meta.samplers.map(({ name, title }) => [name, title]), (name) => choose(name, fitting(name)));
  const player = playerOf(step, to, () => (status.textContent = spoken())), cells = h("ol", { class: "batch" }), legend = h("p", { class: "key-line" });
  const map = mapOf(data), numbers = h("dl", { class: "numbers" }), epochs = h("div", { class: "epochs" });
  let shown = {}, parameterRadios = null;

  const samplerAt = (name) => data.samplers.find((one) => one.name === name);
  const settingAt = (sampler) => sampler?.settings.find(({ value }) => value === model.get("parameter"));
  function fitting(name) {
    const offered = samplerAt(name).settings.map(({ value }) => value);
    return [model.get("parameter"), remembered.value, offered[0]].find((value) => offered.includes(value));
  }
  function choose(name, value) {
    model.set("parameter", value); // not drawn while it does not fit the sampler
    model.set("sampler", name);
    model.save_changes();
  }
  function to(batch) {
    const last = shown.setting.many - 1;
    model.set("batch", Math.max(0, Math.min(last, batch)));
    model.save_changes();
    return model.get("batch") < last;
  }
  function step(by) {
    return to(model.get("batch") + by);
  }

  const spoken = () => wordsOf(shown.sampler, shown.setting, shown.setting.epoch, model.get("batch"));
  function follow() {
    const sampler = samplerAt(model.get("sampler"));
    if (!settingAt(sampler)) return; // the other of the two is about to follow
    const setting = settingAt(sampler), batch = Math.min(model.get("batch"), setting.many - 1);
    if (batch !== model.get("batch")) return model.set("batch", batch);
    const epoch = epochOf(data, sampler, setting), fresh = shown.setting !== setting;
    if (shown.sampler !== sampler) {
      parameterRadios = sampler.settings.length > 1 ? radios(parameterName(sampler), sampler.settings.map(({ value }) => [value, String(value)]), (value) => choose(sampler.name, Number(value))) : null;
      parameters.replaceChildren(...(parameterRadios ? [parameterRadios.element] : []));
      note.textContent = sampler.note;
      samplers.set(sampler.name);
    }
    if (setting.value !== null) remembered.value = setting.value;
    parameterRadios?.set(String(setting.value));
    shown = { sampler, setting };
    const rows = setting.rows.subarray(batch * meta.size, (batch + 1) * meta.size), colours = coloursOf(rows, sampler.classes);
    cells.setAttribute("aria-label", `The ${meta.size} images of batch ${batch + 1}, in their order`);
    cells.replaceChildren(...batchCells(data, sampler, rows, colours, sprites));
    legend.replaceChildren(...legendOf(sampler, epoch.steps[batch]));
    map.show(setting, sampler, epoch, batch, colours);
    numbers.replaceChildren(...numbersOf(sampler, epoch, epoch.steps[batch], meta.size));
    if (fresh) epochs.replaceChildren(tableOf(data, sampler, setting));
    player.show(batch, setting.many);
    if (!player.playing()) status.textContent = spoken();
  }

  const frame = h("section", { class: "frame", "aria-label": meta.title || "How samplers fill batches", tabIndex: -1 },
    meta.title ? h("p", { class: "title" }, meta.title) : null,
    h("div", { class: "choices" }, samplers.element, parameters), note,
    h("div", { class: "part" }, player.element, cells, legend),
    h("div", { class: "halves" }, numbers, map.element, epochs),
    status);
  frame.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    player.pause();
    step(by);
  });
  for (const [name, on] of [["mouseover", true], ["mouseout", false]]) {
    cells.addEventListener(name, ({ target }) => map.point(Number(target.closest("li")?.dataset.row), on));
  }
  place.body.append(frame);
  const names = ["sampler", "parameter", "batch"].map((name) => `change:${name}`);
  const settle = () => {
    const sampler = samplerAt(model.get("sampler"));
    if (sampler && !settingAt(sampler)) model.set("parameter", fitting(sampler.name));
    else follow();
  };
  const listeners = [settle, follow, follow];
  names.forEach((name, i) => model.on(name, listeners[i]));
  settle();
  return () => (player.pause(), names.forEach((name, i) => model.off(name, listeners[i])), place.close(), sprites?.release());
}

const parameterName = ({ letter, proxy }) => ({ K: `K, images of a ${proxy ? "proxy" : "cluster"}`, N: "N, images of a group" })[letter] ?? letter;
const classWord = ({ proxy }) => (proxy ? "proxies" : "clusters");

function samplerData(model) {
  const meta = model.get("meta"), bytes = bytesOf(model.get("blob"));
  const [cluster, proxy, camera, order] = ["cluster", "proxy", "camera", "order"].map((name) => numbersAt(bytes, meta[name]));
  const inliers = [...order].filter((row) => cluster[row] >= 0);
  const samplers = meta.samplers.map((one) => {
    const classes = one.proxy ? proxy : cluster;
    const settings = one.settings.map(({ value, rows: entry }) => {
      const rows = numbersAt(bytes, entry);
      return { value, rows, many: rows.length / meta.size };
    });
    return { ...one, classes, settings, allClasses: new Set(inliers.map((row) => classes[row])).size };
  });
  return { meta, bytes, cluster, camera, order, samplers, allImages: inliers.length };
}

/** What an epoch does: numbers after each of its batches, how often it draws each image, and its shares. */
function epochOf(data, { classes, allClasses }, setting) {
  if (setting.epoch) return setting.epoch;
  const { size } = data.meta, counts = new Uint16Array(classes.length), seen = new Set(), steps = [];
  let images = 0, duplicates = 0, together = 0;
  for (let batch = 0; batch < setting.many; batch++) {
    const rows = setting.rows.subarray(batch * size, (batch + 1) * size), here = new Set();
    for (const row of rows) {
      if (!counts[row]++) images++;
      here.add(classes[row]);
      seen.add(classes[row]);
    }
    const different = new Set(rows).size;
    steps.push({ classes: here.size, different, duplicates: size - different, classes_seen: seen.size, images_seen: images });
    duplicates += size - different;
    together += here.size;
  }
  return (setting.epoch = {
    steps, counts, never: data.allImages - images, all_images: data.allImages, all_classes: allClasses,
    shares: { coverage: seen.size / allClasses, image_coverage: images / data.allImages, duplicates: duplicates / setting.rows.length, classes_per_batch: together / setting.many },
  });
}

/** A colour and a pattern for each class of a batch, in the order in which they come. */
function coloursOf(rows, classes) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(classes[row])) found.set(classes[row], [found.size % COLOURS, Math.floor(found.size / COLOURS) % 4]);
  }
  return found;
}

function batchCells(data, { classes }, rows, colours, sprites) {
  const times = new Map();
  return [...rows].map((row) => {
    const time = (times.get(row) ?? 0) + 1, [colour, pattern] = colours.get(classes[row]), camera = data.camera[row] + 1;
    times.set(row, time);
    const words = `image ${row}, cluster ${data.cluster[row]}, camera ${camera}${time > 1 ? `, drawn in this batch for time ${time}` : ""}`;
    return h("li", { class: `draw k${colour} p${pattern}${time > 1 ? " again" : ""}${sprites ? "" : " plain"}`, "data-row": row, title: words },
      h("span", { class: "sr" }, words),
      sprites?.thumb(row, ""),
      h("span", { class: "camera", "aria-hidden": "true" }, `c${camera}`),
      time > 1 ? h("span", { class: "times", "aria-hidden": "true" }, `×${time}`) : null,
      h("b", { class: "band", "aria-hidden": "true" }, String(data.cluster[row])));
  });
}

function legendOf(sampler, { duplicates }) {
  const colour = sampler.proxy ? "Colour: proxy. Number: its cluster; c1, c2, …: its camera." : "Colour and number: cluster; c1, c2, …: camera.";
  return [h("span", {}, colour), duplicates ? h("span", {}, h("span", { class: "times sample" }, "×2"), " the same image once more in this batch") : h("span", {}, "No image twice in this batch.")];
}

function numbersOf(sampler, epoch, now, size) {
  const word = classWord(sampler);
  const one = (name, text, value, all = size, rest = ` of ${all.toLocaleString("en")}`) => h("div", {}, h("dt", {}, text),
    h("dd", { "data-name": name, "data-value": value, "data-all": all }, h("b", {}, value.toLocaleString("en")), rest, barOf(value / all)));
  return [
    one("classes", `${word} in this batch`, now.classes, Math.min(size, epoch.all_classes), ""),
    one("different", "different images", now.different),
    one("duplicates", "duplicates", now.duplicates),
    one("classes_seen", `${word} visited so far`, now.classes_seen, epoch.all_classes),
    one("images_seen", "images seen so far", now.images_seen, epoch.all_images),
    one("never", "never seen by the end of the epoch", epoch.never, epoch.all_images),
  ];
}

function tableOf(data, sampler, current) {
  const word = classWord(sampler), columns = [["coverage", `${word} visited`], ["image_coverage", "images seen"], ["duplicates", "duplicates"], ["classes_per_batch", `${word} a batch`]];
  return h("table", {}, h("caption", {}, `One whole epoch (${plural(current.many, "batch", "batches")})`, sampler.settings.length > 1 ? `, for each ${sampler.letter}` : ""),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, sampler.settings.length > 1 ? sampler.letter : ""), columns.map(([, text]) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, sampler.settings.map((setting) => {
      const { shares } = epochOf(data, sampler, setting);
      return h("tr", { class: setting === current ? "current" : "", "aria-current": setting === current ? "true" : null },
        h("th", { scope: "row" }, setting.value === null ? sampler.title : sampler.settings.length > 1 ? String(setting.value) : `${sampler.title}: ${setting.value}`),
        columns.map(([name]) => h("td", { "data-name": name, "data-value": shares[name] },
          name === "classes_per_batch" ? shares[name].toFixed(1) : shareText(shares[name]),
          barOf(name === "classes_per_batch" ? shares[name] / data.meta.size : shares[name]))));
    })));
}

/** In whole percent, but neither 0 nor 100 where it is not. */
const shareText = (share) => (share > 0 && share < 1 && Math.abs(share - 0.5) >= 0.495 ? percent(Math.min(0.999, Math.max(0.001, share))) : percent(share, 0));
const barOf = (share) => h("span", { class: "bar", "aria-hidden": "true" }, h("span", { style: `width: ${100 * share}%` }));

function wordsOf(sampler, setting, epoch, batch) {
  const now = epoch.steps[batch], word = classWord(sampler);
  return `${sampler.title}${setting.value === null ? "" : ` ${sampler.letter} ${setting.value}`}, batch ${batch + 1} of ${setting.many}: ${now.classes} ${word}, ${now.different} different images, ${now.duplicates} duplicates. ` +
    `So far ${now.classes_seen} of ${epoch.all_classes} ${word} and ${now.images_seen} of ${epoch.all_images} images; ${epoch.never} images are never seen in this epoch.`;
}

/** Radio buttons side by side. */
function radios(label, choices, change) {
  const name = unique("choice");
  const inputs = choices.map(([value]) => h("input", { type: "radio", name, value: String(value), onchange: () => change(String(value)) }));
  const element = h("fieldset", {}, h("legend", {}, label), h("div", { class: "pills" }, choices.map(([, text], i) => h("label", { class: "pill" }, inputs[i], h("span", {}, text)))));
  return { element, set: (chosen) => inputs.forEach((input) => (input.checked = input.value === chosen)) };
}

/** Buttons and a slider that step through batches; `step` and `to` say whether there is a batch after; `paused` is told. */
function playerOf(step, to, paused) {
  let timer = null, at = 0, many = 1;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const button = (text, label, act) => h("button", { type: "button", "aria-label": label, onclick: act }, text);
  const pause = () => {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
    paused();
  };
  const toggle = () => {
    if (timer !== null) return pause();
    if (at === many - 1) to(0);
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => (!element.isConnected || !step(1)) && pause(), calm.matches ? SLOW : PACE);
  };
  const moved = (act) => () => (pause(), act());
  const back = button("◀", "Previous batch", moved(() => step(-1))), next = button("▶", "Next batch", moved(() => step(1)));
  const play = h("button", { type: "button", class: "play", onclick: toggle }, "▶ Play");
  const slider = h("input", { type: "range", min: "0", "aria-label": "Batch", oninput: moved(() => to(Number(slider.value))) });
  const name = h("p", { class: "head where" });
  const element = h("div", { class: "player" }, name, back, play, next, slider);
  return {
    element,
    pause,
    playing: () => timer !== null,
    show(batch, count) {
      [at, many] = [batch, count];
      back.setAttribute("aria-disabled", String(batch === 0)); // not disabled, which would take the focus away
      next.setAttribute("aria-disabled", String(batch === count - 1));
      slider.max = String(count - 1);
      slider.value = String(batch);
      slider.setAttribute("aria-valuetext", `batch ${batch + 1} of ${count}`);
      name.replaceChildren(h("strong", {}, `Batch ${batch + 1}`), h("span", { class: "facts" }, ` of ${count}`));
    },
  };
}
