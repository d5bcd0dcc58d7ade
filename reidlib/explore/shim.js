// The model without a kernel: the part of anywidget's model that the widgets use, over values in the page.
function pageModel(state, blob) {
  const values = { ...state, blob }, listeners = {};
  return {
    live: false,
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value;
      for (const listener of [...(listeners[`change:${name}`] ?? [])]) listener();
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    off(event, listener) {
      listeners[event] = (listeners[event] ?? []).filter((other) => other !== listener);
    },
    save_changes() {},
    send() {},
  };
}

function start(id, render) {
  const el = document.getElementById(id);
  const text = (part) => document.getElementById(`${id}-${part}`).textContent;
  try {
    const bytes = Uint8Array.from(atob(text("blob")), (character) => character.charCodeAt(0));
    const model = pageModel(JSON.parse(text("state")), new DataView(bytes.buffer));
    el.replaceChildren();
    el.reidlib = { model };
    render({ model, el });
  } catch (error) {
    el.textContent = `This figure could not start: ${error.message}`;
  }
}

