// Puts the parts together, from the data in the page or from a gateway's events.

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
let app;

const say = (text) => (find("status").textContent = text);

function details(thought, run) {
  const request = thought.writing, at = (time) => (typeof time === "number" ? `${number(time, 3)} s` : undefined);
  const early = request && request.demanded !== null && request.demanded > request.from;
  const facts = {
    answer: run.chosen.has(thought.id) ? "on the answer's path" : undefined,
    "": `${data.standings[thought.standing][0]} ${thought.standing}: ${data.standings[thought.standing][1]}`,
    "same as": thought.sameAs,
    "written by": thought.engine,
    run: app.runs.length > 1 ? run.label : undefined,
    reward: typeof thought.reward === "number" ? number(thought.reward, 4) : undefined,
    "the reward says": thought.words,
    tokens: thought.tokens ?? undefined,
    "begun at": request && at(request.from),
    "demanded at": early ? `${at(request.demanded)}, ${number(request.demanded - request.from, 3)} s after it was begun` : undefined,
    "ended at": request && at(request.to),
    "judged at": thought.judging && at(thought.judging.to),
  };
  const list = make("dl");
  for (const [name, fact] of Object.entries(facts))
    if (fact !== undefined) list.append(make("dt", { textContent: name || "is" }), make("dd", { textContent: fact }));
  find("details").replaceChildren(
    make("h3", { textContent: `Thought ${thought.id}` }), list, ...reasoned(thought),
    make("pre", { textContent: thought.text || "(no text)" }));
}

function reasoned({ reasoning, text }) {
  if (!reasoning) return [];
  const open = !text.trim() || app.tree.words !== "";
  return [make("details", { open, className: "reasoning" },
    make("summary", { textContent: `reasoning, ${number(reasoning.length)} characters` }),
    make("pre", { textContent: reasoning }))];
}

function waiting(run, what) {
  const seconds = run.waits()[what];
  return run.requests.length && run.end ? `${number((100 * seconds) / run.end, 0)} %, ${number(seconds)} s` : "not known";
}

// What the tokens of each run come to, where their prices are given.
function price(runs) {
  const [sent, written] = ["sent-price", "written-price"].map((id) => find(id).valueAsNumber);
  if (Number.isNaN(sent) && Number.isNaN(written)) return (find("price").textContent = "");
  const cost = ({ ledger }) =>
    ((sent || 0) * (ledger.sent_tokens ?? 0) + (written || 0) * (ledger.decoded_tokens ?? 0)) / 1e6;
  find("price").textContent = runs.map((run) => `${run.label}: ${number(cost(run), 6)}`).join("; ");
}

function table(element, head, rows) {
  const cell = (name, content) => make(name, { textContent: content });
  const header = (content, scope) => Object.assign(cell("th", content), { scope });
  element.replaceChildren(
    make("thead", {}, make("tr", {}, cell("td", ""), ...head.map((title) => header(title, "col")))),
    make("tbody", {}, ...rows.map(([title, ...values]) =>
      make("tr", {}, header(title, "row"), ...values.map((value) => cell("td", value))))));
}

function verdict([one, other]) {
  if (!other) return "";
  if (one.question !== other.question) return "The two runs had different questions.";
  const tree = one.tree_sha256 === other.tree_sha256 ? `the same tree, ${one.tree.length} thoughts`
    : (({ count, first }) => first === undefined ? "the same texts, with different rewards"
      : `different trees: ${count} thoughts differ, the first is ${first}`)(firstDifference(one, other));
  const [slow, fast] = one.seconds >= other.seconds ? [one, other] : [other, one];
  return `${fast.label} took ${number(fast.seconds)} s and ${slow.label} ${number(slow.seconds)} s, ` +
    `${number(slow.seconds / fast.seconds)} times as long; ${tree}.`;
}

// What was decoded for thoughts by each engine of a search over several; its own has no name.
const byEngine = ({ engines = {} }) => Object.entries(engines)
  .map(([name, { useful_tokens, wasted_tokens }]) => `${name || "its own"} ${number(useful_tokens + wasted_tokens)}`)
  .join(", ");

function figures(runs) {
  const ledger = (name, digits) => runs.map((run) => number(run.ledger[name], digits));
  find("verdict").textContent = verdict(runs);
  table(find("outcome"), runs.map((run) => run.label), [
    ["answer", ...runs.map((run) => run.answer ?? "none")],
    ["seconds", ...runs.map((run) => number(run.seconds))],
    ["waiting for thoughts", ...runs.map((run) => waiting(run, "thoughts"))],
    ["waiting for rewards alone", ...runs.map((run) => waiting(run, "rewards"))],
    ["calls of the engine", ...ledger("calls")],
    ["tokens sent", ...ledger("sent_tokens")],
    ["tokens decoded", ...ledger("decoded_tokens")],
    ["tokens sent in vain", ...ledger("vain_tokens")],
    ["tokens wasted", ...ledger("wasted_tokens")],
    ["thoughts in the tree", ...runs.map((run) => number((run.counts().accepted ?? 0) + (run.counts().merged ?? 0)))],
    ["begun early, of which demanded", ...runs.map(({ ledger }) => `${number(ledger.launched)}, ${number(ledger.hits)}`)],
    ...(runs.some((run) => run.engines) ? [["tokens by engine", ...runs.map(byEngine)]] : []),
    ["ended by", ...runs.map((run) => run.stopped ?? "the policy")],
    ["policy", ...runs.map(({ settings }) => settings.policy_settings ?? settings.policy ?? "")],
    ["engine, reward, seed", ...runs.map(({ settings: { engine, reward, seed } }) =>
      [engine, reward, seed].filter((part) => part !== undefined).join(", "))],
    ["hash of the tree", ...runs.map((run) => run.tree_sha256?.slice(0, 12) ?? "")],
  ]);
  const spent = (name) => runs.some((run) => run.ledger[name]);
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.ledger)))].filter(spent);
  table(find("ledger"), runs.map((run) => run.label), names.map((name) => [name.replaceAll("_", " "), ...ledger(name, 2)]));
  price(runs);
}

class App {
  constructor(runs) {
    this.runs = runs;
    this.run = runs.at(-1);
    this.tree = new TreeView(find("tree"), data.standings, (thought) => details(thought, this.run));
    this.timelines = new Timelines(runs, find("timelines"), (request, follow) => this.choose(request, follow));
    timelineLegend(find("timeline-legend"), data.live);
    find("zoom-in").onclick = () => this.timelines.zoom(0.5);
    find("zoom-out").onclick = () => this.timelines.zoom(2);
    find("zoom-all").onclick = () => this.timelines.all();
    find("collapse").onclick = () => this.tree.collapse(true);
    find("expand").onclick = () => this.tree.collapse(false);
    find("find").oninput = () => this.find(find("find").value);
    find("find").onkeydown = (event) => this.searching(event);
    find("next").onclick = () => this.tree.step(1);
    find("previous").onclick = () => this.tree.step(-1);
    find("chosen").onclick = () => this.chosenOnly();
    for (const id of ["sent-price", "written-price"]) find(id).oninput = () => price(this.runs);
    document.addEventListener("keydown", (event) => this.key(event));
    const chooser = find("tree-run").querySelector("select");
    find("tree-run").hidden = runs.length < 2;
    chooser.append(...runs.map((run) => make("option", { textContent: run.label, selected: run === this.run })));
    chooser.onchange = () => this.show(runs[chooser.selectedIndex]);
    this.chooser = chooser;
    this.toggles = Object.entries(data.standings).map(([standing, [, meaning]]) => {
      const toggle = make("button", { type: "button", title: meaning, ariaPressed: "true" });
      toggle.className = "standing";
      toggle.onclick = () => {
        const { hidden } = this.tree;
        if (!hidden.delete(standing)) hidden.add(standing);
        this.update();
      };
      find("standings").append(toggle);
      return [standing, toggle];
    });
    this.update();
  }

  show(run) {
    this.run = run;
    this.chooser.selectedIndex = this.runs.indexOf(run);
    this.update();
  }

  find(words) {
    this.tree.find(words);
    this.counts();
  }

  chosenOnly() {
    this.tree.chosenOnly = !this.tree.chosenOnly;
    this.tree.update();
    this.counts();
  }

  searching(event) {
    if (event.key === "Enter") this.tree.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      find("find").value = "";
      this.find("");
      find("tree").focus();
    } else return;
    event.preventDefault();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const keys = { "/": () => find("find").select(), n: () => this.tree.step(1), p: () => this.tree.step(-1), a: () => this.chosenOnly() };
    if (!keys[event.key]) return;
    event.preventDefault();
    if (event.key === "/") find("find").focus();
    keys[event.key]();
  }

  choose(request, follow) {
    if (request.run !== this.run) this.show(request.run);
    this.timelines.choose(request);
    if (!follow) return details(request.thought, this.run);
    this.tree.reveal(request.thought);
    find("find").value = this.tree.words;
    this.counts();
    find("tree").focus();
  }

  counts() {
    const counts = this.run.counts(), { words, found, chosenOnly } = this.tree;
    find("found").textContent = words ? `${number(found.length)} found` : "";
    for (const id of ["next", "previous"]) find(id).disabled = !found.length;
    find("chosen").hidden = !this.run.chosen.size;
    find("chosen").ariaPressed = String(Boolean(chosenOnly));
    for (const [standing, toggle] of this.toggles) {
      toggle.hidden = !counts[standing];
      toggle.textContent = `${data.standings[standing][0]} ${standing} ${number(counts[standing] ?? 0)}`;
      toggle.ariaPressed = String(!this.tree.hidden.has(standing));
    }
  }

  update() {
    const { question, answer } = this.run;
    find("question").textContent = question;
    find("answer").textContent = answer === null ? "" : `Answer: ${answer}`;
    this.tree.show(this.run);
    this.timelines.update();
    this.counts();
    figures(this.runs);
  }
}

// A search of a gateway, while it runs.

async function watch() {
  const search = location.pathname.replace(/\/view\/?$/, "");
  let key = "", last = "", run, changed = false, heardAt = 0;
  const ask = (path, headers = {}) =>
    fetch(search + path, { headers: { ...headers, ...(key && { Authorization: `Bearer ${key}` }) } });
  const asked = () => new Promise((resolve) => {
    find("key-form").hidden = false;
    find("key").focus();
    find("key-form").onsubmit = (event) => {
      event.preventDefault();
      find("key-form").hidden = true;
      resolve(find("key").value.trim());
    };
  });
  for (;;) {
    const answer = await ask("");
    if (answer.status === 401) {
      say(key ? "The gateway does not know this key." : "The gateway asks for a key.");
      key = await asked();
    } else if (!answer.ok) return say(`The gateway says ${answer.status}: ${(await answer.json()).error?.message ?? ""}`);
    else {
      const found = await answer.json();
      run = new Run({ question: found.question, name: found.model });
      app = new App([run]);
      break;
    }
  }
  const take = (event) => {
    if (event.type === "thought") run.hear(event);
    if (event.type === "search") {
      const { state, answer, seconds, stopped, ledger, tree_sha256, error } = event;
      Object.assign(run, { state, answer, seconds, stopped, ledger, tree_sha256 });
      say(error ? `failed: ${error.message}` : state);
    }
    changed = true;
    heardAt = performance.now();
  };
  const ended = () => ["done", "failed"].includes(run.state);
  const tick = setInterval(() => {
    if (run.state === "running") run.latest += (performance.now() - heardAt) / 1000;
    if (run.state === "running" || changed) app.update();
    heardAt = performance.now();
    changed = false;
    if (ended()) clearInterval(tick);
  }, 250);
  while (!ended()) {
    try {
      const answer = await ask("/events", last && { "Last-Event-ID": last });
      if (answer.status === 204) break;
      if (!answer.ok) throw new Error(answer.status);
      let rest = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const blocks = (rest + part.value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const field = (name) => block.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
          if (field("data")) take(JSON.parse(field("data")));
          last = field("id") ?? last;
        }
      }
    } catch {
      say("The connection is lost; trying again.");
    }
    if (!ended()) await new Promise((resolve) => setTimeout(resolve, 2000));
  }
  app.update();
}

if (data.live) await watch();
else {
  const runs = data.runs.map((run) => new Run(run));
  if (runs.length > 1 && runs[0].label === runs[1].label)
    for (const [index, run] of runs.entries()) run.name = `${run.label}, ${["first", "second"][index]}`;
  app = new App(runs.sort((one, other) => (one.settings.speculation ?? 0) - (other.settings.speculation ?? 0)));
}
