// `x1410 operator ledger-nodes | change-proposer`: how the nodes of the ledger are, and which of them proposes blocks.
import { type Command, InvalidArgumentError } from "commander";
import { formatIdentity, parseIdentity } from "../../certs/identity.ts";
import { print, printJson } from "../user/user-command.ts";
import type { Operator } from "./operator.ts";
import type { NodeState } from "./proposer-change.ts";

interface LedgerOptions {
  readonly profile: string;
  readonly json?: true;
}

type Verb = (name: string, description: string) => Command;
type AsOperator = (options: LedgerOptions, run: (operator: Operator) => Promise<void>) => Promise<void>;

export function addLedgerCommands(verb: Verb, asOperator: AsOperator): void {
  verb("ledger-nodes", "show how far the nodes of the ledger are, and which one proposes").action(
    (options: LedgerOptions) =>
      asOperator(options, async (own) => show(await (await own.proposerChange()).states(), options)),
  );
  verb("change-proposer", "let another node of the ledger, or the same one under a new key, propose the next blocks")
    .argument("<node>", "name in urn:x1410:entity:ledger:NAME, as ledger-nodes lists them", nodeIdentity)
    .option("--take-over", "although the present proposer does not say so: it is gone, revoked, or has another key")
    .action((identity: string, options: LedgerOptions & { takeOver?: true }) =>
      asOperator(options, async (own) => {
        const change = await own.proposerChange();
        const { blockHeight } = await (options.takeOver ? change.takeOver(identity) : change.handOver(identity));
        if (options.json) printJson({ proposer: identity, changedInBlock: Number(blockHeight) });
        else print(`${identity} proposes from block ${blockHeight + 1n} on.`);
      }),
    );
}

function show(states: readonly NodeState[], { json }: LedgerOptions): void {
  for (const { identity, height, hash, accepting, proposer } of states) {
    const head = Buffer.from(hash).toString("hex");
    if (json) printJson({ identity, height: Number(height), head, accepting, proposer });
    else
      print(
        [identity, `block ${height}`, head, accepting ? "" : "STOPPED", proposer ? "proposes" : ""]
          .filter(Boolean)
          .join("  "),
      );
  }
}

function nodeIdentity(name: string): string {
  try {
    return parseIdentity(name)?.role === "ledger" ? name : formatIdentity("ledger", name);
  } catch {
    throw new InvalidArgumentError("a name is 1 to 63 of a-z, 0-9, dot and hyphen, and begins with a letter or digit.");
  }
}
