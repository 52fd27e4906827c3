// The live page: rows of the bot list, numbers over the chart, controls, selection.
(function () {
  "use strict";
  const F = window.tcpFormat, S = window.tcpShell, C = window.tcpChart;
  const NONE = () => window.dash_clientside.no_update;
  const WORDS = {
    running: "Running", paused: "Paused", stopped: "Stopped", starting: "Starting…", pausing: "Pausing…",
    stopping: "Stopping…", crashed: "Crashed", error: "Error", silent: "Silent",
  };
  const PENDING = { start: "starting", pause: "pausing", stop: "stopping" };
  const DESIRED = { start: "active", pause: "paused", stop: "stopped" };
  const live = { meta: null, pending: {}, redraws: 0, drawing: 0, redrawnAt: 0, price: null, pricedMs: 0, recent: { key: "", candles: new Map() }, redrawAt: 0 };
  const HOLE_AGAIN_MS = 6000;

  function selected() {
    return new URLSearchParams(window.location.search).get("bot");
  }

  function shownOf(bot) {
    const pending = live.pending[bot.bot_id];
    if (!pending) return bot.shown;
    const arrived = bot.status === DESIRED[pending.action];
    if (arrived || performance.now() > pending.until) {
      delete live.pending[bot.bot_id];
      return bot.shown;
    }
    return PENDING[pending.action];
  }

  function drawRow(row, bot) {
    const shown = shownOf(bot);
    const shownBot = selected() || (window.location.pathname === "/" && live.meta && live.meta.bot);
    const none = new URLSearchParams(window.location.search).has("new");
    const chosen = !none && (shownBot ? shownBot === bot.bot_id : row === row.parentNode.firstChild);
    const name = "bot-row is-" + shown + (chosen ? " selected" : "");
    if (row.className !== name) row.className = name;
    S.say(row.querySelector(".state"), WORDS[shown] || shown);
    const beat = row.querySelector("time.ago");
    if (beat) {
      beat.dataset.ms = bot.heartbeat_ms || "";
      beat.hidden = !["running", "paused", "silent"].includes(shown);
    }
    row.dataset.status = bot.status;
    row.querySelectorAll("[data-action]").forEach((button) => {
      const action = button.dataset.action;
      const off = bot.status === DESIRED[action] || bot.shown === "error" && action !== "start" && action !== "stop";
      button.disabled = Boolean(live.pending[bot.bot_id]) || off;
      button.hidden = action === "start" ? bot.status === "active" : action === "pause" ? bot.status !== "active" : bot.status === "stopped";
    });
    const title = bot.error ? bot.error : "";
    if (row.title !== title) row.title = title;
  }

  function drawBots(bots) {
    const rows = document.querySelectorAll("[data-bot-row]");
    const byName = new Map(bots.map((bot) => [bot.bot_id, bot]));
    const same = rows.length === bots.length && [...rows].every((row) => byName.has(row.dataset.botRow));
    if (!same) return false;
    rows.forEach((row) => drawRow(row, byName.get(row.dataset.botRow)));
    const running = bots.filter((bot) => bot.shown === "running").length;
    S.say(S.by("bots-count"), running + " of " + bots.length + " running");
    return true;
  }

  async function control(bot, action) {
    live.pending[bot] = { action, until: performance.now() + 10000 };
    drawBots(live.bots || []);
    try {
      const answer = await fetch("/api/bot/" + encodeURIComponent(bot) + "/" + action, { method: "POST" });
      if (!answer.ok) throw new Error((await answer.json()).detail);
    } catch (error) {
      delete live.pending[bot];
      drawBots(live.bots || []);
      S.toast("Could not " + action + " " + bot + ": " + error.message, true);
    }
  }

  function go(change) {
    const query = new URLSearchParams(window.location.search);
    Object.entries(change).forEach(([key, value]) => value === null ? query.delete(key) : query.set(key, value));
    window.dash_clientside.set_props("url", { search: "?" + query.toString() });
  }

  function drawHead() {
    const meta = live.meta;
    if (!meta || !S.by("chart-symbol")) return;
    S.say(S.by("chart-symbol"), meta.symbol + " · " + meta.timeframe);
    S.say(S.by("chart-note"), meta.note || "");
    const price = live.price === null ? meta.last : live.price;
    const element = S.by("chart-price");
    const text = F.money(price || null, meta.decimals);
    if (element.textContent && element.textContent !== text && element.dataset.key === meta.symbol) {
      const tone = price >= Number(element.dataset.price) ? "up" : "down";
      element.animate({ backgroundColor: ["color-mix(in srgb, var(--" + tone + ") 45%, transparent)", "transparent"] }, 300);
    }
    element.dataset.price = price;
    element.dataset.key = meta.symbol;
    S.say(element, text);
    const change = meta.reference ? price / meta.reference - 1 : null;
    const label = S.by("chart-change");
    label.title = "Against the price 24 h ago" + (meta.reference ? ": " + F.money(meta.reference, meta.decimals) : ", which is not known");
    label.className = "numeric change " + (change === null ? "muted" : change >= 0 ? "up" : "down");
    S.say(label, change === null ? "" : (change >= 0 ? "▲ " : "▼ ") + F.percent(change));
    document.querySelectorAll("[data-timeframe]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.timeframe === meta.timeframe));
    });
    const page = S.shell.page;
    if (page === "Live") document.title = text + " " + meta.symbol + " · TCP Dashboard";
  }

  function countdown() {
    const element = S.by("chart-countdown");
    if (!element || !live.meta || !S.shell.feed) return;
    const frame = live.meta.timeframe_ms, now = S.exchangeNow();
    const left = frame - (now % frame);
    S.say(element, "closes in " + F.span(left / 1000));
  }

  // The plotting library may take seconds on a slow machine: look until it has drawn this very figure.
  function whenDrawn(drawing, revision) {
    const box = S.by("chart-box");
    if (drawing !== live.drawing || !box) return;
    const graph = C.graphOf("price-chart");
    if (!graph || !graph.layout || graph.layout.uirevision !== revision || !C.isBound(graph)) {
      setTimeout(() => whenDrawn(drawing, revision), 30);
      return;
    }
    C.attach(graph);
    const meta = live.meta, last = C.lastMs(graph);
    const known = meta ? C.remembered(graph, live.recent, meta.symbol, meta.timeframe, last - 1) : [];
    known.forEach((candle) => C.setCandle(graph, candle));
    if (known.length) C.refit(graph);
    else C.settle(graph);
    box.classList.remove("waiting");
  }

  function redraw() {
    const now = performance.now();
    if (now - live.redrawnAt < 1500) {
      live.redrawAt = live.redrawnAt + 1500;
      return NONE();
    }
    live.redrawAt = 0;
    live.redrawnAt = now;
    live.redraws += 1;
    return live.redraws;
  }

  window.dash_clientside.tcpLive = {
    bots(bots) {
      if (!bots) return NONE();
      live.bots = bots;
      if (drawBots(bots)) return NONE();
      const rows = document.querySelectorAll("[data-bot-row]").length;
      if (rows === 0 && bots.length === 0) return NONE();
      setTimeout(() => drawBots(live.bots), 400);
      return performance.now();
    },
    table(bots) { return bots || NONE(); },
    chart(push, meta) {
      if (!push) return NONE();
      C.remember(live.recent, push);
      if (!meta) return NONE();
      if (push.symbol !== meta.symbol || push.timeframe !== meta.timeframe || push.bot !== meta.bot) return NONE();
      if (push.redraw || (live.redrawAt && performance.now() >= live.redrawAt)) return redraw();
      C.takePrice(live, push);
      drawHead();
      const graph = C.graphOf("price-chart");
      if (!graph || !graph.data || !window.Plotly) return push.candles && push.candles.length ? redraw() : NONE();
      // A hole that is still there after a fresh drawing is a hole in the data: go on behind it.
      const tolerant = performance.now() - live.redrawnAt < 20000;
      const result = C.apply(graph, push, meta.timeframe_ms, meta.timeframe === meta.bot_timeframe, tolerant);
      if (result === "hole" && !live.redrawAt) live.redrawAt = performance.now() + HOLE_AGAIN_MS;
      return result === "redraw" ? redraw() : NONE();
    },
    chartMeta(meta) {
      live.price = null;
      live.pricedMs = meta ? meta.last_ms : 0;
      live.meta = meta;
      drawHead();
      if (live.bots) drawBots(live.bots);
      live.drawing += 1;
      if (meta) whenDrawn(live.drawing, meta.bot + " " + meta.timeframe);
      return NONE();
    },
    select(cell, search) {
      if (!cell || !cell.rowId) return NONE();
      const query = new URLSearchParams(search || "");
      query.set("bot", cell.rowId);
      query.delete("timeframe");
      return "?" + query.toString();
    },
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action][data-bot]");
    if (button && !button.disabled) control(button.dataset.bot, button.dataset.action);
    const frame = event.target.closest("[data-timeframe]");
    if (frame) go({ timeframe: frame.dataset.timeframe });
  });
  document.addEventListener("tcp-step", (event) => {
    const names = [...document.querySelectorAll("[data-bot-row]")].map((row) => row.dataset.botRow);
    if (!names.length || !["/", "/bots"].includes(window.location.pathname)) return;
    const now = Math.max(0, names.indexOf(selected() || (live.meta && live.meta.bot)));
    go({ bot: names[(now + event.detail + names.length) % names.length], timeframe: null, before: null, version: null });
  });
  setInterval(countdown, 250);
})();
