// The backtest page: opening a run by its address, and how long the one that is asked for takes so far.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  let began = 0;

  function elapsed() {
    const bar = document.getElementById("run-progress");
    if (!bar) return;
    began = bar.hidden ? 0 : began || performance.now();
    const text = began ? Math.floor((performance.now() - began) / 1000) + " s" : "";
    const place = document.getElementById("run-elapsed");
    if (place.textContent !== text) place.textContent = text;
  }

  setInterval(elapsed, 250);
  window.dash_clientside.tcpRuns = {
    open(id) { return id ? "?run=" + encodeURIComponent(id) : NONE(); },
    select(cell) { return cell && cell.rowId ? "?run=" + encodeURIComponent(cell.rowId) : NONE(); },
  };
})();
