/* <yc-boxes>: boxes on a photo, drawn and changed with finger, mouse or keyboard. Its `value` is what to send.

   data-mode     trainer: every box has a class; owner: findings are judged one by one, and missed things are drawn
   data-key      what it is about; a new element with the same key goes on where the last one was left
   data-src      the photo's address, or a selector of the <img> on the page that shows it
   data-boxes    [{label, box: [x1, y1, x2, y2]}], box in shares of the photo
   data-found    [{number, label, color, name}] for the owner to judge
   data-classes  [[id, name]], data-words {key: word} */
(() => {
  const kept = new Map();
  const MOST = 8, STEP = 0.002, LEAST = 0.004;
  const make = (tag, attributes = {}, ...inside) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...inside);
    return made;
  };
  const clamp = (v, low = 0, high = 1) => Math.min(high, Math.max(low, v));

  class Boxes extends HTMLElement {
    /* Gradio patches attributes of the element that is there, and removes children that it doesn't know: so the inside
       stands in a shadow, and is built anew when the outside says something else. */
    static observedAttributes = ["key", "src", "boxes", "found", "classes", "words"].map((name) => `data-${name}`);

    connectedCallback() { this.later(); }

    attributeChangedCallback() { if (this.isConnected) this.later(); }

    later() {
      if (this.coming) return;
      this.coming = true;
      queueMicrotask(() => { this.coming = false; this.begin(); });
    }

    begin() {
      if (!this.shadowRoot) this.attachShadow({ mode: "open" });
      this.image = null;
      const read = (name, otherwise) => JSON.parse(this.dataset[name] || otherwise);
      this.owner = this.dataset.mode === "owner";
      this.words = read("words", "{}");
      this.classes = read("classes", "[]");
      this.found = read("found", "[]");
      this.names = new Map(this.classes);
      const state = kept.get(this.dataset.key) || { boxes: read("boxes", "[]"), judged: {}, zoom: 1 };
      kept.clear();
      kept.set(this.dataset.key, state);
      this.state = state;
      this.chosen = -1;
      this.drawing = true;
      this.build();
    }

    get value() {
      const boxes = this.state.boxes.map(({ label, box }) => ({ label, box }));
      if (!this.owner) return { key: this.dataset.key, boxes };
      const wrong = this.found.map(({ number, label, color }) => ({ label, color, really: this.state.judged[number] }))
        .filter(({ really }) => really && really !== "right")
        .map((one) => ({ ...one, really: one.really === "unknown" ? null : one.really }));
      return { key: this.dataset.key, wrong, missed: boxes };
    }

    reset() {
      this.state.boxes = [];
      this.state.judged = {};
      this.chosen = -1;
      this.rows();
      this.place();
    }

    build() {
      const word = (key) => this.words[key] || key;
      const button = (key, act, extra = {}) =>
        make("button", { type: "button", class: "yb-button", "aria-label": word(key), title: word(key), onclick: act, ...extra });
      this.sheet = make("div", { class: "yb-sheet yb-draw" });
      this.view = make("div", { class: "yb-view" }, this.sheet);
      this.list = make("ol", { class: "yb-rows" });
      this.judge = make("ol", { class: "yb-rows yb-found" });
      const mode = button("pan", () => {
        this.drawing = !this.drawing;
        this.sheet.classList.toggle("yb-draw", this.drawing);
        mode.setAttribute("aria-pressed", String(!this.drawing));
      }, { "aria-pressed": "false" });
      mode.textContent = word("pan");
      const smaller = button("smaller", () => this.zoom(1 / 1.6)), larger = button("larger", () => this.zoom(1.6));
      const add = button("add", () => this.add());
      [smaller.textContent, larger.textContent, add.textContent] = ["－", "＋", word("add")];
      const bar = make("div", { class: "yb-bar", role: "toolbar" }, add, mode, smaller, larger);
      const source = this.dataset.src;
      this.options = `yb-${Math.random().toString(36).slice(2)}`;
      const list = make("datalist", { id: this.options });
      for (const [id, name] of this.classes) list.append(make("option", { value: name, label: id }));
      const told = (key, tag = "p") => make(tag, { class: "yb-quiet" }, word(key));
      const heading = (key) => make("h4", {}, word(key));
      const root = this.shadowRoot;
      root.replaceChildren(make("style", {}, window.ycBoxesStyle));
      if (this.owner && this.found.length) root.append(heading("found"), this.judge);
      if (source) {
        const shown = source.startsWith("#") ? document.querySelector(source)?.src : source;
        this.image = make("img", { class: "yb-image", alt: "", draggable: "false", src: shown || "" });
        this.sheet.append(this.image);
        root.append(...(this.owner ? [heading("missed")] : []), bar, this.view, told(this.owner ? "help_owner" : "help"));
        this.sheet.addEventListener("pointerdown", (event) => this.down(event));
        this.sheet.addEventListener("keydown", (event) => this.key(event));
      }
      root.append(this.list, list);
      this.zoom(1);
      this.rows();
      this.place();
    }

    /* --- the photo ------------------------------------------------------------------------------------------------ */

    zoom(by) {
      const { view, sheet, state } = this, before = sheet.clientWidth || 1;
      const middle = [(view.scrollLeft + view.clientWidth / 2) / before, (view.scrollTop + view.clientHeight / 2) / (sheet.clientHeight || 1)];
      state.zoom = clamp(state.zoom * by, 1, MOST);
      sheet.style.width = `${100 * state.zoom}%`;
      view.scrollLeft = middle[0] * sheet.clientWidth - view.clientWidth / 2;
      view.scrollTop = middle[1] * sheet.clientHeight - view.clientHeight / 2;
    }

    at(event) {
      const r = this.sheet.getBoundingClientRect();
      return [clamp((event.clientX - r.left) / r.width), clamp((event.clientY - r.top) / r.height)];
    }

    down(event) {
      if (event.button) return;
      const handle = event.target.closest(".yb-handle"), on = event.target.closest(".yb-box");
      if (!handle && !on && !this.drawing) return;
      event.preventDefault();
      const start = this.at(event), boxes = this.state.boxes;
      let move;
      if (handle || on) {
        const index = Number((on || handle.parentElement).dataset.index), box = [...boxes[index].box];
        this.choose(index);
        const [left, top] = handle ? [handle.dataset.corner.includes("l"), handle.dataset.corner.includes("t")] : [];
        move = ([x, y]) => {
          const [dx, dy] = [x - start[0], y - start[1]];
          boxes[index].box = handle
            ? this.sorted([left ? box[0] + dx : box[0], top ? box[1] + dy : box[1], left ? box[2] : box[2] + dx, top ? box[3] : box[3] + dy])
            : this.shifted(box, dx, dy);
        };
      } else {
        this.choose(-1);
        boxes.push({ label: "", box: [...start, ...start] });
        const fresh = boxes.length - 1;
        move = (point) => { boxes[fresh].box = this.sorted([...start, ...point]); };
      }
      const drawn = !(handle || on);
      const going = (e) => { move(this.at(e)); this.place(); };
      const done = (e) => {
        this.sheet.removeEventListener("pointermove", going);
        this.sheet.removeEventListener("pointerup", done);
        this.sheet.removeEventListener("pointercancel", done);
        if (!drawn) return;
        const last = boxes.at(-1).box, size = this.sheet.getBoundingClientRect();
        const tiny = (last[2] - last[0]) * size.width < 4 || (last[3] - last[1]) * size.height < 4;
        if (tiny || e.type === "pointercancel") boxes.pop();
        else this.chosen = boxes.length - 1;
        this.rows();
        this.place();
        if (!tiny && !this.owner) this.ask(this.chosen);
      };
      try { this.sheet.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
      this.sheet.addEventListener("pointermove", going);
      this.sheet.addEventListener("pointerup", done);
      this.sheet.addEventListener("pointercancel", done);
      this.place();
    }

    sorted([a, b, c, d]) {
      const [x1, x2] = [clamp(a), clamp(c)].sort((p, q) => p - q), [y1, y2] = [clamp(b), clamp(d)].sort((p, q) => p - q);
      return [Math.min(x1, 1 - LEAST), Math.min(y1, 1 - LEAST), Math.max(x2, Math.min(x1, 1 - LEAST) + LEAST), Math.max(y2, Math.min(y1, 1 - LEAST) + LEAST)];
    }

    shifted([x1, y1, x2, y2], dx, dy) {
      const [w, h] = [x2 - x1, y2 - y1], x = clamp(x1 + dx, 0, 1 - w), y = clamp(y1 + dy, 0, 1 - h);
      return [x, y, x + w, y + h];
    }

    key(event) {
      const on = event.target.closest(".yb-box");
      if (!on) return;
      const index = Number(on.dataset.index), one = this.state.boxes[index];
      const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (way) {
        const [x1, y1, x2, y2] = one.box;
        one.box = event.shiftKey
          ? [x1, y1, clamp(x2 + way[0], x1 + LEAST), clamp(y2 + way[1], y1 + LEAST)]
          : this.shifted(one.box, ...way);
        this.place();
      } else if (event.key === "Delete" || event.key === "Backspace") {
        this.drop(index);
      } else if (event.key === "Enter") {
        this.ask(index);
      } else return;
      event.preventDefault();
    }

    add() {
      const size = this.sheet.getBoundingClientRect(), seen = this.view.getBoundingClientRect();
      const x = (seen.left + seen.width / 2 - size.left) / size.width, y = (seen.top + seen.height / 2 - size.top) / size.height;
      const w = (0.12 * seen.width) / size.width, h = (0.12 * seen.width) / size.height;
      this.state.boxes.push({ label: "", box: this.sorted([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) });
      this.chosen = this.state.boxes.length - 1;
      this.rows();
      this.place();
      this.sheet.querySelector(`[data-index="${this.chosen}"]`).focus();
    }

    drop(index) {
      this.state.boxes.splice(index, 1);
      this.chosen = Math.min(index, this.state.boxes.length - 1);
      this.rows();
      this.place();
      const next = this.sheet.querySelector(`[data-index="${this.chosen}"]`);
      if (next) next.focus({ preventScroll: true });
    }

    choose(index) {
      if (this.chosen === index) return;
      this.chosen = index;
      this.place();
      this.list.querySelectorAll("li").forEach((row, i) => row.classList.toggle("yb-chosen", i === index));
    }

    /* Puts the boxes where they belong; the elements stay, so that the keyboard's focus does. */
    place() {
      const { sheet, state } = this, old = [...sheet.querySelectorAll(".yb-box")];
      if (!this.image) return;
      state.boxes.forEach((one, index) => {
        let box = old[index];
        if (!box) {
          box = make("div", { class: "yb-box", tabindex: "0", role: "button", onfocus: (e) => this.choose(Number(e.currentTarget.dataset.index)) }, make("span", { class: "yb-tag" }));
          for (const corner of ["tl", "tr", "bl", "br"]) box.append(make("i", { class: `yb-handle yb-${corner}`, "data-corner": corner }));
          sheet.append(box);
        }
        const [x1, y1, x2, y2] = one.box, name = this.names.get(one.label) || one.label || "?";
        box.dataset.index = index;
        Object.assign(box.style, { left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%` });
        box.classList.toggle("yb-chosen", index === this.chosen);
        box.classList.toggle("yb-unnamed", !one.label && !this.owner);
        box.setAttribute("aria-label", `${this.words.box || ""} ${index + 1}: ${name}`);
        box.firstChild.textContent = index === this.chosen && one.label ? `${index + 1} ${name}` : String(index + 1);
      });
      old.slice(state.boxes.length).forEach((box) => box.remove());
    }

    /* --- the lists ------------------------------------------------------------------------------------------------ */

    ask(index) {
      this.list.children[index]?.querySelector("input, select")?.focus({ preventScroll: true });
    }

    rows() {
      const word = (key) => this.words[key] || key;
      const options = (first, chosen) => first.concat(this.classes).map(([id, name]) => {
        const option = make("option", { value: id }, name);
        option.selected = id === chosen;
        return option;
      });
      this.judge.replaceChildren(...this.found.map(({ number, label, name }) => {
        const judged = this.state.judged[number] || "right";
        const first = [["right", word("right")], ["unknown", word("wrong")], ["nothing", word("nothing")]];
        const choice = make("select", { "aria-label": `${number} ${name}`, onchange: (e) => { this.state.judged[number] = e.target.value; } });
        choice.append(...options(first, judged).slice(0, 3));
        const group = make("optgroup", { label: word("really") });
        group.append(...options([], judged).filter((option) => option.value !== label));
        choice.append(group);
        return make("li", {}, make("b", {}, `${number} ${name}`), choice);
      }));
      this.list.replaceChildren(...this.state.boxes.map((one, index) => {
        const tell = (label) => { one.label = label; this.place(); };
        const title = { "aria-label": `${word("box")} ${index + 1}, ${word("class")}`, onfocus: () => this.choose(index) };
        let field;
        if (this.owner) {
          field = make("select", { ...title, onchange: (e) => tell(e.target.value) });
          field.append(...options([["", word("unnamed")]], one.label));
        } else {
          field = make("input", { ...title, list: this.options, autocomplete: "off", placeholder: word("class"), value: this.names.get(one.label) || one.label });
          const match = (ended) => {
            const given = field.value.trim().toLowerCase(), all = this.classes;
            const same = all.find(([id, name]) => id === given || name.toLowerCase() === given);
            const near = all.filter(([id, name]) => id.includes(given) || name.toLowerCase().includes(given));
            const hit = same || (ended && given && near.length === 1 ? near[0] : null);
            tell(hit ? hit[0] : "");
            if (hit && ended) field.value = hit[1];
            field.setCustomValidity(hit ? "" : word("unknown"));
          };
          if (!one.label) field.setCustomValidity(word("unknown"));
          field.addEventListener("input", () => match(false));
          field.addEventListener("change", () => match(true));
        }
        const remove = make("button", { type: "button", class: "yb-button yb-remove", "aria-label": `${word("delete")} ${index + 1}`, onclick: () => this.drop(index) }, "✕");
        return make("li", { class: index === this.chosen ? "yb-chosen" : null }, make("b", {}, String(index + 1)), field, remove);
      }));
    }
  }
  customElements.define("yc-boxes", Boxes);

  /* Photos stay with the owner until they agree that one is kept: what was chosen is remembered here, in the browser. */
  let chosen = [];
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (input.type === "file" && input.files.length && input.parentElement.querySelector("#yc-upload")) chosen = [...input.files];
  }, true);
  document.addEventListener("click", (event) => { if (event.target.closest("#yc-sample")) chosen = []; }, true);

  /* What the event takes besides the widgets: what was drawn, and the photo itself if the owner agreed. */
  window.ycReport = async (state, lang, kind, severity, comment, consent) => {
    const boxes = document.querySelector("#yc-wrong yc-boxes");
    const photo = chosen[Number(boxes?.dataset.number || 1) - 1];
    let file = null;
    if (consent && photo) {
      const form = new FormData();
      form.append("files", photo, "photo");
      const sent = await fetch("gradio_api/upload", { method: "POST", body: form });
      if (sent.ok) file = { path: (await sent.json())[0], orig_name: "photo", meta: { _type: "gradio.FileData" } };
    }
    return [state, lang, kind, severity, comment, consent, JSON.stringify(boxes ? boxes.value : {}), file];
  };
  window.ycBoxes = () => JSON.stringify(document.querySelector("#yc-editor yc-boxes")?.value || {});
})();
