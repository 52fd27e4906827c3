"""The look of a report: light or dark as the reader's system, and fit for paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2230; --soft: #667085; --line: #e3e6ec; --back: #fff; --card: #f7f8fa;
  --one: #2f6fed; --two: #98a2b3; --good: #12805c; --bad: #c4320a; --warn: #fff6e5; --edge: #f0b429;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ef; --soft: #98a2b3; --line: #2c3340; --back: #12161d; --card: #1a202b;
    --one: #6ea0ff; --two: #667085; --good: #4cc38a; --bad: #ff8a65; --warn: #2b2412; --edge: #b7862a;
  }
}
body {
  margin: 0 auto; max-width: 1040px; padding: 32px 24px;
  background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
}
h1 { font-size: 26px; margin: 0 0 4px }
h2 { font-size: 18px; margin: 36px 0 12px }
p { margin: 0 0 8px }
.soft { color: var(--soft) }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0;
}
.tile { background: var(--card); border-radius: 10px; padding: 12px 14px }
.tile b { display: block; font-size: 21px }
.tile small { color: var(--soft) }
.caveats {
  background: var(--warn); border-left: 4px solid var(--edge); border-radius: 6px;
  padding: 12px 16px 12px 8px; margin: 20px 0;
}
.caveats ul { margin: 0; padding-left: 24px }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 600 }
th:first-child, td:first-child { text-align: left }
.good { color: var(--good) }
.bad { color: var(--bad) }
svg { width: 100%; height: auto; display: block; margin: 4px 0 }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
.grid { stroke: var(--line) }
.one { stroke: var(--one); fill: none; stroke-width: 1.6 }
.two { stroke: var(--two); fill: none; stroke-width: 1.3 }
.three { stroke: var(--good); fill: none; stroke-width: 1.3 }
.four { stroke: var(--edge); fill: none; stroke-width: 1.3 }
.fall { fill: var(--bad); opacity: .28 }
.part { fill: var(--card) }
.key { display: inline-block; width: 18px; height: 0; border-top: 3px solid; margin: 0 6px 4px 0 }
.key.one { border-color: var(--one) }
.key.two { border-color: var(--two) }
.key.three { border-color: var(--good) }
.key.four { border-color: var(--edge) }
.legend span { margin-right: 20px }
summary { cursor: pointer; color: var(--one); margin: 8px 0 }
@media print { body { max-width: none; padding: 0 } }
"""
