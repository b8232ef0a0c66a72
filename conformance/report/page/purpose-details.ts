// One purpose on the page: everything that whoever has to mend, or to dispute, a verdict needs.
import type { LoggedCall } from "../../message-log.ts";
import { entitiesOf, tlsText } from "../failure-text.ts";
import { type Markup, markup, when } from "../markup.ts";
import type { Report, ReportedPurpose, ReportedStep } from "../report.ts";
import { requirementsOf } from "../requirement.ts";
import { chip, mark } from "./mark.ts";
import { sequenceDiagram } from "./sequence-diagram.ts";

const kinds = {
  CA: "capability",
  BV: "valid behaviour",
  BI: "invalid behaviour",
  BO: "inopportune behaviour",
} as const;
const statuses = { M: "mandatory", R: "recommended", O: "optional" } as const;

/** Of what passed, the calls that end it; hundreds of purposes whole would be more than a phone takes. */
const PASSED_CALLS = 4;

export function anchorOf(id: string): string {
  return id.replaceAll("/", "-");
}

/** A line to be opened. */
export function purposeEntry(purpose: ReportedPurpose, report: Report): Markup {
  const { id, verdict, title, clause, durationMs } = purpose;
  const words = [id, title, clause, ...purpose.steps, ...purpose.capabilities].join(" ").toLowerCase();
  return markup`<details class="purpose" id="${anchorOf(id)}" data-verdict="${verdict}" data-words="${words}">
<summary>${mark(verdict)}<span class="id">${id}</span> <span class="title">${title}</span><span class="time">${verdict} · ${milliseconds(durationMs)}</span></summary>
${purposeDetails(purpose, report)}</details>
`;
}

export function purposeDetails(purpose: ReportedPurpose, report: Report): Markup {
  const { kind, status, verdict, procedure, messages } = purpose;
  const parties = [...new Set(purpose.diagram.flatMap((arrow) => arrow.slice(0, 2)))];
  return markup`<div class="body">
<p class="facts">${chip(verdict)} clause ${purpose.clause}, ${statuses[status]}, ${kinds[kind]}, ${milliseconds(purpose.durationMs)}</p>
<dl>
${requirementsOf(purpose).map(({ id, what }) => fact("Requirement", `${id}: ${what}`))}${fact("Initial state", purpose.initialState)}${fact("Stimulus", purpose.stimulus)}${fact("Expected", purpose.expected)}${fact("Actual", purpose.actual)}${purpose.seen.map((text) => fact("Seen", text))}${fact("Positive twin", purpose.twin)}${when(verdict === "FAIL", () => fact("Likely mistake", purpose.likelyMistake))}${entitiesOf(purpose, report).map((entity) => fact("TLS", tlsText(entity)))}<div><dt>Again</dt><dd><code>${purpose.reproduce}</code></dd></div>
</dl>
${when(procedure.length === 0, () =>
  scroller(
    `Sequence of ${purpose.id}`,
    sequenceDiagram({
      title: `Sequence of ${purpose.id}`,
      lifelines: parties.map((id) => ({ id, entity: id, name: id })),
      arrows: purpose.diagram.map(([from, to, text]) => ({
        number: "",
        from,
        to,
        text,
        mutual: false,
        line: "solid",
        shown: undefined,
        opens: "",
      })),
    }),
  ),
)}${when(procedure.length > 0, () => markup`<ol class="steps">${procedure.map(stepLine)}</ol>\n`)}${calls(verdict === "PASS" ? messages.slice(-PASSED_CALLS) : messages, messages.length)}</div>
`;
}

/** Wide drawings scroll by themselves, by keyboard too; the page does not. */
export function scroller(label: string, content: Markup): Markup {
  return markup`<div class="scroller" role="region" aria-label="${label}" tabindex="0">${content}</div>\n`;
}

export function fact(name: string, text: string): Markup {
  return when(text !== "", () => markup`<div><dt>${name}</dt><dd>${text}</dd></div>\n`);
}

/** @param count how many there were in all */
export function calls(messages: readonly LoggedCall[], count = messages.length): Markup {
  const some =
    count > messages.length ? ` (the last ${messages.length} of ${count} calls; the JSON report has them all)` : "";
  return when(messages.length > 0, () => markup`<h4>Messages${some}</h4>\n${messages.map(call)}`);
}

function call({ from, to, method, code, reason, atMs, durationMs, ...logged }: LoggedCall): Markup {
  const { requests, responses, requestCount, responseCount } = logged;
  const outcome = [code === "" ? "no answer yet" : code, reason].filter((text) => text !== "").join(" ");
  const messages = (title: string, list: readonly unknown[], count: number) =>
    when(list.length > 0, () => {
      const some = count > list.length ? `, the first ${list.length} of ${count}` : "";
      return markup`<h5>${title}${some}</h5>\n${list.map((message) => markup`<pre tabindex="0">${JSON.stringify(message, undefined, 2) ?? ""}</pre>\n`)}`;
    });
  return markup`<details class="call"><summary><span class="method">${method}</span> to ${to}: <span class="${code === "OK" ? "ok" : "refused"}">${outcome}</span><span class="time">${milliseconds(durationMs)}, at ${milliseconds(atMs)}</span></summary>
<p class="from">from ${from}</p>
${messages("Request", requests, requestCount)}${messages("Response", responses, responseCount)}</details>
`;
}

function stepLine({ id, arrow, what, verdict, visibility, seen, durationMs }: ReportedStep): Markup {
  const how = { observed: "", consequence: "shown by its consequence: ", unobservable: "not observable: " }[visibility];
  return markup`<li>${mark(verdict ?? "HIDDEN")}<span class="id">${id}</span> ${arrow} ${what} <span class="seen">${how}${seen}</span><span class="time">${milliseconds(durationMs)}</span></li>\n`;
}

export function milliseconds(duration: number): string {
  return duration >= 10_000 ? `${(duration / 1000).toFixed(1)} s` : `${duration.toFixed(duration < 10 ? 1 : 0)} ms`;
}
