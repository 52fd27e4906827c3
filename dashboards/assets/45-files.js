// A chart as a file: a picture of what is seen, or a table of what it shows. Both are made in the browser.
(function () {
  "use strict";
  const SCALE = 2;

  function graphOf(name) {
    const room = document.getElementById(name);
    return room && room.querySelector(".js-plotly-plot");
  }

  function axisOf(graph, trace, letter) {
    const name = trace[letter + "axis"] || letter;
    return (graph._fullLayout || {})[letter + "axis" + name.slice(1)] || {};
  }

  // Times are written as the API writes them.
  function plain(value, axis) {
    if (axis.type !== "date" || value === null || value === undefined) return value;
    const text = typeof value === "string" ? (/Z|\+/.test(value) ? value : value.replace(" ", "T") + "Z") : value;
    const at = new Date(text);
    return Number.isNaN(at.getTime()) ? value : at.toISOString();
  }

  function cells(graph, trace) {
    const x = axisOf(graph, trace, "x"), y = axisOf(graph, trace, "y"), found = [];
    Array.from(trace.z).forEach((line, i) => Array.from(line).forEach((z, j) => {
      found.push({ x: plain(trace.x ? trace.x[j] : j, x), y: plain(trace.y ? trace.y[i] : i, y), z });
    }));
    return found;
  }

  // The rows of a trace by the names of its values: of a heat map its cells, of parallel coordinates its lines.
  function rowsOf(graph, trace) {
    if (trace.dimensions) {
      const length = Math.max(0, ...trace.dimensions.map((each) => each.values.length));
      return Array.from({ length }, (_, n) => Object.fromEntries(trace.dimensions.map((each) => [each.label, each.values[n]])));
    }
    if (trace.z) return cells(graph, trace);
    const names = ["x", "open", "high", "low", "close", "y"].filter((name) => trace[name] && trace[name].length);
    const length = Math.max(0, ...names.map((name) => trace[name].length));
    return Array.from({ length }, (_, n) => Object.fromEntries(names.map((name) => {
      const axis = name === "x" ? axisOf(graph, trace, "x") : name === "y" ? axisOf(graph, trace, "y") : {};
      return [name, plain(trace[name][n], axis)];
    })));
  }

  function cell(value) {
    if (value === null || value === undefined) return "";
    const text = String(value);
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  function table(graph) {
    const shown = graph.data.filter((trace) => trace.visible === undefined || trace.visible === true);
    const rows = shown.flatMap((trace) => rowsOf(graph, trace).map((row) => ({ trace: trace.name || "", ...row })));
    const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  }

  // The page's background is behind the chart: without it light words would stand on nothing.
  function picture(graph) {
    const surface = getComputedStyle(document.documentElement).getPropertyValue("--surface").trim();
    const layout = { ...graph.layout, paper_bgcolor: surface };
    const size = { width: graph.clientWidth, height: graph.clientHeight, scale: SCALE };
    return window.Plotly.toImage({ data: graph.data, layout }, { format: "png", ...size });
  }

  function save(address, name) {
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
  }

  async function file(name, form) {
    const graph = graphOf(name);
    if (!graph || !graph.data || !window.Plotly) return;
    if (form === "png") {
      save(await picture(graph), name + ".png");
      return;
    }
    const address = URL.createObjectURL(new Blob([table(graph)], { type: "text/csv" }));
    save(address, name + ".csv");
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-chart][data-form]");
    if (button) file(button.dataset.chart, button.dataset.form);
  });
})();
