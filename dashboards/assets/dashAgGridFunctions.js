// Formats that table columns name (dashboards/grids.py).
var dagfuncs = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
dagfuncs.tcpMoney = (value, signed, decimals) => tcpFormat.money(value, decimals === undefined ? 2 : decimals, signed);
dagfuncs.tcpPercent = (value) => tcpFormat.percent(value);
dagfuncs.tcpShare = (value) => tcpFormat.percent(value, 0, false);
dagfuncs.tcpCount = (value) => (value === null || value === undefined ? "—" : value.toLocaleString("en-US"));
dagfuncs.tcpQuantity = (value) => tcpFormat.quantity(value);
dagfuncs.tcpPlain = (value) => (value === null || value === undefined ? "none" : typeof value === "number" ? tcpFormat.quantity(value) : String(value));
dagfuncs.tcpTime = (ms) => (ms ? tcpFormat.local(ms) : "—");
dagfuncs.tcpMinute = (ms) => (ms ? tcpFormat.local(ms).slice(0, 16) : "—");
dagfuncs.tcpShort = (ms) => (ms ? tcpFormat.local(ms).slice(5, 16) : "—");
dagfuncs.tcpUtc = (ms) => (ms ? tcpFormat.utc(ms) : "");
dagfuncs.tcpState = (value) => (value ? value[0].toUpperCase() + value.slice(1) : "—");
dagfuncs.tcpSignal = (row) => {
  if (!row || !row.signal_type) return "—";
  const arrow = row.signal_type === "buy" ? "▲ Buy" : "▼ Sell";
  return arrow + " " + tcpFormat.money(row.signal_price, row.decimals) + " · " + tcpFormat.clock(row.signal_ms).slice(0, 5);
};
dagfuncs.tcpWord = (value) => (value ? (value[0].toUpperCase() + value.slice(1)).replace(/_/g, " ") : "—");
dagfuncs.tcpOrder = (value) => (value === "rejected" ? "Vetoed" : value === "cancelled" ? "Withdrawn" : dagfuncs.tcpWord(value));
dagfuncs.tcpLatency = (ms) => (ms === null || ms === undefined ? "—" : tcpFormat.money(ms, ms < 10 ? 1 : 0) + " ms");
