// `x1410 conformance list`: the suite, or what filters leave of it.
import { Command } from "commander";
import { gaps, reasoned } from "../coverage.ts";
import { drift, frozen } from "../frozen-suite.ts";
import { expectationText } from "../refusal.ts";
import { select, statusOf } from "../selection.ts";
import { purposes, suiteHash, suiteVersion } from "../suite.ts";
import { entityRoles } from "../target.ts";
import { type FilterOptions, filtersOf, withFilters } from "./filters.ts";

interface ListOptions extends FilterOptions {
  readonly json?: true;
  readonly gaps?: true;
  readonly reasons?: true;
  readonly frozen?: string | true;
}

/** A version that was never frozen; the message says which were. */
class UnknownVersionError extends Error {
  override name = "UnknownVersionError";
}

export function listCommand(): Command {
  return withFilters(new Command("list"))
    .option("--json", "as JSON")
    .option(
      "--gaps",
      "what of the catalogue and the methods no purpose shows, and nobody has given a reason for; exit code 1 where there is any",
    )
    .option("--reasons", "what of the catalogue and the methods no purpose shows, with the reason")
    .option("--frozen [version]", "a frozen list with the digest of what each purpose asks, by default of this version")
    .action(list);
}

function list(options: ListOptions): void {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  if (options.gaps === true) {
    const found = gaps(purposes);
    for (const { item, kind, what } of found) print(`${kind.padEnd(10)} ${item.padEnd(40)} ${what}`);
    if (found.length > 0) process.exitCode = 1;
    return;
  }
  if (options.reasons === true) {
    for (const { item, kind, what, reason } of reasoned(purposes))
      print(`${kind.padEnd(10)} ${item.padEnd(40)} ${what}: ${reason}`);
    return;
  }
  if (options.frozen !== undefined) {
    listFrozen(options.frozen === true ? suiteVersion : options.frozen, print);
    return;
  }
  const everything = { underTest: new Set(entityRoles), harness: true, pics: new Map() };
  const { filtered } = select(purposes, everything, filtersOf(options));
  const listed = purposes.filter(({ id }) => !filtered.includes(id));
  if (options.json === true) {
    const rows = listed.map((each) => {
      const { run: _, ...data } = each;
      return { ...data, status: statusOf(each), expected: expectationText(each.expected) };
    });
    print(JSON.stringify(rows, undefined, 2));
    return;
  }
  for (const each of listed) print(`${each.id.padEnd(22)} ${statusOf(each)}  ${each.clause.padEnd(10)} ${each.title}`);
  print(`${listed.length} of ${purposes.length}; suite ${suiteVersion}, ${suiteHash()}`);
}

function listFrozen(wanted: string, print: (line: string) => void): void {
  const { recommendation, profile, versions } = frozen;
  const list = versions.find(({ version }) => version === wanted);
  if (list === undefined) {
    const known = versions.map(({ version }) => version).join(", ");
    throw new UnknownVersionError(`suite ${wanted} was never frozen; there is ${known === "" ? "none" : known}`);
  }
  for (const [id, digest] of Object.entries(list.purposes)) print(`${id.padEnd(22)} ${digest}`);
  print(
    `${Object.keys(list.purposes).length} purposes; ${recommendation}, ${profile}, suite ${wanted}, ${list.sha256}`,
  );
  const { vanished, changed, added } = drift(list, purposes);
  for (const [what, ids] of Object.entries({ vanished, changed, added }))
    if (ids.length > 0) print(`${what} since: ${ids.join(", ")}`);
}
