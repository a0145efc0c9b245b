// The tree as rows, of which only those in sight are elements.

const ROW = 26, SPARE = 8, FOLD = 18;

const indent = ({ depth }) => 5 + Math.min(depth - 1, 12) * 14;

class TreeView {
  constructor(container, standings, select) {
    Object.assign(this, { container, standings, select, rows: [], active: null });
    this.folded = new Set();
    this.hidden = new Set();
    this.words = ""; // what is looked for
    this.found = [];
    this.space = container.firstElementChild;
    container.addEventListener("scroll", () => this.paint());
    container.addEventListener("keydown", (event) => this.key(event));
    container.addEventListener("focus", () => { // a press moves to the row below it, and must not scroll before
      if (container.matches(":focus-visible")) this.move(this.active ?? this.rows[0]);
    });
    container.addEventListener("pointermove", (event) => {
      const at = `${event.clientX}/${event.clientY}`;
      if (at === this.at) return; // rows moved below it, not the pointer
      this.at = at;
      const thought = this.under(event);
      if (thought && thought !== this.pointed) this.select((this.pointed = thought));
    });
    container.addEventListener("pointerleave", () => {
      this.pointed = null;
      if (this.active) this.select(this.active);
    });
    container.addEventListener("click", (event) => {
      const thought = this.under(event);
      if (!thought) return;
      this.move(thought);
      const inside = event.clientX - this.space.getBoundingClientRect().left;
      if (inside < indent(thought) + FOLD && thought.children.length) this.fold(thought, !this.folded.has(thought.id));
    });
    new ResizeObserver(() => this.paint()).observe(container);
  }

  // By place, for the row that was pressed may have been drawn anew since.
  under(event) {
    return this.rows[Math.floor((event.clientY - this.space.getBoundingClientRect().top) / ROW)];
  }

  show(run) {
    if (run !== this.run) this.active = null;
    this.run = run;
    this.update();
  }

  // What is known, folded or hidden has changed: list the visible rows anew.
  update() {
    this.rows = [];
    this.look();
    const waiting = this.children(this.run.root).reverse();
    while (waiting.length) {
      const thought = waiting.pop();
      thought.position = this.rows.push(thought) - 1;
      if (this.only || !this.folded.has(thought.id)) waiting.push(...this.children(thought).reverse());
    }
    this.space.style.height = `${this.rows.length * ROW}px`;
    this.paint();
  }

  children(thought) {
    return thought.children.filter((child) => !this.hidden.has(child.standing) && (!this.only || this.only.has(child)));
  }

  // Which thoughts are shown alone, with those above them: those found, or those that the answer stands on.
  look() {
    const { words, chosenOnly, run } = this, sought = words.toLowerCase();
    const shown = (thought) => thought.depth > 0 && !this.hidden.has(thought.standing) &&
      (!chosenOnly || run.chosen.has(thought.id));
    this.only = sought || chosenOnly ? new Set() : null;
    this.found = [];
    if (!this.only) return;
    const waiting = [run.root];
    while (waiting.length) {
      const thought = waiting.pop();
      for (const child of thought.children.toReversed()) if (shown(child)) waiting.push(child);
      if (thought.depth === 0 || !`${thought.text}\n${thought.reasoning}`.toLowerCase().includes(sought)) continue;
      if (sought) this.found.push(thought);
      for (let above = thought; above.depth > 0 && !this.only.has(above); above = above.parent) this.only.add(above);
    }
  }

  find(words) {
    this.words = words.trim();
    this.update();
    if (this.found.length) this.move(this.found.includes(this.active) ? this.active : this.found[0]);
  }

  // To the next thought that was found, or the one before.
  step(by) {
    const { found, active } = this;
    if (!found.length) return;
    const at = found.indexOf(active);
    this.move(found[at < 0 ? (by > 0 ? 0 : found.length - 1) : (at + by + found.length) % found.length]);
  }

  collapse(all) {
    this.folded = new Set();
    if (all) for (const thought of this.run.thoughts.values()) if (thought.children.length) this.folded.add(thought.id);
    this.update();
  }

  fold(thought, folded) {
    if (folded) this.folded.add(thought.id);
    else this.folded.delete(thought.id);
    this.update();
  }

  reveal(thought) {
    if (this.only && !this.only.has(thought)) {
      this.words = "";
      this.chosenOnly = false;
    }
    for (let above = thought; above.depth > 0; above = above.parent) {
      if (above !== thought) this.folded.delete(above.id);
      this.hidden.delete(above.standing);
    }
    this.update();
    this.move(thought);
  }

  move(thought) {
    if (!thought) return;
    this.active = thought;
    this.pointed = null;
    const top = thought.position * ROW, { scrollTop, clientHeight } = this.container;
    if (top < scrollTop) this.container.scrollTop = top;
    if (top + ROW > scrollTop + clientHeight) this.container.scrollTop = top + ROW - clientHeight;
    this.draw();
    this.select(thought);
  }

  key(event) {
    const { active, rows } = this, index = active && rows[active.position] === active ? active.position : -1;
    const page = Math.floor(this.container.clientHeight / ROW) - 1;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length }[event.key];
    const folded = active && this.folded.has(active.id);
    if (step !== undefined) this.move(rows[Math.min(rows.length - 1, Math.max(0, index + step))]);
    else if (index < 0) return;
    else if (event.key === "ArrowRight" && folded) this.fold(active, false);
    else if (event.key === "ArrowRight") this.move(this.children(active)[0]);
    else if (event.key === "ArrowLeft" && active.children.length && !folded) this.fold(active, true);
    else if (event.key === "ArrowLeft" && active.depth > 1) this.move(active.parent);
    else if (event.key === "Enter" || event.key === " ") this.fold(active, !folded && active.children.length > 0);
    else return;
    event.preventDefault();
  }

  paint() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const { scrollTop, clientHeight } = this.container;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    this.space.replaceChildren(...this.rows.slice(first, last).map((thought) => this.row(thought)));
    const seen = this.active && this.rows.slice(first, last).includes(this.active);
    if (seen) this.container.setAttribute("aria-activedescendant", `thought-${this.active.id}`);
    else this.container.removeAttribute("aria-activedescendant");
  }

  row(thought) {
    const { id, standing, depth, position, reward, text } = thought;
    const [mark] = this.standings[standing], siblings = this.children(thought.parent);
    const folds = thought.children.length > 0, folded = !this.only && this.folded.has(id);
    const chosen = this.run.chosen.has(id), said = text.trim() || thought.reasoning.trim();
    const row = make("div", { className: `row ${standing}`, id: `thought-${id}` });
    row.style.top = `${position * ROW}px`;
    row.style.paddingInlineStart = `${indent(thought)}px`;
    row.classList.toggle("active", thought === this.active);
    row.classList.toggle("chosen", chosen);
    row.classList.toggle("reasoned", !text.trim() && said !== "");
    const short = depth > 4 ? `…${id.split(".").slice(-2).join(".")}` : id; // the details tell it in full
    const judged = typeof reward === "number";
    const described = {
      role: "treeitem", "aria-level": depth, "aria-setsize": siblings.length,
      "aria-posinset": siblings.indexOf(thought) + 1, "aria-selected": thought === this.active,
      "aria-label": `${id}, ${standing}${chosen ? ", on the answer's path" : ""}` +
        `${judged ? `, reward ${number(reward)}` : ""}: ${said || "no text"}`,
    };
    if (folds) described["aria-expanded"] = !folded;
    for (const [name, value] of Object.entries(described)) row.setAttribute(name, value);
    const part = (className, content = "") => make("span", { className, textContent: content });
    const value = part("reward");
    if (judged) value.append(make("meter", { value: reward, ariaHidden: "true" }), reward.toFixed(2));
    row.append(part("fold", folds ? (folded ? "+" : "−") : ""), part("mark", mark), part("path", short), value,
      this.marked(part("text"), said.replace(/\s+/g, " ")), part("word", chosen ? `★ ${standing}` : standing));
    return row;
  }

  // A text, with what is looked for marked; it begins a little before that.
  marked(element, text) {
    const sought = this.words.toLowerCase(), low = text.toLowerCase();
    let at = sought ? low.indexOf(sought) : -1, from = at > 40 ? at - 20 : 0;
    if (from) element.append("…");
    for (; at >= 0; at = low.indexOf(sought, from)) {
      element.append(text.slice(from, at), make("mark", { textContent: text.slice(at, at + sought.length) }));
      from = at + sought.length;
    }
    element.append(text.slice(from));
    return element;
  }
}
