// The looks of the page: light and dark, screen, phone and paper. Every text has a contrast of at least 4.5 to 1 against what is behind
// it (WCAG 2.2, 1.4.3). No inline style is used, for the page's own policy forbids it.

export const pageStyle = `
:root {
  --page: #ffffff; --panel: #f5f6f8; --line: #d5d9e0; --text: #1c2128; --quiet: #59636e; --link: #0a58ca; --focus: #0a58ca;
  --pass: #1a7437; --fail: #b3261e; --inconc: #855300; --error: #7b2fa8; --hidden: #59636e; --untested: #6a737d;
  --band: #eef2f9;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  color: var(--text); background: var(--page); -webkit-text-size-adjust: 100%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141a; --panel: #1a2029; --line: #343c48; --text: #e4e8ee; --quiet: #9aa5b3; --link: #79b0ff; --focus: #79b0ff;
    --pass: #4cc26e; --fail: #ff7d74; --inconc: #e5b13a; --error: #d3a3f5; --hidden: #9aa5b3; --untested: #929daa;
    --band: #19212d;
  }
}
.v-PASS { --v: var(--pass); } .v-FAIL { --v: var(--fail); } .v-INCONC { --v: var(--inconc); } .v-ERROR { --v: var(--error); }
.v-HIDDEN { --v: var(--hidden); } .v-UNTESTED { --v: var(--untested); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1280px; padding: 0 24px 48px; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 8px; top: 8px; background: var(--page); padding: 8px; z-index: 2; }
.symbols { position: absolute; }
code, pre, .id { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em; }
.id { font-weight: 600; white-space: nowrap; }
h1, h2, h3, h4, h5 { line-height: 1.25; margin: 1.4em 0 .5em; } h2 { font-size: 1.45rem; margin-top: 2em; } h3 { font-size: 1.08rem; }
h4, h5 { font-size: .92rem; margin: 1em 0 .3em; } h5 { font-weight: 500; color: var(--quiet); }
.mark { vertical-align: -.16em; margin-right: .4em; flex: none; }
.disc { fill: var(--disc, var(--v)); stroke: var(--v); stroke-width: 1.4; }
.glyph { fill: none; stroke: var(--glyph, var(--page)); stroke-width: 1.9; stroke-linecap: round; stroke-linejoin: round; }
.mark, .sequence use { --disc: var(--v); --glyph: var(--page); } .mark.v-HIDDEN, .mark.v-UNTESTED, use.v-HIDDEN, use.v-UNTESTED { --disc: transparent; --glyph: var(--v); }
.time { color: var(--quiet); font-size: .85em; margin-left: auto; padding-left: 12px; white-space: nowrap; }
.facts, .from, .how, .legend { color: var(--quiet); margin: .3em 0 .8em; }
.chip, .count { color: var(--v); font-weight: 600; white-space: nowrap; margin-right: .8em; }

header { border: 1px solid var(--line); border-top: 6px solid var(--v); border-radius: 8px; padding: 20px 24px; margin-top: 24px; }
.kicker { color: var(--quiet); margin: 0; }
h1 { display: flex; align-items: center; color: var(--v); font-size: 2.3rem; margin: .2em 0 .1em; } h1 .mark { width: 38px; height: 38px; margin-right: .35em; }
.target { font-size: 1.15rem; font-weight: 600; margin: 0 0 .6em; overflow-wrap: anywhere; }
.reason { margin: .3em 0; overflow-wrap: anywhere; } details.reason summary { cursor: pointer; }
.run { display: flex; flex-wrap: wrap; gap: 6px 32px; margin: 1em 0; }
.run dt { color: var(--quiet); font-size: .82em; } .run dd { margin: 0; font-weight: 600; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-size: .82em; font-weight: 500; } small { color: var(--quiet); } .print { overflow-wrap: anywhere; font-size: .78em; }
.entities td { min-width: 130px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 22px; padding: 14px 0; position: sticky; top: 0; background: var(--page); border-bottom: 1px solid var(--line); z-index: 1; }
section, article, details { scroll-margin-top: 60px; }

.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; }
.tile { border: 1px solid var(--line); border-left: 5px solid var(--v); border-radius: 6px; padding: 10px 14px; color: var(--v); font-weight: 600; }
.tile b { font-size: 1.7rem; margin-right: .15em; color: var(--text); } .tile.v-UNTESTED b { color: var(--quiet); } .tile.v-UNTESTED .mark { --v: var(--untested); }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 8px 40px; align-items: start; }
.totals td { text-align: right; font-variant-numeric: tabular-nums; width: 12%; } .totals thead th + th, .totals thead td + th { text-align: right; }
.totals td.none { color: var(--quiet); } .totals td[class^="v-"] { color: var(--v); font-weight: 600; }
.totals .bar { width: 34%; vertical-align: middle; } .bar svg { width: 100%; height: 8px; display: block; border-radius: 4px; } .bar rect { fill: var(--v); }

.failure { border: 1px solid var(--line); border-left: 5px solid var(--v); border-radius: 6px; padding: 4px 18px 12px; margin: 14px 0; } .failure h3 { margin-top: .7em; }
dl { margin: 0; } dl > div { display: grid; grid-template-columns: 150px 1fr; gap: 12px; padding: 3px 0; } dl.run > div { display: block; padding: 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; min-width: 0; }
details { border-bottom: 1px solid var(--line); } summary { padding: 7px 4px; cursor: pointer; display: flex; align-items: baseline; }
details.reason, details.reason summary { border: 0; padding: 0; display: block; } summary::-webkit-details-marker { display: none; }
summary .title { padding: 0 .6em; min-width: 0; } summary .arrow { white-space: nowrap; padding-left: .7em; color: var(--quiet); } summary .mark { align-self: center; } summary:hover { background: var(--panel); }
.body { padding: 2px 8px 16px 26px; } .call { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: 6px 0; padding: 0 10px; } .call summary:hover { background: none; }
.call summary { flex-wrap: wrap; } .call summary::before { content: "▸"; width: 1.2em; flex: none; color: var(--quiet); } .call[open] > summary::before { content: "▾"; }
.method { font-weight: 600; margin-right: .4em; overflow-wrap: anywhere; min-width: 0; } .ok { color: var(--pass); margin-left: .4em; } .refused { color: var(--fail); margin-left: .4em; overflow-wrap: anywhere; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: 4px; padding: 8px 10px; margin: 4px 0 8px; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; line-height: 1.4; }
.steps, .purposes { list-style: none; padding: 0; margin: 8px 0; } .steps li, .purposes li { padding: 4px 0; border-bottom: 1px solid var(--line); } .seen { color: var(--quiet); }
.purposes a { white-space: nowrap; font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em; }
.filter { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; margin: 10px 0 16px; } input { font: inherit; accent-color: var(--link); }
input[type=search] { color: inherit; background: var(--page); border: 1px solid var(--quiet); border-radius: 6px; padding: 5px 10px; width: 20em; max-width: 70vw; }
[hidden] { display: none !important; }

.scroller { overflow-x: auto; } .sequence { display: block; max-width: none; font-size: 12.5px; margin: 4px 0; }
.procedure > .scroller { border: 1px solid var(--line); border-radius: 8px; padding: 4px 0; }
.procedure .sequence { margin: 0 auto; }
.band { fill: var(--band); stroke: var(--line); } .entity, .party { text-anchor: middle; } .entity { fill: var(--quiet); font-size: 11px; letter-spacing: .06em; }
.head { fill: var(--page); stroke: var(--quiet); } .party { fill: var(--text); font-weight: 600; font-size: 12px; } .life { stroke: var(--line); stroke-width: 1.5; }
.sequence .row { --v: var(--text); color: var(--v); text-decoration: none; outline: none; } .sequence a { cursor: pointer; }
.sequence .row.v-PASS { --v: var(--pass); } .sequence .row.v-FAIL { --v: var(--fail); } .sequence .row.v-INCONC { --v: var(--inconc); }
.sequence .row.v-ERROR { --v: var(--error); } .sequence .row.v-HIDDEN { --v: var(--hidden); } .sequence .row.v-UNTESTED { --v: var(--untested); }
.hit { fill: transparent; } a.row:hover .hit { fill: var(--v); fill-opacity: .1; } a.row:focus-visible .hit { stroke: var(--focus); stroke-width: 3; }
.label, .number { fill: var(--text); paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; } .number { font-weight: 600; fill: var(--v); }
.shaft { stroke: var(--v, var(--text)); stroke-width: 2; } .dashed { stroke-dasharray: 7 4; } .dotted { stroke-dasharray: 2 4; } .tip { fill: var(--v); }
.inside { fill: var(--page); stroke: var(--v); stroke-width: 2; } .v-FAIL .shaft { stroke-width: 3; } .sample { width: 40px; height: 8px; vertical-align: middle; --v: var(--quiet); }
.how span, .legend span { margin-right: 1.4em; display: inline-block; } .legend { font-size: .85em; }

.matrix-row { display: grid; grid-template-columns: 130px 1fr; gap: 12px; padding: 8px 0; border-bottom: 1px solid var(--line); } .matrix-row h3 { margin: .25em 0; font-size: .95rem; }
.cells { display: flex; flex-wrap: wrap; gap: 6px; } .cell { display: inline-flex; align-items: center; border: 1px solid var(--v); color: var(--v); border-radius: 5px; padding: 1px 7px 1px 3px; font-size: .82rem; font-weight: 600; text-decoration: none; }
.cell:hover { background: var(--panel); } .cell .mark { margin-right: .3em; } .cell.v-HIDDEN, .cell.v-UNTESTED { border-style: dashed; }
.capability-list { margin-top: 12px; }
.js .step-list, .js .capability-list { display: none; }

dialog { color: inherit; background: var(--page); border: 1px solid var(--quiet); border-radius: 10px; padding: 0; width: min(860px, 94vw); max-height: 86vh; }
dialog::backdrop { background: #0009; } .dialog-head { display: flex; align-items: start; gap: 12px; padding: 14px 18px; border-bottom: 1px solid var(--line); position: sticky; top: 0; background: var(--page); }
.dialog-head h2 { margin: 0; font-size: 1.05rem; flex: 1; } .dialog-head .time { display: none; } .dialog-head button { font: inherit; font-size: 1.5rem; line-height: 1; color: inherit; background: none; border: 0; cursor: pointer; min-width: 32px; min-height: 32px; }
.dialog-body { padding: 4px 12px 8px; } .dialog-body .body { padding-left: 8px; }
footer { color: var(--quiet); margin-top: 40px; overflow-wrap: anywhere; }

@media (max-width: 720px) {
  body { padding: 0 14px 32px; } header { padding: 14px; margin-top: 12px; } h1 { font-size: 1.7rem; } h1 .mark { width: 28px; height: 28px; }
  nav { gap: 2px 14px; font-size: .9rem; padding: 8px 0; position: static; } .tiles { grid-template-columns: 1fr 1fr; } .tile { padding: 6px 10px; } .tile b { font-size: 1.3rem; }
  .entities thead { display: none; } .entities tr { display: block; border-bottom: 1px solid var(--line); padding: 6px 0; } .entities td, .entities th { display: block; border: 0; padding: 1px 0; }
  .totals .bar { display: none; } .totals thead td { display: none; } th, td { padding-right: 6px; } .run { gap: 6px 20px; }
  dl > div { grid-template-columns: 1fr; gap: 0; padding: 5px 0; } .matrix-row { grid-template-columns: 1fr; gap: 4px; }
  summary { flex-wrap: wrap; row-gap: 0; } summary .title { flex-basis: 100%; padding-left: 1.6em; } summary .arrow { margin-left: auto; } .body { padding-left: 6px; }
  .js .step-list { display: block; } .failure { padding: 2px 12px 10px; } .cell { padding: 4px 9px 4px 5px; } .how .screen { display: none; }
}
@media print {
  :root { --page: #fff; --panel: #f5f6f8; --line: #c9ced6; --text: #000; --quiet: #444c56; --link: #000; --pass: #1a7437; --fail: #b3261e; --inconc: #855300;
    --error: #7b2fa8; --hidden: #59636e; --untested: #6a737d; --band: #eef2f9; font-size: 10.5px; print-color-adjust: exact; -webkit-print-color-adjust: exact; color-scheme: light; }
  @page { size: A4; margin: 14mm; }
  body { max-width: none; padding: 0; } nav, .filter, .skip, .screen, .step-list, .capability-list, dialog { display: none !important; }
  .scroller { overflow: visible; } .sequence { max-width: 100%; height: auto; } .procedure > .scroller { border: 0; } .procedure .sequence { max-height: 232mm; }
  .procedure { break-inside: avoid; break-before: page; } #procedures { break-before: page; } .procedure:first-of-type { break-before: auto; }
  dl > div, .call, tr, .matrix-row, .tile, summary { break-inside: avoid; } h2, h3, h4 { break-after: avoid; } summary { padding: 2px 0; } a { text-decoration: none; }
  .failure .sequence { max-width: 60%; } header { margin-top: 0; }
}
`;
