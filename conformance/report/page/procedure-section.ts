// The four procedures as their figures have them, every arrow with its verdict, and what each arrow opens.
import { COMPONENTS, STEPS, type Step } from "../../catalogue.ts";
import type { LoggedCall } from "../../message-log.ts";
import type { ProcedureId } from "../../procedures/procedure.ts";
import { methodsOf } from "../../protocol.ts";
import { entityRoles } from "../../target.ts";
import { tlsText } from "../failure-text.ts";
import { type Markup, markup, when } from "../markup.ts";
import type { Report, ReportedPurpose } from "../report.ts";
import { chip, mark, words } from "./mark.ts";
import { anchorOf, calls, fact, milliseconds, scroller } from "./purpose-details.ts";
import { type Lifeline, sequenceDiagram } from "./sequence-diagram.ts";
import type { ReplayedStep, Shown, ShownItem } from "./shown.ts";

interface Figure {
  readonly id: ProcedureId;
  readonly name: string;
  /** Where the name is not the clause already. */
  readonly clause: string;
  readonly title: string;
}

export const figures: readonly Figure[] = [
  { id: "F3", name: "Figure 3", clause: ", clause 7.3.1", title: "A provider shares data with an access permission" },
  {
    id: "F4",
    name: "Figure 4",
    clause: ", clause 7.3.2",
    title: "A consumer accesses data as the requested permission allows",
  },
  { id: "A1", name: "Annex A.1", clause: "", title: "A provider shares data, in the general form" },
  { id: "A2", name: "Annex A.2", clause: "", title: "A consumer accesses data, in the general form" },
];

/** Parties from left to right: users, the management with its components, the storage servers with theirs, the ledger, other users. */
// biome-ignore format: a table
const order: readonly string[] = [
  "DP", "DC", "DSSM", "AAU", "DSPM", "DSAM", "TM", "APM", "PUB", "SUB", "KSS", "TV", "KSM", "DSS", "DD", "DLT", "subscribers",
];

const stepsOfMethod: ReadonlyMap<string, readonly string[]> = new Map(
  entityRoles.flatMap((role) => methodsOf(role).map(({ name, steps }) => [name, steps] as const)),
);

export function procedureSection(figure: Figure, items: ReadonlyMap<string, ShownItem>, report: Report): Markup {
  const steps = STEPS.filter(({ procedure }) => procedure === figure.id);
  const lifelines = lifelinesOf(steps);
  const shown = (step: Step) => items.get(step.id)?.shown ?? "UNTESTED";
  const drawing = sequenceDiagram({
    title: `${figure.name}: ${figure.title}`,
    lifelines,
    arrows: steps.map((step) => ({
      number: step.id,
      from: step.from,
      to: step.to,
      text: step.what,
      mutual: step.arrow.includes("↔"),
      line: lineOf(items.get(step.id)),
      shown: shown(step),
      opens: `step-${step.id}`,
    })),
  });
  const names = lifelines
    .filter(({ id, name }) => name !== id)
    .map(({ id, name }) => markup`<span><b>${id}</b> ${name}</span> `);
  return markup`<section class="procedure" id="${figure.id}">
<h3>${figure.name}${figure.clause}: ${figure.title}</h3>
<p class="facts">${counted(steps.map(shown))}</p>
${scroller(`Sequence diagram of ${figure.name}`, drawing)}<p class="legend">${names}</p>
<div class="step-list">
${steps.map((step) => stepEntry(step, items.get(step.id), report))}</div>
</section>
`;
}

function lifelinesOf(steps: readonly Step[]): Lifeline[] {
  const used = new Set(steps.flatMap(({ from, to }) => [from, to]));
  return order
    .filter((id) => used.has(id))
    .map((id) => {
      const component = COMPONENTS.find((one) => one.id === id);
      const whole = { DSSM: "data-sharing service management", KSS: "key storage server", DSS: "data storage server" };
      const entity = component === undefined || component.entity.startsWith("data ") ? id : component.entity;
      return { id, entity, name: component?.name ?? (whole as Record<string, string>)[id] ?? id };
    });
}

/** How a step is shown; other purposes see it on an interface. */
function lineOf(item: ShownItem | undefined): "solid" | "dashed" | "dotted" {
  if (item === undefined || item.shown === "UNTESTED" || item.shown === "HIDDEN") return "dotted";
  if (item.replayed.length === 0) return "solid";
  return item.replayed.some(({ step }) => step.visibility === "observed") ? "solid" : "dashed";
}

function counted(list: readonly Shown[]): Markup[] {
  const all: readonly Shown[] = ["PASS", "FAIL", "INCONC", "ERROR", "HIDDEN", "UNTESTED"];
  return all
    .map((shown) => ({ shown, count: list.filter((one) => one === shown).length }))
    .filter(({ count }) => count > 0)
    .map(({ shown, count }) => markup`<span class="count v-${shown}">${mark(shown)}${count} ${words[shown]}</span> `);
}

function stepEntry(step: Step, item: ShownItem | undefined, report: Report): Markup {
  const shown = item?.shown ?? "UNTESTED";
  return markup`<details class="step" id="step-${step.id}"><summary>${mark(shown)}<span class="id">${step.id}</span> <span class="arrow">${step.arrow}</span> <span class="title">${step.what}</span></summary>
<div class="body"><p class="facts">${chip(shown)} clause ${step.clause}, ${step.status === "O" ? "optional" : "mandatory"}</p>
<dl>
${fact("Expected", step.what)}${(item?.replayed ?? []).map(replayedFacts)}${when(step.kind === "security", () => tlsFacts(step, report))}</dl>
${shownBy(item?.purposes ?? [])}${calls((item?.replayed ?? []).flatMap((one) => callsOf(one)))}</div>
</details>
`;
}

function replayedFacts({ step, purpose }: ReplayedStep): Markup {
  const how = { observed: "Seen", consequence: "Shown by its consequence", unobservable: "Not observable" }[
    step.visibility
  ];
  return markup`${fact("Done", step.what)}${fact(how, step.seen)}${fact("Time", milliseconds(step.durationMs))}<div><dt>Replayed in</dt><dd>${linkTo(purpose)}</dd></div>\n`;
}

/** The calls of the replay whose method is, by its descriptor, this step. */
function callsOf({ step, purpose }: ReplayedStep): readonly LoggedCall[] {
  return purpose.messages.filter(({ method }) => stepsOfMethod.get(method)?.includes(step.id));
}

function tlsFacts({ to }: Step, { target }: Report): Markup {
  const found = target.entities.find(({ role }) => role === to.toLowerCase());
  return fact("TLS", found === undefined ? "" : tlsText(found));
}

export function shownBy(purposes: readonly ReportedPurpose[]): Markup {
  return when(
    purposes.length > 0,
    () =>
      markup`<h4>Shown by</h4>\n<ul class="purposes">${purposes.map((one) => markup`<li>${linkTo(one)} ${one.title}</li>`)}</ul>\n`,
  );
}

export function linkTo({ id, verdict }: ReportedPurpose): Markup {
  const anchor = anchorOf(id);
  return markup`<a href="#${anchor}" data-opens="${anchor}">${mark(verdict)}${id}</a>, ${verdict}`;
}
