// Numbers and times as people read them; dashboards/formatting.py holds the same rules for the server.
(function () {
  "use strict";
  const DASH = "—", MINUS = "−", THIN = "\u2009";
  const cache = new Map();

  function plain(value, decimals) {
    let format = cache.get(decimals);
    if (!format) {
      format = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
      cache.set(decimals, format);
    }
    return format.format(value);
  }

  function money(value, decimals = 2, signed = false) {
    if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
    const text = plain(Math.abs(value), decimals);
    if (!/[1-9]/.test(text)) return text;
    return (value < 0 ? MINUS : signed ? "+" : "") + text;
  }

  function percent(fraction, decimals = 2, signed = true) {
    if (fraction === null || fraction === undefined || !Number.isFinite(fraction)) return DASH;
    return money(fraction * 100, decimals, signed) + THIN + "%";
  }

  function quantity(value, digits = 6) {
    if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
    return new Intl.NumberFormat("en-US", { maximumFractionDigits: digits }).format(value).replace("-", MINUS);
  }

  function ago(seconds) {
    if (seconds < 1.5) return "now";
    if (seconds < 60) return Math.floor(seconds) + " s ago";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
    if (seconds < 86400) return Math.floor(seconds / 3600) + " h ago";
    return Math.floor(seconds / 86400) + " d ago";
  }

  function two(number) { return String(number).padStart(2, "0"); }

  function clock(ms) {
    const at = new Date(ms);
    return two(at.getHours()) + ":" + two(at.getMinutes()) + ":" + two(at.getSeconds());
  }

  function day(ms) {
    const at = new Date(ms);
    return at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
  }

  function utc(ms) { return new Date(ms).toISOString().slice(0, 19).replace("T", " ") + " UTC"; }

  function local(ms) { return day(ms) + " " + clock(ms); }

  function span(seconds) {
    const whole = Math.max(0, Math.ceil(seconds));
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor((whole % 3600) / 60);
    return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
  }

  window.tcpFormat = { DASH, money, percent, quantity, ago, clock, day, utc, local, span };
})();
