// The frame: connection state, clock, theme, kill switch dialog, shortcuts, relative times.
(function () {
  "use strict";
  const F = window.tcpFormat;
  const NONE = () => window.dash_clientside.no_update;
  const LOST_AFTER_MS = 5000, BUSY_MS = 2500, RELOADS_MS = 60000;
  const STATES = {
    live: ["Live", "good"],
    silent: ["No market data", "warn"],
    daemon: ["Daemon is away", "bad"],
    exchange: ["Exchange is reconnecting", "warn"],
    bus: ["Redis is away", "bad"],
    database: ["Database is away", "bad"],
    lost: ["Connection lost, retrying", "bad"],
  };
  const shell = { feed: null, receivedAt: 0, receivedWall: Date.now(), heardAt: performance.now(), tickedAt: performance.now(), lost: false, lostSince: 0 };

  function by(id) { return document.getElementById(id); }

  function say(element, text) {
    if (element && element.textContent !== text) element.textContent = text;
  }

  function serverNow() {
    return shell.feed ? shell.feed.wall_ms + (performance.now() - shell.receivedAt) : Date.now();
  }

  function exchangeNow() {
    if (!shell.feed) return Date.now();
    return shell.feed.exchange_ms + (performance.now() - shell.receivedAt) * shell.feed.rate;
  }

  function takeFeed(feed) {
    if (!feed) return;
    shell.feed = feed;
    shell.receivedAt = shell.heardAt = performance.now();
    if (feed.pushed) {
      shell.connected = true;
      shell.lost = false;
    }
    drawFeed();
  }

  function drawFeed() {
    const feed = shell.feed;
    if (!feed || !by("feed")) return;
    const state = shell.lost ? "lost" : feed.state;
    const [words, tone] = STATES[state];
    by("feed").dataset.tone = tone;
    document.body.classList.toggle("is-stale", state !== "live" && state !== "silent");
    say(by("feed-state"), words);
    say(by("feed-detail"), detail(state, feed));
    by("feed").title = feed.error || (state === "live" ? ways(feed) : "");
    const name = feed.exchange === "sim" ? "Simulated" : "OKX";
    say(by("exchange"), name + (feed.rate > 1.2 ? " ×" + Math.round(feed.rate) : ""));
    const label = by("kill-label");
    say(label, feed.kill_switch ? "Kill switch is ON" : "Kill switch");
    by("kill-open").classList.toggle("on", feed.kill_switch);
  }

  function ways(feed) {
    const ms = (value) => Math.round(value) + " ms";
    const said = [];
    if (feed.latency_ms !== null) said.push("From a trade to its arrival " + ms(feed.latency_ms) + ", 99 of 100 within " + ms(feed.latency_p99_ms) + " (the worst connection)");
    if (feed.lag_ms !== null) said.push("from the daemon to this page's server " + ms(feed.lag_ms));
    return said.join("; ");
  }

  function detail(state, feed) {
    if (state === "live") return feed.latency_ms === null ? "" : Math.round(feed.latency_ms) + " ms";
    if (state === "lost") return "since " + F.ago((performance.now() - shell.receivedAt) / 1000).replace(" ago", "");
    if (state === "database" && feed.since_ms) return "since " + F.clock(feed.since_ms);
    if (state === "silent" && feed.market_ms) return "last " + F.ago((serverNow() - feed.market_ms) / 1000);
    return "";
  }

  function drawTimes() {
    const now = serverNow();
    document.querySelectorAll("time.ago").forEach((element) => {
      const ms = Number(element.dataset.ms);
      if (!ms) return;
      say(element, F.ago((now - ms) / 1000));
      element.title = F.local(ms) + " · " + F.utc(ms);
    });
    document.querySelectorAll("time.clock").forEach((element) => {
      const ms = Number(element.dataset.ms);
      say(element, F.clock(ms));
      element.title = F.local(ms) + " · " + F.utc(ms);
    });
    if (shell.feed && by("exchange-clock")) {
      const at = exchangeNow();
      say(by("exchange-clock"), F.clock(at));
      by("exchange-clock").title = "Exchange time " + F.local(at) + " · " + F.utc(at);
    }
  }

  // The stream speaks at least once a second. Silence means that it is lost: say so, and when the server answers
  // again but the stream does not come back by itself, load the page anew (the address holds what is selected).
  // A page that was busy or asleep has not read what was said meanwhile: for it the silence begins anew.
  function watchConnection() {
    const now = performance.now();
    if (now - shell.tickedAt > BUSY_MS || document.hidden) shell.heardAt = now;
    shell.tickedAt = now;
    if (!shell.feed || document.hidden) return;
    if (now - shell.heardAt > LOST_AFTER_MS && !shell.lost) {
      shell.lost = true;
      shell.lostSince = performance.now();
    }
    if (shell.lost) {
      drawFeed();
      if (performance.now() - shell.lostSince > 4000) probe();
    }
  }

  let probing = false;
  async function probe() {
    if (probing) return;
    probing = true;
    try {
      await fetch("/healthz", { cache: "no-store" });
      await new Promise((resolve) => setTimeout(resolve, 6000));
      if (shell.lost && performance.now() - shell.heardAt > LOST_AFTER_MS && !unsaved()) reload();
    } catch (error) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    } finally {
      probing = false;
    }
  }

  // Once a minute at most: a machine that is too busy to answer gets no more to do by it.
  function reload() {
    if (Date.now() - Number(sessionStorage.getItem("tcp-reloaded")) < RELOADS_MS) return;
    sessionStorage.setItem("tcp-reloaded", String(Date.now()));
    window.location.reload();
  }

  // A form that was typed into is not thrown away: the reader is told, and loads the page when it is saved.
  function unsaved() {
    if (!typedInto(".bot-form, .panel.form")) return false;
    if (!shell.toldUnsaved) toast("Live values have stopped. Save the form, then load the page again.", true);
    shell.toldUnsaved = true;
    return true;
  }

  // What was typed into a form counts until it is drawn anew: then it holds what is stored.
  function drawing(form) { return form.dataset.drawing || "first"; }

  function markTyped(form) { form.dataset.typed = drawing(form); }

  function typedInto(forms) {
    return [...document.querySelectorAll(forms)].some((form) => form.dataset.typed === drawing(form));
  }

  function typed(event) {
    const form = event.target.closest && event.target.closest(".bot-form, .panel.form");
    if (form) markTyped(form);
  }

  function toast(text, failed) {
    const element = document.createElement("div");
    element.className = "toast" + (failed ? " failed" : "");
    element.textContent = text;
    by("toasts").appendChild(element);
    setTimeout(() => element.remove(), failed ? 10000 : 4000);
  }

  function token(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  // Names of tokens replaced by their values: "accent", or the stops of a colour scale.
  function resolved(names) {
    if (Array.isArray(names)) return names.map(resolved);
    return typeof names === "string" ? token(names) : names;
  }

  function paintTraces(graph) {
    (graph.data || []).forEach((trace, index) => {
      const paint = trace.meta && trace.meta.paint;
      if (!paint) return;
      const change = {};
      Object.keys(paint).forEach((path) => {
        const value = resolved(paint[path]);
        change[path] = Array.isArray(value) ? [value] : value;
      });
      window.Plotly.restyle(graph, change, [index]);
    });
  }

  function paintFigures() {
    document.querySelectorAll(".js-plotly-plot").forEach((graph) => {
      if (!graph._fullLayout || !window.Plotly) return;
      const change = {
        "font.color": token("muted"),
        "legend.font.color": token("muted"),
        "hoverlabel.bgcolor": token("raised"),
        "hoverlabel.bordercolor": token("border"),
        "hoverlabel.font.color": token("text"),
        "modebar.color": token("muted"),
      };
      Object.keys(graph.layout).filter((key) => /^[xy]axis\d*$/.test(key)).forEach((key) => {
        change[key + ".gridcolor"] = token("grid");
        change[key + ".linecolor"] = token("border");
        change[key + ".zerolinecolor"] = token("border");
        change[key + ".spikecolor"] = token("muted");
      });
      window.Plotly.relayout(graph, change);
      paintTraces(graph);
    });
  }

  function keys(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest && target.closest("input, textarea, select, [role=combobox], [contenteditable]")) return;
    if (shell.prefix) {
      shell.prefix = false;
      const link = [...document.querySelectorAll(".nav-link")].find(
        (item) => item.querySelector("[data-key]").dataset.key === event.key);
      if (link) link.click();
      return;
    }
    if (event.key === "g") {
      shell.prefix = true;
      setTimeout(() => { shell.prefix = false; }, 1200);
    } else if (event.key === "t") {
      if (by("scheme-toggle")) by("scheme-toggle").click();
    } else if (event.key === "?") {
      window.dash_clientside.set_props("shortcuts", { opened: true });
    } else if (event.key === "j" || event.key === "k") {
      document.dispatchEvent(new CustomEvent("tcp-step", { detail: event.key === "j" ? 1 : -1 }));
    }
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.tcp = {
    feed(feed) {
      takeFeed(feed);
      return NONE();
    },
    title(title, pathname) {
      shell.page = title || "";
      say(by("title"), shell.page);
      document.title = (shell.page ? shell.page + " · " : "") + "TCP Dashboard";
      document.querySelectorAll(".nav-link").forEach((link) => {
        if (link.getAttribute("href") === pathname) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      });
      return NONE();
    },
    scheme(scheme) {
      const wanted = scheme === "light" ? "light" : "dark";
      localStorage.setItem("tcp-scheme", wanted);
      document.documentElement.dataset.mantineColorScheme = wanted;
      requestAnimationFrame(paintFigures);
      return wanted;
    },
    toggleScheme(clicks, scheme) {
      return scheme === "light" ? "dark" : "light";
    },
    // What is asked is what a click does, whatever somebody else switches while the dialog is open.
    killDialog(open, cancel, confirm, feed, bots) {
      const triggered = window.dash_clientside.callback_context.triggered_id;
      if (triggered !== "kill-open") return [false, NONE(), NONE(), NONE(), NONE(), NONE()];
      const running = (bots || []).filter((bot) => bot.status === "active").length;
      const on = feed && feed.kill_switch;
      return [
        true,
        on ? "Bots trade again. Positions and bots stay as they are."
          : "No order leaves until it is off again, sales and stops included: " + running + " active bot" +
            (running === 1 ? "" : "s") + ". Waiting orders are withdrawn; what they hold stays.",
        on ? "Turn the kill switch off" : "Stop all trading",
        { display: on ? "none" : "block" },
        false,
        !on,
      ];
    },
  };
  window.tcpShell = { shell, by, say, serverNow, exchangeNow, toast, paintFigures, markTyped, typedInto };
  document.addEventListener("keydown", keys);
  document.addEventListener("input", typed);
  setInterval(drawTimes, 500);
  // What a redraw brings is told before it is seen, not at the next turn.
  new MutationObserver((changes) => {
    const told = (node) => node.nodeType === 1 && (node.matches("time") || node.querySelector("time"));
    if (changes.some((change) => change.type === "attributes" || [...change.addedNodes].some(told))) drawTimes();
  }).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-ms"] });
  setInterval(watchConnection, 1000);
})();
