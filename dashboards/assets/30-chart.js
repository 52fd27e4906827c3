// Keeps a drawn price chart live: changes the last candle, appends new ones, follows the right edge while it is
// in view, and leaves zoom and pan alone.
(function () {
  "use strict";
  const F = window.tcpFormat;
  const KEPT = 3000, RECENT = 200;
  const FITS_MS = 80; // after the last of several moves
  const UP = "#26a69a66", DOWN = "#ef535066";

  function graphOf(id) {
    const box = document.getElementById(id);
    return box ? box.querySelector(".js-plotly-plot") : null;
  }

  function trace(graph, kind, column) {
    return graph.data.find((item) => item.meta && item.meta.kind === kind && (!column || item.meta.column === column));
  }

  function asMs(value) { return typeof value === "number" ? value : Date.parse(/Z|\+/.test(value) ? value : value.replace(" ", "T") + "Z"); }

  function put(list, index, value) { list[index] = value; }

  // Of the last candle at or before that time; -1 where there is none.
  function placeOf(prices, t) {
    let at = prices.x.length - 1;
    while (at >= 0 && asMs(prices.x[at]) > t) at -= 1;
    return at;
  }

  function shows(graph, candle) {
    const prices = trace(graph, "candles"), volume = trace(graph, "volume"), at = placeOf(prices, candle.t);
    const drawn = [prices.x[at], prices.open[at], prices.high[at], prices.low[at], prices.close[at], volume.y[at]];
    const wanted = [candle.t, candle.o, candle.h, candle.l, candle.c, candle.v];
    return wanted.every((value, n) => value === (n ? drawn[n] : asMs(drawn[n])));
  }

  function setCandle(graph, candle) {
    const prices = trace(graph, "candles"), volume = trace(graph, "volume");
    if (!prices) return false;
    const last = prices.x.length - 1;
    let at = placeOf(prices, candle.t);
    if (at < 0 && last >= 0) return false;
    if (at < 0 || asMs(prices.x[at]) < candle.t) {
      at += 1;
      new Set([prices.x, volume.x]).forEach((list) => list.splice(at, 0, candle.t));
      [prices.open, prices.high, prices.low, prices.close, volume.y, volume.marker.color]
        .forEach((list) => list.splice(at, 0, null));
    }
    put(prices.open, at, candle.o);
    put(prices.high, at, candle.h);
    put(prices.low, at, candle.l);
    put(prices.close, at, candle.c);
    put(volume.y, at, candle.v);
    put(volume.marker.color, at, candle.c >= candle.o ? UP : DOWN);
    return true;
  }

  function trim(graph) {
    const prices = trace(graph, "candles"), volume = trace(graph, "volume");
    const extra = prices.x.length - KEPT;
    if (extra < 200) return;
    [prices.x, prices.open, prices.high, prices.low, prices.close, volume.y, volume.marker.color]
      .forEach((list) => list.splice(0, extra));
    if (volume.x !== prices.x) volume.x.splice(0, extra);
  }

  function markerText(fill, meta) {
    const word = fill.side === "buy" ? "▲ Buy" : "▼ Sell";
    const text = word + " " + F.quantity(fill.quantity) + " " + meta.base + " @ " + F.money(fill.price, meta.decimals);
    return fill.pnl === null ? text : text + "<br>P&L " + F.money(fill.pnl, meta.cents, true) + " " + meta.quote;
  }

  function setFills(graph, fills, frameMs) {
    ["buy", "sell"].forEach((side) => {
      const markers = trace(graph, side);
      if (!markers) return;
      fills.filter((fill) => fill.side === side).forEach((fill) => {
        if (markers.customdata.includes(fill.id)) return;
        markers.customdata.push(fill.id);
        markers.x.push(fill.t - (fill.t % frameMs) + frameMs);
        markers.y.push(fill.price);
        markers.text.push(markerText(fill, markers.meta));
      });
    });
  }

  function setIndicators(graph, message) {
    Object.keys(message.values).forEach((column) => {
      const line = trace(graph, "indicator", column);
      if (!line) return;
      const last = line.x.length ? asMs(line.x[line.x.length - 1]) : 0;
      if (message.t === last) line.y[line.y.length - 1] = message.values[column];
      else if (message.t > last) {
        line.x.push(message.t);
        line.y.push(message.values[column]);
      }
    });
  }

  function rangeOf(graph) {
    const range = graph.layout.xaxis && graph.layout.xaxis.range;
    return range ? [asMs(range[0]), asMs(range[1])] : null;
  }

  // The price axis fits what is in view, as traders expect; Plotly by itself would fit all candles.
  function fit(graph) {
    const prices = graph.data && trace(graph, "candles");
    const range = prices && rangeOf(graph);
    if (!range || !prices.x.length) return null;
    let low = Infinity, high = -Infinity, top = 0;
    const volume = trace(graph, "volume");
    for (let i = prices.x.length - 1; i >= 0; i -= 1) {
      const at = asMs(prices.x[i]);
      if (at < range[0]) break;
      if (at > range[1]) continue;
      if (prices.low[i] < low) low = prices.low[i];
      if (prices.high[i] > high) high = prices.high[i];
      if (volume.y[i] > top) top = volume.y[i];
    }
    if (low === Infinity) return null;
    const room = (high - low || high * 0.001) * 0.08;
    return { y: [low - room, high + room], y2: [0, top * 1.1 || 1] };
  }

  function applyFit(graph) {
    const found = fit(graph);
    if (!found) return;
    graph.layout.yaxis.range = found.y;
    graph.layout.yaxis.autorange = false;
    graph.layout.yaxis2.range = found.y2;
    graph.layout.yaxis2.autorange = false;
  }

  function refit(graph) {
    applyFit(graph);
    draw(graph);
  }

  function same(now, wanted) {
    return Boolean(now) && now[0] === wanted[0] && now[1] === wanted[1];
  }

  // The server fits the axes to what is in view at first: only another view, or what came since, is drawn again.
  function settle(graph) {
    const found = graph._fullLayout && graph.layout ? fit(graph) : null;
    if (!found || (same(graph.layout.yaxis.range, found.y) && same(graph.layout.yaxis2.range, found.y2))) return;
    window.Plotly.relayout(graph, { "yaxis.range": found.y, "yaxis2.range": found.y2 });
  }

  function follow(graph, before, frameMs) {
    const prices = trace(graph, "candles");
    const range = rangeOf(graph);
    const after = asMs(prices.x[prices.x.length - 1]);
    if (!range || after <= before || range[1] < before) return;
    const step = after - before;
    graph.layout.xaxis.range = [range[0] + step, range[1] + step];
  }

  // Takes a push in; "redraw" when the chart must be fetched anew, "hole" when candles are missing and tolerated.
  function apply(graph, push, frameMs, withIndicators, tolerant) {
    let hole = false;
    const prices = trace(graph, "candles");
    if (!prices || !prices.x.length) return "redraw";
    const before = asMs(prices.x[prices.x.length - 1]);
    const known = (push.candles || []).filter((candle) => candle.t >= before);
    for (const candle of known) {
      const last = asMs(prices.x[prices.x.length - 1]);
      if (candle.t > last + frameMs) {
        if (!tolerant) return "redraw";
        hole = true;
      }
      if (!setCandle(graph, candle) && !tolerant) return "redraw";
    }
    (push.candles || []).filter((candle) => candle.t < before).forEach((candle) => setCandle(graph, candle));
    if (push.fills && push.fills.length) setFills(graph, push.fills, frameMs);
    if (push.indicators && withIndicators) setIndicators(graph, push.indicators);
    trim(graph);
    follow(graph, before, frameMs);
    refit(graph);
    return hole ? "hole" : "done";
  }

  // A chart takes tens of milliseconds to be drawn: no more than a third of the time goes into it, none while the
  // reader drags it, and the price that has just been written is painted before.
  function draw(graph) {
    const last = graph.tcpDrawn || (graph.tcpDrawn = { at: 0, took: 0, timer: 0 });
    if (last.timer) return;
    const painted = (then) => requestAnimationFrame(() => setTimeout(then));
    last.timer = setTimeout(() => painted(() => {
      last.timer = 0;
      if (!graph.isConnected || !graph._fullLayout) return;
      if (graph._dragging) return draw(graph);
      const begun = performance.now();
      window.Plotly.redraw(graph);
      last.at = performance.now();
      last.took = last.at - begun;
    }), Math.max(graph._dragging ? 100 : 0, last.at + 2 * last.took - performance.now()));
  }

  // A chart takes seconds to be drawn while candles go on: those pushed meanwhile are put on the fresh one.
  function remember(recent, push) {
    const key = push.symbol + " " + push.timeframe;
    if (key !== recent.key) recent.candles.clear();
    recent.key = key;
    (push.candles || []).forEach((candle) => recent.candles.set(candle.t, candle));
    while (recent.candles.size > RECENT) recent.candles.delete(recent.candles.keys().next().value);
  }

  // Those of them that the fresh chart does not show, in order; of those up to `overMs` only what is over for good.
  function remembered(graph, recent, symbol, timeframe, overMs) {
    if (recent.key !== symbol + " " + timeframe) return [];
    const first = firstMs(graph);
    const isNews = (candle) => candle.t > first && (candle.final || candle.t > overMs) && !shows(graph, candle);
    return [...recent.candles.values()].filter(isNews).sort((a, b) => a.t - b.t);
  }

  // When no hand drags it any more: what is drawn under one is torn from it.
  function still(graph) {
    return new Promise((done) => {
      const look = () => { if (graph._dragging && graph.isConnected) setTimeout(look, 50); else done(); };
      look();
    });
  }

  // A figure as it comes from the server, with another stretch of time in view and the axes fitted to that.
  function lookingAt(figure, range) {
    const layout = { ...figure.layout };
    ["xaxis", "yaxis", "yaxis2"].forEach((name) => { layout[name] = { ...layout[name] }; });
    layout.xaxis.range = range;
    const moved = { ...figure, layout };
    applyFit(moved);
    return moved;
  }

  // Whether Dash listens already: it does once the first drawing is done, to this event last.
  function isBound(graph) {
    return Boolean(graph._ev) && graph._ev.listeners("plotly_unhover").length > 0;
  }

  // Dash answers each zoom and pan by drawing the whole chart again, to keep a copy of its axes: nobody reads it,
  // and what the reader looks at is kept without. So its ear goes when ours comes.
  function attach(graph) {
    if (graph.tcpAttached) return;
    graph.tcpAttached = true;
    graph.removeAllListeners("plotly_relayout");
    let timer = 0;
    graph.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => key.startsWith("xaxis"))) return;
      clearTimeout(timer);
      timer = setTimeout(() => settle(graph), FITS_MS);
    });
  }

  function firstMs(graph) {
    const prices = graph.data && trace(graph, "candles");
    return prices && prices.x.length ? asMs(prices.x[0]) : Infinity;
  }

  function lastMs(graph) {
    const prices = graph.data && trace(graph, "candles");
    return prices && prices.x.length ? asMs(prices.x[prices.x.length - 1]) : 0;
  }

  // The last price is that of the newest candle seen: those of the past are pushed again as they are put right.
  // A page is open for days: what a day ago was goes on with it. A push may be quicker than what the page is about:
  // that brings a price of its own then.
  function takePrice(state, push) {
    if (!state.meta || state.meta.symbol !== push.symbol) return;
    if ("reference" in push) state.meta.reference = push.reference;
    const newest = (push.candles || []).at(-1);
    if (!newest || newest.t < state.pricedMs) return;
    state.price = newest.c;
    state.pricedMs = newest.t;
  }

  window.tcpChart = {
    graphOf, rangeOf, apply, attach, isBound, refit, settle, still, lookingAt, remember, remembered, fit, lastMs,
    setCandle, takePrice,
  };
})();
