// What events come to: thoughts with their standing, and requests with their times.

class Run {
  constructor(recording) {
    Object.assign(this, { settings: {}, ledger: {}, question: "", answer: null, seconds: 0 }, recording);
    this.root = { id: "", children: [], depth: 0 };
    this.thoughts = new Map([["", this.root]]);
    this.requests = [];
    this.decisions = new Set();
    this.heard = new Set();
    this.latest = 0;
    for (const row of recording.tree ?? []) {
      const thought = this.thought(row.path.join("."));
      Object.assign(thought, { text: row.text, reasoning: row.reasoning ?? "", tokens: row.tokens,
        reward: row.reward, words: row.words, ends: row.ends, engine: row.engine, sameAs: row.same_as });
      thought.standing = row.same_as === undefined ? "accepted" : "merged";
    }
    for (const event of recording.events ?? []) this.hear(event);
    this.chosen = new Set(); // the thoughts that the answer stands on
    for (let end = recording.answer_path?.length ?? 0; end > 0; end--)
      this.chosen.add(recording.answer_path.slice(0, end).join("."));
  }

  get label() {
    return this.name ?? `speculation ${this.settings.speculation ? "on" : "off"}`;
  }

  get end() {
    return Math.max(this.seconds, this.latest);
  }

  thought(id) {
    let thought = this.thoughts.get(id);
    if (thought === undefined) {
      const parent = this.thought(id.includes(".") ? id.slice(0, id.lastIndexOf(".")) : "");
      const index = Number(id.slice(id.lastIndexOf(".") + 1));
      thought = { id, parent, index, children: [], depth: parent.depth + 1, text: "", reasoning: "", standing: "demanded" };
      this.thoughts.set(id, thought);
      const after = parent.children.findLastIndex((elder) => elder.index < index);
      parent.children.splice(after + 1, 0, thought);
    }
    return thought;
  }

  hear({ id, status, text, reasoning, reward, seconds, tokens, engine, same_as }) {
    const key = `${status}/${id}/${seconds}`; // a stream that was broken off repeats itself
    if (this.heard.has(key)) return;
    this.heard.add(key);
    const thought = this.thought(id);
    if (text) thought.text = text;
    if (reasoning) thought.reasoning = reasoning;
    if (typeof reward === "number") thought.reward = reward;
    if (engine) thought.engine = engine;
    if (same_as !== undefined) thought.sameAs = same_as;
    if (typeof seconds !== "number") seconds = null;
    else this.latest = Math.max(this.latest, seconds);
    const standing = {
      begun: "demanded", speculative: "speculative", demanded: "demanded",
      accepted: thought.sameAs === undefined ? "accepted" : "merged",
      cancelled: "retracted", failed: "failed", wasted: "wasted",
    }[status];
    if (standing) thought.standing = standing;
    if (["written", "accepted", "wasted"].includes(status)) thought.tokens = tokens;
    if (seconds === null) return;
    if (["begun", "demanded"].includes(status)) this.decisions.add(seconds);
    if (status === "begun") thought.writing = this.open(thought, "thought", seconds, seconds);
    if (status === "speculative") thought.writing = this.open(thought, "thought", seconds, null);
    if (status === "scoring") thought.judging = this.open(thought, "reward", seconds, seconds);
    if (status === "judged" && thought.judging) thought.judging.to = seconds;
    if (!thought.writing) return;
    if (status === "demanded") thought.writing.demanded = seconds;
    if (["written", "cancelled", "failed", "wasted"].includes(status)) thought.writing.to ??= seconds;
    if (["retracted", "failed", "wasted"].includes(standing)) thought.writing.outcome = standing;
  }

  open(thought, kind, from, demanded) {
    const request = { run: this, thought, kind, from, demanded, to: null, outcome: null };
    this.requests.push(request);
    return request;
  }

  // How long the search had demanded thoughts in the writing, and how long it had none, but waited
  // for rewards of what it had demanded.
  waits() {
    const steps = [];
    const count = (what, from, to) => from < to && steps.push([from, what, 1], [to, what, -1]);
    for (const { kind, thought, demanded, from, to } of this.requests) {
      const asked = thought.writing ? thought.writing.demanded : from;
      if (asked === null) continue;
      if (kind === "thought") count("thoughts", demanded, to ?? this.end);
      else count("rewards", Math.max(from, asked), to ?? this.end);
    }
    const waits = { thoughts: 0, rewards: 0 }, open = { thoughts: 0, rewards: 0 };
    let before = 0;
    for (const [time, what, change] of steps.sort(([one], [other]) => one - other)) {
      const waited = open.thoughts ? "thoughts" : open.rewards ? "rewards" : null;
      if (waited) waits[waited] += time - before;
      before = time;
      open[what] += change;
    }
    return waits;
  }

  counts() {
    const counts = {};
    for (const { standing } of this.thoughts.values()) if (standing) counts[standing] = (counts[standing] ?? 0) + 1;
    return counts;
  }
}

// Requests in lanes: a lane is free again once its request has ended.
function lanes(run) {
  const free = [], lanes = [];
  for (const request of run.requests.toSorted((one, other) => one.from - other.from)) {
    let lane = request.kind === "reward" ? request.thought.writing?.lane ?? 0 : 0;
    if (!(free[lane] <= request.from)) lane = free.findIndex((until) => until <= request.from);
    if (lane < 0) lane = free.length;
    free[lane] = request.to ?? Infinity;
    request.lane = lane;
    (lanes[lane] ??= []).push(request);
  }
  return lanes;
}

function firstDifference(one, other) {
  const rows = (run) => new Map(run.tree.map((row) => [row.path.join("."), row.text]));
  const left = rows(one), right = rows(other);
  const different = [...new Set([...left.keys(), ...right.keys()])].filter((id) => left.get(id) !== right.get(id));
  return { count: different.length, first: different[0] };
}

const make = (name, attributes = {}, ...content) => {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...content.map((part) => part ?? ""));
  return element;
};

const number = (value, digits = 2) =>
  typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: digits }) : "none";
