// `x1410 conformance run`: performs test purposes against an implementation and says what may be said of it. What does so is loaded only
// when the command line is right.
import { Command, InvalidArgumentError, Option } from "commander";
import type { ClientStack } from "../channels.ts";
import { clientRole, clientRoleNames } from "../clients/client-role.ts";
import { type ClientRole, type EntityRole, entityRoles } from "../target.ts";
import { filterNames, wholeNumber, withFilters } from "./filters.ts";
import { defaultMib, procedureIds, type RunOptions } from "./run-options.ts";

const stacks: readonly ClientStack[] = ["grpc", "connect"];

export function runCommand(): Command {
  const command = new Command("run")
    .option("--target <file>", "the implementation; without it the reference, with the kit's own peers around it")
    .option("--for <role>", "test a user's side instead: dp, data provider, or dc, data consumer", userRole)
    .addOption(
      new Option("--reference <roles>", "which entities of the reference, e.g. kss,dss")
        .argParser(roles)
        .default([...entityRoles])
        .conflicts(["target", "for"]),
    )
    .option(
      "--command <line>",
      "starts the implementation; with --for, the client's main command, e.g. 'get {contract} {output}'",
    )
    .addOption(new Option("--client <stack>", "the kit's client stack").choices(stacks).default("grpc"))
    .option("--pics <file...>", "statements of the supplier; default: all that is mandatory", [])
    .addOption(
      new Option("--procedures", "only Figure 3, Figure 4, Annex A.1 and A.2, step by step").conflicts(filterNames),
    )
    .addOption(new Option("--procedure <id...>", "only these of them").choices(procedureIds).conflicts(filterNames));
  return withFilters(command)
    .option("--expected-failures <file>", "ids that must fail; one that passes fails the run")
    .option("--parallel <n>", "purposes at the same time", wholeNumber(1), 4)
    .option("--budget <seconds>", "for the whole campaign", wholeNumber(1), 1_800)
    .option("--seed <text>", "makes data and mutations", "1410")
    .option("--mib <n>", "size of the subscriber records in MiB", wholeNumber(1), defaultMib)
    .option("--json <file>", "write the report as JSON as well")
    .option("--junit <file>", "and as JUnit XML")
    .option("--html <file>", "and as one HTML page")
    .addHelpText(
      "after",
      "\nExit codes: 0 conformant, or with a filter all that was selected passed, or nothing failed but what was expected to; 1 not conformant; 2 inconclusive, or passed and not complete;" +
        "\n3 a fault of the kit or its configuration, or nothing selected; 4 an expected failure passed.",
    )
    .action(async (options: RunOptions) => (await import("./perform.ts")).perform(options));
}

function userRole(text: string): ClientRole {
  const role = clientRole(text);
  if (role === undefined) throw new InvalidArgumentError(`one of ${clientRoleNames.join(", ")}.`);
  return role;
}

function roles(text: string): EntityRole[] {
  const named = text.split(",");
  const known = entityRoles.filter((role) => named.includes(role));
  if (known.length !== named.length) throw new InvalidArgumentError(`some of ${entityRoles.join(",")}.`);
  return known;
}
