// `x1410 conformance explain TP`: a test purpose in full, before anything is run.
import { Command } from "commander";
import { CAPABILITIES, STEPS } from "../catalogue.ts";
import type { Purpose } from "../purposes/purpose.ts";
import { expectationText } from "../refusal.ts";
import { conditionsOf, statusOf } from "../selection.ts";
import { purposes } from "../suite.ts";

/** A question that the suite has no answer to; the message says what it has. */
class UnknownPurposeError extends Error {
  override name = "UnknownPurposeError";
}

export function explainCommand(): Command {
  return new Command("explain").argument("<purpose>", "its id, e.g. TP/KSS/TV/BI-03").action((id: string) => {
    const found = purposes.find((each) => each.id === id);
    if (found === undefined) throw new UnknownPurposeError(`no test purpose ${id}; see x1410 conformance list`);
    process.stdout.write(`${explanation(found).join("\n")}\n`);
  });
}

function explanation(purpose: Purpose): string[] {
  const known = new Map([...STEPS, ...CAPABILITIES].map(({ id, what }) => [id, what]));
  const lines = (name: string, texts: readonly string[]) =>
    texts.map((text, index) => `${(index === 0 ? name : "").padEnd(16)}${text}`);
  const named = (ids: readonly string[]) => ids.map((id) => `${id}: ${known.get(id) ?? ""}`);
  return [
    `${purpose.id}: ${purpose.title}`,
    ...lines("clause", [purpose.clause]),
    ...lines("status", [statusOf(purpose)]),
    ...lines("steps", named(purpose.steps)),
    ...lines("capabilities", named(purpose.capabilities)),
    ...lines("PICS condition", conditionsOf(purpose)),
    ...lines("not claimed", purpose.forbids),
    ...lines("played by kit", purpose.tester),
    ...lines("initial state", [purpose.initialState]),
    ...lines("stimulus", [purpose.stimulus]),
    ...lines("expected", [expectationText(purpose.expected)]),
    ...lines("positive twin", purpose.twin === undefined ? [] : [purpose.twin]),
    ...lines("likely mistake", purpose.likelyMistake === undefined ? [] : [purpose.likelyMistake]),
    "",
    ...mermaid(purpose),
  ];
}

/** The sequence diagram, as Markdown viewers draw it. */
function mermaid({ diagram }: Purpose): string[] {
  const parties = [...new Set(diagram.flatMap(([from, to]): readonly string[] => (from === to ? [from] : [from, to])))];
  const alias = (party: string) => `p${parties.indexOf(party)}`;
  return [
    "sequenceDiagram",
    ...parties.map((party) => `  participant ${alias(party)} as ${party}`),
    ...diagram.map(([from, to, text]) => `  ${alias(from)}->>${alias(to)}: ${text.replaceAll(";", ",")}`),
  ];
}
