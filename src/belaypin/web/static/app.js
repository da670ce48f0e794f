// What pages do beyond links and forms. Without it everything works, but by reloading.
"use strict";

(() => {
  const body = document.body;
  const live = document.getElementById("live");
  const PAUSED = "belaypin-paused";

  // --- live updates: one stream of events, closed while the tab is out of sight ---------------

  let source = null;
  let isPaused = sessionStorage.getItem(PAUSED) === "yes";

  const show = (state, word) => {
    live.dataset.state = state;
    live.querySelector(".word").textContent = word;
    live.setAttribute("aria-pressed", String(!isPaused));
  };
  // A click that has begun ends on what it began on.
  let isPressed = false;
  addEventListener("pointerdown", () => { isPressed = true; }, true);
  ["pointerup", "pointercancel", "blur"].forEach((name) => addEventListener(name, () => { isPressed = false; }, true));
  const isBusy = () => {
    const active = document.activeElement;
    const main = document.getElementById("main");
    const types = active && main.contains(active) && active.matches("input, select, textarea");
    const selected = String(getSelection()).length > 0 && main.contains(getSelection().anchorNode);
    return isPressed || types || selected || main.querySelector("form.do") !== null;
  };
  const look = () => { if (!isBusy()) htmx.trigger(body, "belaypin-look"); };
  const stop = () => { if (source) { source.close(); source = null; } };
  const start = () => {
    stop();
    if (isPaused) return show("off", "paused");
    if (document.hidden) return show("off", "resting");
    source = new EventSource(body.dataset.events);
    source.onopen = () => show("on", "live");
    source.onerror = () => show("lost", "lost");
    source.addEventListener("tick", () => { show("on", "live"); look(); });
  };
  if (live) {
    live.addEventListener("click", () => {
      isPaused = !isPaused;
      sessionStorage.setItem(PAUSED, isPaused ? "yes" : "no");
      start();
      if (!isPaused) look();
    });
    document.addEventListener("visibilitychange", () => { start(); if (!document.hidden && !isPaused) look(); });
    addEventListener("pagehide", stop);
    addEventListener("pageshow", start);
  }

  // --- a swap keeps what the reader has opened, where they are, and how far they scrolled -------

  let kept = null;
  let before = null;
  body.addEventListener("htmx:beforeSwap", (event) => {
    const main = document.getElementById("main");
    if (event.detail.xhr.responseText === before || isBusy()) {
      event.detail.shouldSwap = false;
      return;
    }
    before = event.detail.xhr.responseText;
    // Pages that say what is wrong replace what was there, too.
    if (event.detail.xhr.status >= 400 && event.detail.xhr.responseText.includes('id="main"')) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    const active = document.activeElement;
    const inside = active && main.contains(active) ? active : null;
    kept = {
      open: [...main.querySelectorAll("details[open][id]")].map((one) => one.id),
      scrolls: [...main.querySelectorAll(".wide")].map((one) => [one.scrollLeft, one.scrollTop]),
      href: inside && inside.getAttribute("href"),
      id: inside && inside.id,
    };
  });
  body.addEventListener("htmx:afterSwap", () => {
    const main = document.getElementById("main");
    if (kept) {
      kept.open.forEach((id) => { const one = document.getElementById(id); if (one) one.open = true; });
      [...main.querySelectorAll(".wide")].forEach((one, n) => {
        if (kept.scrolls[n]) [one.scrollLeft, one.scrollTop] = kept.scrolls[n];
      });
      const again = kept.id ? document.getElementById(kept.id)
        : kept.href ? main.querySelector(`a[href="${CSS.escape(kept.href)}"]`) : null;
      if (again) again.focus({ preventScroll: true });
    }
    kept = null;
    draw();
  });
  body.addEventListener("htmx:sendError", () => { if (source) show("lost", "lost"); });

  // --- keys, copying, choosing -------------------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    const types = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && types) event.target.blur();
    if (types || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      const box = document.getElementById("search");
      box.focus();
      box.select();
    }
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = "Copied";
      } catch {
        const range = document.createRange();
        range.selectNodeContents(button.parentElement.querySelector("code"));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    }
    const back = event.target.closest("[data-back]");
    if (back && history.length > 1) { event.preventDefault(); history.back(); }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // --- charts: each is drawn from its own table ---------------------------------------------------

  const colour = (name) => {
    const probe = document.createElement("span");
    probe.className = "probe";
    probe.style.color = `var(--${name})`;
    body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const scaled = (value, units, step) => {
    let unit = 0;
    while (Math.abs(value) >= step && unit < units.length - 1) { value /= step; unit += 1; }
    return `${+value.toPrecision(3)} ${units[unit]}`.trim();
  };
  const length = (value) => {
    for (const [seconds, name] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
      if (Math.abs(value) >= seconds) return `${+(value / seconds).toPrecision(3)}${name}`;
    }
    return `${+value.toPrecision(3)}s`;
  };
  const written = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "s") return length(value);
    if (unit === "B") return scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000);
    return scaled(value, ["", "k", "M", "G"], 1000) + (unit || "");
  };
  const drawn = new Map();
  const read = (table) => {
    const heads = [...table.querySelectorAll("thead th")];
    const columns = heads.map((_, n) => n).filter((n) => table.querySelector(`tbody td:nth-child(${n + 1})[data-value]`));
    const rows = [...table.querySelectorAll("tbody tr")];
    const times = rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000);
    const values = columns.map((n) => rows.map((row) => {
      const text = row.children[n].dataset.value;
      return text === "" ? null : Number(text);
    }));
    return { data: [times, ...values], heads: columns.map((n) => heads[n]) };
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const moment = (at, step) => {
    const date = new Date(at * 1000);
    const day = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
    if (step >= 86400) return day;
    const clock = date.toISOString().slice(11, step < 60 ? 19 : 16);
    return clock.startsWith("00:00") ? day : clock;
  };
  const LENGTHS = [0.001, 0.01, 0.1, 1, 5, 15, 30, 60, 300, 900, 3600, 14400, 43200, 86400, 172800, 432000, 864000, 2592000, 8640000, 31536000, 315360000, 3153600000];
  const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
  const STROKES = ["solid", "dashed", "dotted", "dashed"];
  const draw = () => {
    drawn.forEach((plot) => plot.destroy());
    drawn.clear();
    if (typeof uPlot === "undefined") return;
    const colours = ["covered", "gap", "dim", "good"].map(colour);
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "11px system-ui, sans-serif" };
    document.querySelectorAll("figure[data-chart]").forEach((figure) => {
      const place = figure.querySelector(".plot");
      const { data, heads } = read(figure.querySelector("table"));
      const unit = heads[0].dataset.unit || "";
      const isBars = figure.dataset.chart === "bars";
      if (isBars) data[1] = data[1].map((value) => value || null);
      place.replaceChildren();
      const legend = isBars ? 0 : 26;
      const height = parseFloat(getComputedStyle(place).minHeight) - legend;
      const plot = new uPlot({
        width: place.clientWidth,
        height,
        legend: { show: !isBars, markers: { dash: (_, n) => STROKES[(n - 1) % STROKES.length] } },
        cursor: { y: false },
        scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
        axes: [{ ...axis, values: (_, ticks, __, ___, step) => ticks.map((at) => moment(at, step)) }, { ...axis, size: 62, incrs: unit === "s" ? LENGTHS : undefined, values: (_, ticks) => ticks.map((tick) => written(tick, unit)) }],
        series: [
          { value: (_, at) => at === null ? "–" : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") + "Z" },
          ...heads.map((head, n) => ({
            label: head.textContent,
            stroke: colours[n % colours.length],
            dash: DASHES[n % DASHES.length],
            width: 1.6,
            fill: isBars ? colours[0] : undefined,
            paths: isBars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
            points: { show: !isBars && data[0].length < 40, size: 4 },
            spanGaps: true,
            value: (_, value) => written(value, head.dataset.unit || ""),
          })),
        ],
        tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      }, data, place);
      setTimeout(() => plot.setLegend({ idx: data[0].length - 1 }), 0);
      drawn.set(figure, plot);
    });
  };
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  if (live) start();
})();
