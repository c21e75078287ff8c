"""The style of all pages: light and dark, from 320 pixels to paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--card:#f6f7f9;--line:#d9dde3;--ink:#1c2430;--soft:#5a6675;--link:#0b5cad;
--main:#3d78b8;--good:#26734a;--warn:#b07410;--bad:#b5301f;--calm:#8a96a5;--mark:#ffe08a;--markink:#1c2430}
@media (prefers-color-scheme:dark){:root{--page:#14181e;--card:#1d232b;--line:#343d49;--ink:#e4e9ef;--soft:#9eabba;
--link:#7fb8f0;--main:#6aa5e0;--good:#5cc088;--warn:#e0a94a;--bad:#ee7b6e;--calm:#7d8a99;--mark:#6b5312;--markink:#fff3cf}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:62rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere;
-webkit-text-size-adjust:100%}
h1{font-size:1.4rem;line-height:1.3;margin:0 0 .25rem}
h2{font-size:1.15rem;margin:2.25rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0}a{color:var(--link)}small,.soft{color:var(--soft)}small{font-size:.85rem}
.verdict{border-left:.4rem solid var(--calm);background:var(--card);padding:.8rem 1rem;margin:1rem 0;
border-radius:.3rem}
.verdict.good{border-color:var(--good)}.verdict.warn{border-color:var(--warn)}.verdict.bad{border-color:var(--bad)}
.verdict strong{font-size:1.1rem}
nav{font-size:.9rem;margin:1rem 0}nav a{display:inline-block;margin-right:1rem;padding:.15rem 0}
dl{margin:.5rem 0}dl div{display:grid;grid-template-columns:13rem 1fr;gap:.1rem 1rem;padding:.2rem 0}
dt{color:var(--soft)}dd{margin:0;min-width:0}
ul{padding-left:1.2rem;margin:.4rem 0}li{margin:.25rem 0}
code,.value,kbd{font:.9em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.command{display:block;background:var(--card);border:1px solid var(--line);border-radius:.3rem;padding:.5rem .7rem;
margin:.3rem 0;white-space:pre-wrap;user-select:all;-webkit-user-select:all}
.word{display:inline-block;max-width:100%}.pair small{white-space:nowrap}
table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:.92rem}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.85rem;overflow-wrap:break-word}
th,td{padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td code{overflow-wrap:break-word}
mark{background:var(--mark);color:var(--markink);padding:0 .2em;border-radius:.2em}
del{color:var(--bad);text-decoration-thickness:1px}ins{color:var(--good);text-decoration:none}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--link)}
.sample{background:var(--card);border-radius:.3rem;padding:.4rem .7rem;margin:.35rem 0;font-size:.9rem}
.pair{display:inline-block;margin-right:.8rem;max-width:100%}
.reason{margin:1.2rem 0;break-inside:avoid}.reason h3{margin-bottom:0}
.flow svg{width:100%;height:auto;display:block}.flow .wide{max-width:42rem}.flow .narrow{display:none;max-width:24rem}
svg text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--ink)}
.band{fill:var(--main);opacity:.3}.fate,.source{fill:var(--main)}.source{fill:var(--calm)}
.created{fill:var(--good)}.updated{fill:var(--main)}.unchanged,.skipped,.merged{fill:var(--calm)}
.rejected,.refused,.unknown,.failed{fill:var(--bad)}.stale,.left{fill:var(--warn)}
.bar{width:100%;min-width:4rem;height:.55rem;display:block;border-radius:.2rem;margin:.35rem 0}
.b{width:45%}.ground{fill:var(--line)}
.bar .value,.columns .value{fill:var(--main)}.columns .calm{fill:var(--calm)}
.bar .bad,.columns .bad{fill:var(--bad)}.bar .warn,.columns .warn{fill:var(--warn)}
.bar .good,.columns .good{fill:var(--good)}
.columns{width:100%;height:3rem;display:block;border-bottom:1px solid var(--line)}.space{fill:transparent}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:1rem;margin:.6rem 0}
.card{background:var(--card);border-radius:.3rem;padding:.6rem .8rem;min-width:0;break-inside:avoid}
.card strong{font-size:1.25rem;font-variant-numeric:tabular-nums;display:block}
.sign{border:1px solid var(--line);border-radius:.3rem;padding:.5rem 1rem;margin:.8rem 0;break-inside:avoid}
.rule{display:grid;grid-template-columns:8rem 1fr;margin:1.6rem 0 .4rem}.rule span{border-bottom:1px solid var(--ink)}
footer{margin-top:2.5rem;color:var(--soft);font-size:.85rem}
@media (max-width:42rem){
.flow .wide{display:none}.flow .narrow{display:block}
dl div{grid-template-columns:1fr}dd{margin-bottom:.3rem}
thead{display:none}
table,tbody,tr,td{display:block;width:100%}
tr{padding:.5rem 0;border-bottom:1px solid var(--line)}
td{border:0;padding:.1rem 0}.b{width:100%}
td[data-label]{display:grid;grid-template-columns:7.5rem minmax(0,1fr);gap:.6rem}
td[data-label]::before{content:attr(data-label);color:var(--soft);font-size:.85rem}
td[data-label]>*{grid-column:2}td[data-label]:first-child{display:block;font-weight:600}
td[data-label]:first-child::before{content:none}td[data-label]:empty{display:none}
.n{text-align:left;white-space:normal}
.rule{grid-template-columns:6rem 1fr}}
@media print{
:root{color-scheme:light;--page:#fff;--card:#f6f7f9;--line:#c8cdd4;--ink:#000;--soft:#444;--link:#000;--main:#3d78b8;
--good:#2f8552;--warn:#b07410;--bad:#c0392b;--calm:#8a96a5;--mark:#ffe08a;--markink:#000}
body{max-width:none;padding:0;font-size:10.5pt}nav{display:none}
h2,h3{break-after:avoid}tr,.sample,.verdict{break-inside:avoid}
summary{list-style:none;color:var(--soft)}
details::details-content{content-visibility:visible;height:auto;display:block}
svg,.verdict,.card,.sample,mark{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
"""Without addresses, so that nothing is loaded from anywhere."""
