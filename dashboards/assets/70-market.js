// The market page: the chart asks for other candles when the reader leaves those that are loaded, or looks at so
// many that longer ones fit the pixels better; pushed candles change the newest ones in place.
(function () {
  "use strict";
  const F = window.tcpFormat, S = window.tcpShell, C = window.tcpChart;
  const NONE = () => window.dash_clientside.no_update;
  const MINUTE = 60000;
  const FRAMES = [["1m", 1], ["5m", 5], ["15m", 15], ["1h", 60], ["4h", 240], ["1d", 1440]];
  const MOST = 750, SETTLED_MS = 250, AGAIN_MS = 3000;
  const GOAL_MS = 15000; // a button that is not answered by then is forgotten
  const NEAR = 0.25; // of the view: where less than that is left on a side, more is fetched ahead
  const market = {
    meta: null, timer: 0, drawing: 0, price: null, pricedMs: 0, redraws: 0, redrawnAt: 0,
    goal: null, goalAt: 0, // the view that a button asked for, until it is drawn
    newest: null, movedAt: 0, hasMoved: false,
    recent: { key: "", candles: new Map() }, missedRedraw: false,
  };

  function frameFor(wanted, span) {
    const from = FRAMES.findIndex((frame) => frame[0] === wanted);
    const found = FRAMES.slice(from).find((frame) => span / (frame[1] * MINUTE) <= MOST);
    return (found || FRAMES[FRAMES.length - 1])[0];
  }

  function isSame(one, other) { return one[0] === other[0] && one[1] === other[1]; }

  function ask(view) {
    window.dash_clientside.set_props("market-view", { data: view });
  }

  function goalNow() { return performance.now() - market.goalAt < GOAL_MS ? market.goal : null; }

  function isMissing(range, room) {
    const meta = market.meta;
    return (range[0] - room < meta.from && meta.from > meta.first) || (range[1] + room > meta.to && meta.to < meta.until);
  }

  // Only where what is loaded does not do: the rest of zooming and panning costs no question. A first move is
  // answered at once, those that follow soon, as the wheel's, when it rests. What is fetched ahead waits for that, too.
  function look(graph, isFirst) {
    const meta = market.meta, range = C.rangeOf(graph);
    if (!meta || !range) return;
    const span = range[1] - range[0], better = frameFor(meta.timeframe, span);
    const isUnfit = better !== meta.frame && !(meta.stuck && meta.stuck === better);
    if (isUnfit || isMissing(range, isFirst ? 0 : NEAR * span)) {
      market.expected = better;
      market.goal = null; // wherever the reader goes meanwhile stays in view
      ask(range.map(Math.round));
    } else if (isFirst) {
      market.timer = setTimeout(() => look(graph, false), SETTLED_MS);
    }
  }

  function watch(graph) {
    if (graph.tcpMarket) return;
    graph.tcpMarket = true;
    graph.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => key.startsWith("xaxis"))) return;
      clearTimeout(market.timer);
      const isFirst = performance.now() - market.movedAt > 2 * SETTLED_MS;
      market.movedAt = performance.now();
      if (isFirst) look(graph, true);
      else market.timer = setTimeout(() => look(graph, false), SETTLED_MS);
    });
  }

  function whenDrawn(drawing, revision) {
    const box = S.by("market-box");
    if (drawing !== market.drawing || !box) return;
    const graph = C.graphOf("market-chart");
    if (!graph || !graph.layout || graph.layout.uirevision !== revision || !C.isBound(graph)) {
      setTimeout(() => whenDrawn(drawing, revision), 30);
      return;
    }
    C.attach(graph);
    watch(graph);
    C.settle(graph);
    box.classList.remove("waiting");
    catchUp(graph, market.meta);
    // What came may not do for where the reader is by now.
    if (market.hasMoved) look(graph, false);
    market.hasMoved = false;
  }

  // With what was pushed while it was on its way.
  function catchUp(graph, meta) {
    const redraw = market.missedRedraw;
    market.missedRedraw = false;
    const candles = C.remembered(graph, market.recent, meta.symbol, meta.frame, meta.over);
    const push = { symbol: meta.symbol, timeframe: meta.frame, candles, redraw };
    if (candles.length || redraw) window.dash_clientside.tcpMarket.push(push, meta);
  }

  function drawHead() {
    const meta = market.meta;
    if (!meta || !S.by("market-name")) return;
    S.say(S.by("market-name"), meta.symbol + " · " + meta.timeframe);
    const price = market.price === null ? meta.last : market.price;
    S.say(S.by("market-price"), price === null ? "" : F.money(price, meta.decimals));
    const change = price !== null && meta.reference ? price / meta.reference - 1 : null;
    const label = S.by("market-change");
    label.className = "numeric change " + (change === null ? "muted" : change >= 0 ? "up" : "down");
    label.title = "Against the price 24 h ago";
    S.say(label, change === null ? "" : (change >= 0 ? "▲ " : "▼ ") + F.percent(change));
    S.say(S.by("market-drawn"), meta.frame === meta.timeframe ? "" : "drawn in " + meta.frame + " candles");
  }

  function level(side, price, size, sum, deepest, decimals) {
    const row = document.createElement("div");
    row.className = "level " + side;
    row.style.setProperty("--share", (100 * sum / deepest).toFixed(1) + "%");
    const words = [F.money(price, decimals), F.money(size, 4), F.money(sum, 4)];
    words.forEach((text, index) => {
      const cell = document.createElement("span");
      cell.textContent = text;
      if (index !== 1) cell.className = index === 0 ? (side === "bid" ? "up" : "down") : "muted";
      row.appendChild(cell);
    });
    return row;
  }

  function line(name, words) {
    const row = document.createElement("div");
    row.className = name;
    words.forEach((text) => {
      const cell = document.createElement("span");
      cell.textContent = text;
      row.appendChild(cell);
    });
    return row;
  }

  // What is wanted up to each level stands behind it as a bar.
  function summed(side) {
    let sum = 0;
    return side.map(([price, size]) => { sum += size; return [price, size, sum]; });
  }

  function drawBook(book, decimals) {
    const box = S.by("market-book");
    if (!box) return;
    let ladder = box.querySelector(".levels");
    if (!ladder) {
      ladder = document.createElement("div");
      ladder.className = "levels";
      box.appendChild(ladder);
    }
    const known = book.bids.length > 0 && book.asks.length > 0;
    S.by("market-no-book").hidden = known;
    if (!known) return ladder.replaceChildren();
    const asks = summed(book.asks), bids = summed(book.bids);
    const deepest = Math.max(asks[asks.length - 1][2], bids[bids.length - 1][2]);
    const spread = asks[0][0] - bids[0][0], middle = (asks[0][0] + bids[0][0]) / 2;
    ladder.replaceChildren(
      line("level head", ["Price", "Size", "Sum"]),
      ...asks.reverse().map((item) => level("ask", ...item, deepest, decimals)),
      line("spread", ["Spread " + F.money(spread, decimals), F.money(10000 * spread / middle) + " bp"]),
      ...bids.map((item) => level("bid", ...item, deepest, decimals)));
    return undefined;
  }

  window.dash_clientside.tcpMarket = {
    book(book, meta) {
      if (book && meta && book.symbol === meta.symbol) drawBook(book, meta.decimals);
      return NONE();
    },
    // What the reader moved to while the candles were on their way stays in view.
    async figure(figure) {
      market.newest = figure;
      const graph = C.graphOf("market-chart");
      if (!figure || !graph || !graph.layout) return figure;
      await C.still(graph);
      if (market.newest !== figure) return NONE();
      const range = C.rangeOf(graph), view = figure.layout.meta.view, goal = goalNow();
      if (!view || !range) return figure;
      if (goal && isSame(goal, view)) {
        market.goal = null;
        return figure;
      }
      market.hasMoved = !isSame(range.map(Math.round), view);
      return C.lookingAt(figure, range);
    },
    drawn(meta) {
      if (!meta) return NONE();
      if (!market.meta || market.meta.symbol !== meta.symbol) market.price = null;
      market.pricedMs = meta.until;
      // Candles that do not go back that far in the frame that would fit: asking again would change nothing.
      meta.stuck = market.expected && market.expected !== meta.frame ? market.expected : null;
      market.meta = meta;
      drawHead();
      market.drawing += 1;
      whenDrawn(market.drawing, meta.revision);
      return NONE();
    },
    push(push, meta) {
      if (!push) return NONE();
      C.remember(market.recent, push);
      if (!meta || push.symbol !== meta.symbol || push.timeframe !== meta.frame) return NONE();
      C.takePrice(market, push);
      drawHead();
      const graph = C.graphOf("market-chart");
      // What is drawn is another stretch yet: this is put on the figure that is about to come.
      if (!graph || !graph.layout || graph.layout.uirevision !== meta.revision) {
        market.missedRedraw = market.missedRedraw || Boolean(push.redraw);
        return NONE();
      }
      const range = C.rangeOf(graph);
      // Indicators are computed on the server: a candle that closed brings their next values.
      const closed = meta.lines > 0 && range && (push.candles || []).some((candle) => candle.final && candle.t > meta.over);
      if (!meta.newest || !graph.data || !window.Plotly) return NONE();
      const tolerant = performance.now() - market.redrawnAt < 20000;
      const result = push.redraw ? "redraw" : C.apply(graph, push, meta.timeframe_ms, false, tolerant);
      if (!(result === "redraw" || closed) || performance.now() - market.redrawnAt < AGAIN_MS) return NONE();
      market.redrawnAt = performance.now();
      market.redraws += 1;
      if (range) ask(goalNow() || range.map(Math.round));
      return range ? NONE() : market.redraws;
    },
    choices(kept, ready) {
      const own = Object.keys(kept || {}), group = (name, items) => ({ group: name, items });
      return [...(own.length ? [group("Yours", own)] : []), group("Ready", Object.keys(ready))];
    },
    take(name, ready, kept) { return (kept || {})[name] || ready[name] || NONE(); },
    // The button keeps what is shown under its own words, or forgets it when it is kept already.
    keep(clicks, shown, kept) {
      const words = (shown || []).join(", "), now = { ...kept };
      const clicked = window.dash_clientside.callback_context.triggered_id === "market-keep";
      if (clicked && words in now) delete now[words];
      else if (clicked && words) now[words] = shown;
      return [clicked ? now : NONE(), words in now ? "Forget" : "Keep", !words];
    },
    remember(symbol, timeframe, shown) {
      const query = new URLSearchParams({ symbol, timeframe });
      if (shown && shown.length) query.set("show", shown.join(","));
      const search = "?" + query.toString();
      return search === window.location.search ? NONE() : search;
    },
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-span-hours]");
    if (!button || !market.meta) return;
    // To the newest candle: an import ends long ago, and a candle that is not over ends in the future.
    const graph = C.graphOf("market-chart"), drawn = market.meta.newest && graph ? C.lastMs(graph) : 0;
    const to = Math.min(S.exchangeNow(), Math.max(market.meta.until, drawn));
    const span = Number(button.dataset.spanHours) * 60 * MINUTE;
    market.expected = frameFor(market.meta.timeframe, span);
    clearTimeout(market.timer);
    market.goal = [Math.round(to - span), Math.round(to + span / 40)];
    market.goalAt = performance.now();
    ask(market.goal);
  });
})();
