// What a failure teaches: clause and requirement, what was asked, what came, the messages and the TLS facts, the likely mistake, and the
// command that shows it again. Plain text, for JUnit and for whoever embeds the kit.
import type { JsonValue } from "@bufbuild/protobuf";
import type { LoggedCall } from "../message-log.ts";
import type { Report, ReportedEntity, ReportedPurpose } from "./report.ts";
import { requirementsOf } from "./requirement.ts";

/** The last calls say what went wrong; the first ones set the stage. */
const SHOWN_CALLS = 6;

/** One line: the verdict's reason. */
export function headline({ expected, actual }: Pick<ReportedPurpose, "expected" | "actual">): string {
  return actual === "" ? expected : `expected: ${expected}; actual: ${actual}`;
}

export function failureText(purpose: ReportedPurpose, report: Pick<Report, "target">): string {
  const line = (name: string, text: string) => (text === "" ? [] : [`${`${name}:`.padEnd(16)}${text}`]);
  const steps = purpose.procedure.filter(({ verdict }) => verdict !== null && verdict !== "PASS");
  return [
    `${purpose.verdict} ${purpose.id}: ${purpose.entity} ${purpose.title}`,
    ...line("clause", purpose.clause),
    ...requirementsOf(purpose).flatMap(({ id, what }) => line("requirement", `${id} ${what}`)),
    ...line("initial state", purpose.initialState),
    ...line("stimulus", purpose.stimulus),
    ...line("expected", purpose.expected),
    ...line("actual", purpose.actual),
    ...purpose.seen.flatMap((text) => line("seen", text)),
    ...steps.flatMap(({ id, verdict, arrow, seen }) => line("step", `${id} ${arrow} ${verdict} ${seen}`)),
    ...line("positive twin", purpose.twin),
    ...line("likely mistake", purpose.verdict === "FAIL" ? purpose.likelyMistake : ""),
    ...entitiesOf(purpose, report).flatMap((entity) => line("TLS", tlsText(entity))),
    ...line("again", purpose.reproduce),
    ...messagesText(purpose.messages),
  ].join("\n");
}

/** The entities under test whose handshakes matter to a purpose. */
export function entitiesOf(
  { entity, messages }: Pick<ReportedPurpose, "entity" | "messages">,
  { target }: Pick<Report, "target">,
): readonly ReportedEntity[] {
  const called = new Set(messages.map(({ to }) => to));
  return target.entities.filter(({ role }) => role === entity.toLowerCase() || called.has(role));
}

export function tlsText({
  role,
  endpoint,
  identity,
  protocol,
  cipher,
  certificateSha256,
  problem,
}: ReportedEntity): string {
  const facts = protocol === "" ? problem : `${protocol}, ${cipher}, certificate SHA-256 ${certificateSha256}`;
  return `${role} at ${endpoint} as ${identity}: ${facts}`;
}

/** e.g. "KeyStorageService/GetKey to kss: PERMISSION_DENIED TOKEN_INVALID after 3 ms". */
export function callText({ method, to, code, reason, durationMs }: LoggedCall): string {
  const outcome = [code === "" ? "no answer yet" : code, reason].filter((text) => text !== "").join(" ");
  return `${method} to ${to}: ${outcome} after ${durationMs.toFixed(1)} ms`;
}

/** The last calls with their messages, which are without secrets already, each cut at so many characters. */
export function messagesText(
  messages: readonly LoggedCall[],
  shownCalls = SHOWN_CALLS,
  longest = Number.POSITIVE_INFINITY,
): string[] {
  if (messages.length === 0) return [];
  const shown = messages.slice(-shownCalls);
  const text = (message: JsonValue) => {
    const whole = JSON.stringify(message);
    return whole.length <= longest ? whole : `${whole.slice(0, longest)} …`;
  };
  const omitted = messages.length - shown.length;
  return [
    `messages:${omitted > 0 ? ` the last ${shown.length} of ${messages.length} calls` : ""}`,
    ...shown.flatMap((call) => [
      `  ${callText(call)}`,
      ...call.requests.map((message) => `    > ${text(message)}`),
      ...call.responses.map((message) => `    < ${text(message)}`),
    ]),
  ];
}
