// The backtest page: opening a run by its address.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  window.dash_clientside.tcpRuns = {
    open(id) { return id ? "?run=" + encodeURIComponent(id) : NONE(); },
    select(cell) { return cell && cell.rowId ? "?run=" + encodeURIComponent(cell.rowId) : NONE(); },
  };
})();
