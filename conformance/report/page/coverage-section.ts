// The coverage matrix: every step and every capability of the catalogue with the verdict that remains of all that showed it.
import { CAPABILITIES, STEPS } from "../../catalogue.ts";
import { type Markup, markup } from "../markup.ts";
import { countsOf, verdicts } from "../totals.ts";
import { chip, mark, words } from "./mark.ts";
import { figures, shownBy } from "./procedure-section.ts";
import { fact } from "./purpose-details.ts";
import type { ShownItem } from "./shown.ts";

type Items = ReadonlyMap<string, ShownItem>;

export function coverageSection(steps: Items, capabilities: Items): Markup {
  const owners = Map.groupBy(CAPABILITIES, (one) => (one.owners.includes("all") ? "all" : one.owners.join(", ")));
  return markup`<section id="coverage">
<h2>Coverage</h2>
<div class="matrix">
${figures.map(({ id, name }) =>
  row(
    name,
    STEPS.filter(({ procedure }) => procedure === id).map((step) => step.id),
    steps,
    "step",
  ),
)}${[...owners].map(([owner, list]) =>
  row(
    owner === "all" ? "every entity" : owner,
    list.map(({ id }) => id),
    capabilities,
    "capability",
  ),
)}</div>
<div class="capability-list">
${[...capabilities.values()].map(capabilityEntry)}</div>
</section>
`;
}

function row(name: string, ids: readonly string[], items: Items, kind: "step" | "capability"): Markup {
  const cells = ids.map((id) => {
    const item = items.get(id);
    const shown = item?.shown ?? "UNTESTED";
    const anchor = `${kind}-${id}`;
    const title = `${id}, ${item?.what ?? ""}: ${words[shown]}`;
    return markup`<a class="cell v-${shown}" href="#${anchor}" data-opens="${anchor}" title="${title}" aria-label="${title}">${mark(shown)}${id}</a>\n`;
  });
  return markup`<div class="matrix-row"><h3>${name}</h3><div class="cells">${cells}</div></div>\n`;
}

function capabilityEntry({ id, what, clause, shown, purposes, reason }: ShownItem): Markup {
  const counts = countsOf(purposes);
  const tally = verdicts.filter((verdict) => counts[verdict] > 0).map((verdict) => `${counts[verdict]} ${verdict}`);
  return markup`<details class="step" id="capability-${id}"><summary>${mark(shown)}<span class="id">${id}</span> <span class="title">${what}</span></summary>
<div class="body"><p class="facts">${chip(shown)} clause ${clause}</p>
<dl>
${fact("Requirement", what)}${fact("Purposes", tally.join(", "))}${fact("Not observable", reason)}</dl>
${shownBy(purposes)}</div>
</details>
`;
}
