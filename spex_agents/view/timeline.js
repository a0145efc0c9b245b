// Requests over time on a canvas for each run, all on one time scale.

const AXIS = 22, LANE = 14, TALLEST = 340;

const LOOKS = {
  demanded: "demanded: the search waits for it",
  early: "begun early, demanded later",
  open: "begun early, not demanded so far",
  wasted: "begun early in vain",
  reward: "reward pending",
};

// Told apart by filling and height as well as by colour.
function drawBar(context, look, x, y, width, height, colors) {
  width = Math.max(width, 1);
  context.fillStyle = context.strokeStyle = colors[look === "open" ? "early" : look];
  const inset = height > 4 ? 1 : 0;
  y += inset / 2;
  height -= inset;
  if (look === "demanded") return context.fillRect(x, y, width, height);
  if (look === "reward") return context.fillRect(x, y + height * 0.38, width, Math.max(height * 0.24, 0.6));
  if (look === "wasted") {
    const half = height / 2;
    if (height < 6) return context.fillRect(x, y + half / 2, width, half);
    context.lineWidth = 1.2;
    return context.strokeRect(x + 0.6, y + half / 2, Math.max(width - 1.2, 0.5), half);
  }
  context.globalAlpha = 0.45;
  context.fillRect(x, y, width, height);
  context.globalAlpha = 1;
  if (height < 6) return;
  context.beginPath();
  context.save();
  context.rect(x, y, width, height);
  context.clip();
  context.beginPath();
  for (let at = x - height; at < x + width; at += 5) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.lineWidth = 1;
  context.stroke();
  context.restore();
  if (look === "open") {
    context.setLineDash([3, 2]);
    context.strokeRect(x + 0.5, y + 0.5, Math.max(width - 1, 0.5), height - 1);
    context.setLineDash([]);
  }
}

// The parts of a request that look different, with their times.
function parts(request, now) {
  const { kind, from, demanded, outcome } = request, to = request.to ?? now;
  if (kind === "reward") return [["reward", from, to]];
  if (outcome) return [["wasted", from, to]];
  if (demanded === null) return [["open", from, to]];
  if (demanded >= to) return [["early", from, to]];
  return demanded > from ? [["early", from, demanded], ["demanded", demanded, to]] : [["demanded", from, to]];
}

class Timelines {
  constructor(runs, container, select) {
    this.select = select;
    this.charts = runs.map((run) => {
      const canvas = make("canvas", { tabIndex: 0 });
      canvas.setAttribute("role", "application");
      const caption = make("figcaption");
      container.append(make("figure", {}, caption, canvas));
      const chart = { run, canvas, caption, lanes: [] };
      this.listen(chart);
      return chart;
    });
    this.all();
    new ResizeObserver(() => this.paint()).observe(container);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  // What is known has changed: pack the lanes anew.
  update() {
    for (const chart of this.charts) {
      const { run, canvas } = chart;
      chart.lanes = lanes(run);
      const most = `${chart.lanes.length} at a time at most`;
      chart.caption.textContent = run.requests.length
        ? `${run.label}: ${number(run.end)} s, ${run.requests.length} requests, ${most}`
        : `${run.label}: no times are known`;
      canvas.setAttribute("aria-label", `Timeline, ${chart.caption.textContent}`);
    }
    if (this.whole) this.all();
    else this.paint();
  }

  all() {
    this.whole = true;
    this.from = 0;
    this.to = Math.max(0.001, ...this.charts.map(({ run }) => run.end)) * 1.01;
    this.paint();
  }

  zoom(factor, center = (this.from + this.to) / 2) {
    this.whole = false;
    this.from = Math.max(0, center - (center - this.from) * factor);
    this.to = Math.max(this.from + 0.001, center + (this.to - center) * factor);
    this.paint();
  }

  pan(seconds) {
    this.whole = false;
    seconds = Math.max(seconds, -this.from);
    this.from += seconds;
    this.to += seconds;
    this.paint();
  }

  choose(request) {
    this.chosen = request;
    const to = request.to ?? request.run.end;
    if (to < this.from || request.from > this.to) this.pan(request.from - (this.from + this.to) / 2);
    else this.paint();
  }

  paint() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      for (const chart of this.charts) this.draw(chart);
    });
  }

  draw(chart) {
    const { canvas, run, lanes } = chart, scale = devicePixelRatio;
    const style = getComputedStyle(canvas);
    const colors = {};
    for (const name of ["demanded", "early", "wasted", "reward", "ink", "soft", "line"])
      colors[name] = style.getPropertyValue(`--${name}`).trim();
    const lane = chart.lane = Math.min(LANE, TALLEST / Math.max(1, lanes.length));
    const height = Math.ceil(Math.max(LANE, lanes.length * lane) + AXIS), width = canvas.clientWidth;
    canvas.style.height = `${height}px`;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d"), at = chart.at = (seconds) => ((seconds - this.from) / (this.to - this.from)) * width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.fillStyle = colors.line;
    for (const seconds of run.decisions) context.fillRect(at(seconds), 0, 1, height - AXIS);
    for (const [index, requests] of lanes.entries())
      for (const request of requests) {
        if (request.from > this.to || (request.to ?? Infinity) < this.from) continue;
        for (const [look, from, to] of parts(request, run.end))
          drawBar(context, look, at(from), index * lane, at(to) - at(from), lane, colors);
        if (request.outcome === "failed") {
          context.fillStyle = colors.ink;
          context.fillText("!", at(request.to ?? run.end), index * lane + Math.min(lane, 11));
        }
      }
    this.drawAxis(context, run, at, width, height, colors);
    if (this.chosen?.run !== run) return;
    const { from, to, lane: index } = this.chosen;
    context.strokeStyle = colors.ink;
    context.lineWidth = 2;
    context.strokeRect(at(from) - 2, index * lane - 1, Math.max(4, at(to ?? run.end) - at(from) + 4), lane + 2);
  }

  drawAxis(context, run, at, width, height, colors) {
    const rough = ((this.to - this.from) / width) * 80, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
    context.fillStyle = colors.soft;
    context.font = "11px system-ui, sans-serif";
    context.fillRect(0, height - AXIS, width, 1);
    for (let tick = Math.ceil(this.from / step) * step; tick <= this.to; tick += step) {
      context.fillRect(at(tick), height - AXIS, 1, 4);
      context.fillText(`${number(tick, 3)} s`, at(tick) + 3, height - 7);
    }
    if (run.answer !== null && run.seconds) { // where the answer came
      context.fillStyle = colors.ink;
      context.fillRect(at(run.seconds), 0, 2, height);
    }
  }

  listen(chart) {
    const { canvas, run } = chart;
    const seconds = (event) => this.from + (event.offsetX / canvas.clientWidth) * (this.to - this.from);
    const under = (event) => {
      const time = seconds(event), slack = ((this.to - this.from) / canvas.clientWidth) * 2;
      return chart.lanes[Math.floor(event.offsetY / chart.lane)]?.find(
        ({ from, to }) => from - slack <= time && time <= (to ?? run.end) + slack);
    };
    let dragged = null;
    canvas.addEventListener("pointerdown", (event) => (dragged = event.offsetX));
    canvas.addEventListener("pointerup", () => (dragged = null));
    canvas.addEventListener("pointerleave", () => (dragged = null));
    canvas.addEventListener("pointermove", (event) => {
      if (dragged !== null && event.buttons) {
        this.pan(((dragged - event.offsetX) / canvas.clientWidth) * (this.to - this.from));
        dragged = event.offsetX;
        return;
      }
      const request = under(event);
      if (request && request !== this.chosen) this.select(request, false);
    });
    canvas.addEventListener("click", (event) => {
      const request = under(event);
      if (request) this.select(request, false);
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // scrolling stays scrolling
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, seconds(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const requests = run.requests, last = requests.length - 1;
      const index = this.chosen?.run === run ? requests.indexOf(this.chosen) : -1;
      const next = { ArrowRight: Math.min(index + 1, last), ArrowLeft: Math.max(index - 1, 0), Home: 0, End: last }[event.key];
      if (next !== undefined && last >= 0) this.select(requests[next], false);
      else if (event.key === "Enter" && index >= 0) this.select(this.chosen, true);
      else if (event.key === "+") this.zoom(0.5);
      else if (event.key === "-") this.zoom(2);
      else if (event.key === "0") this.all();
      else return;
      event.preventDefault();
    });
  }
}

function timelineLegend(list, live) {
  for (const [look, meaning] of Object.entries(LOOKS)) {
    if (look === "open" && !live) continue;
    const canvas = make("canvas", { width: 28, height: 14 });
    canvas.setAttribute("aria-hidden", "true");
    list.append(make("li", {}, canvas, meaning));
    const draw = () => {
      const style = getComputedStyle(canvas), context = canvas.getContext("2d");
      const names = ["demanded", "early", "wasted", "reward"];
      const colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      context.clearRect(0, 0, 28, 14);
      drawBar(context, look, 0, 0, 28, 14, colors);
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
}
