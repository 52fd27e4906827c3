// Sweeps and comparisons: what is chosen stands in the address, a click on a row's last column promotes it.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  window.dash_clientside.tcpSweeps = {
    remember(market, x, y, metric, sweep) {
      if (!sweep || !market) return NONE();
      const query = new URLSearchParams({ sweep, market, x, y, metric });
      const search = "?" + query.toString();
      return search === window.location.search ? NONE() : search;
    },
    compared(chosen, against) {
      if (!chosen) return NONE();
      const search = chosen.length ? "?" + new URLSearchParams({ of: chosen.join(","), against }).toString() : "";
      return search === window.location.search ? NONE() : search;
    },
    promote(cell) {
      return cell && cell.colId === "promote" ? Number(cell.rowId) : NONE();
    },
  };
})();
