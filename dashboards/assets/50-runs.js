// The backtest page: opening a run by its address, and the one that is asked for: that it is under way, and for
// how long so far.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  let began = 0;

  function elapsed() {
    const place = document.getElementById("run-elapsed");
    if (!place) return;
    const text = began ? Math.floor((Date.now() - began) / 1000) + " s" : "";
    if (place.textContent !== text) place.textContent = text;
  }

  // When a run began is kept as long as the tab, as the run's id is: a reload goes on counting.
  function since(job) {
    const [known, at] = (sessionStorage.getItem("tcp-run") || "").split(" ");
    if (known === job) return Number(at);
    sessionStorage.setItem("tcp-run", job + " " + Date.now());
    return Date.now();
  }

  setInterval(elapsed, 250);
  window.dash_clientside.tcpRuns = {
    // The button, its words, the bar, the line below it, and the clock that asks.
    follow(job) {
      const busy = Boolean(job);
      began = busy ? since(job) : 0;
      return [busy, busy ? "Running…" : "Run", !busy, !busy, !busy];
    },
    open(id) { return id ? "?run=" + encodeURIComponent(id) : NONE(); },
    select(cell) { return cell && cell.rowId ? "?run=" + encodeURIComponent(cell.rowId) : NONE(); },
  };
})();
