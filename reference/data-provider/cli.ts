// `x1410 provider …`: a data provider on the command line.
import { createReadStream } from "node:fs";
import { access, constants } from "node:fs/promises";
import { extname } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Command, InvalidArgumentError } from "commander";
import {
  ContractNotificationSchema,
  PolicyState,
  UsageKind,
  UsageRecordSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PolicyRecordSchema } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { noProgress, progressOn } from "../user/progress.ts";
import { asUser, print, printJson, type UserOptions, untilStopped, userVerb } from "../user/user-command.ts";
import { desensitizeCommand } from "./desensitization/cli.ts";
import { type Desensitized, desensitize } from "./desensitization/desensitize.ts";
import { pseudonymizationKeyFile } from "./desensitization/pseudonymization-key.ts";
import { readRules } from "./desensitization/rule-file.ts";
import { addOfferOptions, changeOf, type OfferOptions, offerOf } from "./offer-options.ts";
import { type OwnPolicy, Policies } from "./policies.ts";
import { DataProvider, type Publication } from "./provider.ts";
import { CHUNK_BYTES } from "./wrapping.ts";

/** A command line that cannot be carried out; the message says what to give instead. */
export class ProviderCommandError extends Error {
  override name = "ProviderCommandError";
}

export function providerCommand(): Command {
  const provider = new Command("provider").description("share data: wrap, publish, manage policies");
  addPublish(provider);
  provider.addCommand(desensitizeCommand());
  addManagement(provider);
  addWatch(provider);
  addResume(provider);
  return provider;
}

interface PublishOptions extends UserOptions, OfferOptions {
  readonly rules?: string;
  readonly format?: string;
  readonly pseudonymizationKey?: string;
}

function addPublish(provider: Command): void {
  const command = userVerb(provider, "publish", "share a file as Figure 3 has it; - reads standard input")
    .argument("<file>", "what to share; any size")
    .option("--rules <file>", "desensitize CSV or JSON Lines by these rules first")
    .option("--format <format>", "of the file: csv or jsonl (default: by its name)", formatOf)
    .option("--pseudonymization-key <file>", "keep the key of pseudonyms here, so that they stay the same");
  addOfferOptions(command, { publishing: true }).action((file: string, options: PublishOptions) =>
    publish(file, options),
  );
}

async function publish(file: string, options: PublishOptions): Promise<void> {
  const offer = offerOf(options, mediaTypeOf(file));
  const { output, report } = await collectData(file, options);
  await asUser(options, async (user, state) => {
    const provider = new DataProvider({ user, state });
    const seen = options.json ? noProgress : progressOn(process.stderr);
    const before = provider.unfinished().length;
    let publication: Publication;
    try {
      publication = await provider.publish(output, offer, seen);
    } catch (cause) {
      if (provider.unfinished().length > before)
        process.stderr.write("What is done is kept: `x1410 provider resume` goes on from there.\n");
      throw cause;
    }
    const desensitization = await report;
    if (options.json) return printJson({ ...summaryOf(publication), ...(desensitization && { desensitization }) });
    if (desensitization !== undefined) print(`Desensitized ${desensitization.records} records by ${options.rules}.`);
    printPublication(publication);
  });
}

/** P1, F3.1: collected, and desensitized where rules are given. */
async function collectData(
  file: string,
  options: PublishOptions,
): Promise<Partial<Desensitized> & Pick<Desensitized, "output">> {
  if (file !== "-")
    await access(file, constants.R_OK).catch((cause: NodeJS.ErrnoException) => {
      throw new ProviderCommandError(
        `cannot read ${file} (${cause.code}); name a file that exists, or - for standard input`,
      );
    });
  const data = file === "-" ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES });
  if (options.rules === undefined) return { output: data };
  const format = options.format ?? formatByName[extname(file).toLowerCase()];
  if (format === undefined)
    throw new ProviderCommandError(`--rules needs --format csv or --format jsonl: the name ${file} does not tell`);
  const { pseudonymizationKey: keyFile } = options;
  return desensitize(data, readRules(options.rules), {
    format: formatOf(format),
    ...(keyFile === undefined ? {} : { pseudonymizationKey: pseudonymizationKeyFile(keyFile) }),
  });
}

function addManagement(provider: Command): void {
  userVerb(provider, "policies", "list own policies").action((options: UserOptions) =>
    asPolicies(options, async (policies) => {
      let count = 0;
      for await (const policy of policies.list()) {
        count++;
        if (options.json) printJson(toJson(PolicyRecordSchema, policy.record));
        else print(policyLine(policy));
      }
      if (count === 0 && !options.json) print("No policies yet; `x1410 provider publish FILE` makes one.");
    }),
  );
  userVerb(provider, "policy", "show one policy")
    .argument("<id>", "32 hexadecimal digits, as `policies` lists them")
    .action((id: string, options: UserOptions) =>
      asPolicies(options, async (policies) => {
        const policy = await policies.get(id);
        if (options.json) printJson(toJson(PolicyRecordSchema, policy.record));
        else printPolicy(policy);
      }),
    );
  addOfferOptions(userVerb(provider, "update", "change a policy; what is not given stays as it is").argument("<id>"), {
    publishing: false,
  }).action((id: string, options: UserOptions & OfferOptions) =>
    asPolicies(options, async (policies) => {
      const record = await policies.update(id, changeOf(options));
      if (options.json) printJson(toJson(PolicyRecordSchema, record));
      else print(`Policy ${id} is now version ${record.version}, ${stateName(record.state)}.`);
    }),
  );
  userVerb(provider, "withdraw", "end a policy: no more accesses")
    .argument("<id>")
    .option("--reason <text>", "why, for your own records")
    .option("--delete", "delete key and package as well")
    .action((id: string, options: UserOptions & { reason?: string; delete?: true }) =>
      asPolicies(options, async (policies) => {
        const record = await policies.withdraw(id, options.reason);
        if (options.delete) await policies.deleteObjects(id);
        if (options.json) printJson(toJson(PolicyRecordSchema, record));
        else print(`Policy ${id} is withdrawn${options.delete ? "; its key and package are deleted" : ""}.`);
      }),
    );
}

function addWatch(provider: Command): void {
  userVerb(provider, "watch", "print notifications of own contracts as they come, from where it last stopped").action(
    (options: UserOptions) =>
      untilStopped((signal) =>
        asPolicies(options, async (policies) => {
          for await (const notification of policies.notifications(signal)) {
            if (options.json) printJson(toJson(ContractNotificationSchema, notification));
            else
              print(
                `${timeText(notification.notifiedAt)}  ${stateName(notification.state)}  ${notification.contractAddress}`,
              );
          }
        }),
      ),
  );
  userVerb(provider, "usage", "list how consumers have used the data behind a contract")
    .argument("<contract>", "x1410://dlt.NETWORK/contracts/ID")
    .action((contract: string, options: UserOptions) =>
      asUser(options, async (user, state) => {
        for await (const record of new DataProvider({ user, state }).usageOf(contract)) {
          if (options.json) printJson(toJson(UsageRecordSchema, record));
          else
            print(
              `${timeText(record.occurredAt)}  ${(UsageKindNames[record.kind] ?? "").padEnd(8)} ${record.consumerIdentity}  access ${record.accessId}  ${record.remark}`,
            );
        }
      }),
    );
}

function addResume(provider: Command): void {
  userVerb(provider, "resume", "finish publications that were broken off")
    .option("--discard", "give them up instead, and wipe what is kept of them")
    .action((options: UserOptions & { discard?: true }) =>
      asUser(options, async (user, state) => {
        const own = new DataProvider({ user, state });
        if (options.discard) return discardAll(own, options);
        const outcomes = await own.resume(options.json ? noProgress : progressOn(process.stderr));
        if (outcomes.length === 0 && !options.json) print("Nothing to resume.");
        for (const outcome of outcomes) {
          if (outcome.outcome === "published") {
            if (options.json) printJson({ outcome: "published", ...summaryOf(outcome.publication) });
            else printPublication(outcome.publication);
          } else if (options.json) printJson({ outcome: outcome.outcome, policyId: outcome.policyId });
          else if (outcome.outcome === "discarded")
            print(`${outcome.policyId} was broken off before all of it was encrypted; publish the file again.`);
        }
        const failed = outcomes.filter(({ outcome }) => outcome === "failed");
        const [first] = failed;
        if (first?.outcome === "failed") throw first.cause;
      }),
    );
}

function discardAll(provider: DataProvider, { json }: UserOptions): void {
  for (const policyId of provider.unfinished()) {
    const outcome = provider.discard(policyId) ? "discarded" : "in use by another process";
    if (json) printJson({ outcome, policyId });
    else print(`${policyId}  ${outcome}`);
  }
}

function asPolicies(options: UserOptions, run: (policies: Policies) => Promise<void>): Promise<void> {
  return asUser(options, (user, state) => run(new Policies({ user, state })));
}

function summaryOf({ policyId, contractAddress, keyId, packageId }: Publication) {
  return { policyId, contractAddress, keyId, packageId };
}

function printPublication({ policyId, contractAddress, packageId }: Publication): void {
  print(`Published as ${contractAddress}`);
  print(`  policy   ${policyId}`);
  print(`  package  ${packageId}`);
  print(`Consumers access it by: x1410 consumer access ${contractAddress} --present`);
}

function policyLine({ record, signed }: OwnPolicy): string {
  const { state, version, policyId, contractAddress } = record;
  const category = signed.information.attributes?.category ?? "";
  return `${policyId}  ${stateName(state).padEnd(16)} v${version}  ${category}  ${contractAddress}`;
}

function printPolicy({ record, signed }: OwnPolicy): void {
  const { information, accessPermission, policy } = signed;
  const rows: [string, string][] = [
    ["policy", `${record.policyId}, version ${record.version}`],
    ["state", stateName(record.state)],
    ["contract", record.contractAddress],
    ["submitted", timeText(record.submittedAt)],
    ["category", information.attributes?.category ?? ""],
    ["introduction", information.attributes?.introduction ?? ""],
    ["usage", information.attributes?.usage ?? ""],
    ["package", information.packageAddress],
    ["key", information.keyAddress],
    ["industries", information.allowed?.industries.join(", ") ?? ""],
    ["countries", information.allowed?.countries.join(", ") ?? ""],
    ["users", information.allowed?.users.join(", ") ?? ""],
    ["terms", policy.terms],
    ...(accessPermission === undefined
      ? ([["permission", "none (Annex A)"]] as [string, string][])
      : ([
          ["accesses", `${accessPermission.accessTimes} for each consumer`],
          ["expires", timeText(accessPermission.expiration)],
          ["read only", accessPermission.readOnly ? "yes" : "no"],
        ] as [string, string][])),
  ];
  for (const [name, value] of rows) if (value !== "") print(`${name.padEnd(13)}${value}`);
}

function stateName(state: PolicyState): string {
  return PolicyStateNames[state] ?? String(state);
}

const PolicyStateNames = namesOf(PolicyState);
const UsageKindNames = namesOf(UsageKind);

function namesOf(values: Readonly<Record<string, number>>): Readonly<Record<number, string>> {
  return Object.fromEntries(Object.entries(values).map(([name, number]) => [number, name]));
}

function timeText(time: Parameters<typeof timestampDate>[0] | undefined): string {
  return time === undefined ? "" : timestampDate(time).toISOString();
}

const formatByName: Readonly<Record<string, string>> = { ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl" };
const mediaTypes: Readonly<Record<string, string>> = {
  ".csv": "text/csv",
  ".jsonl": "application/jsonl",
  ".ndjson": "application/x-ndjson",
  ".json": "application/json",
  ".txt": "text/plain",
};

function mediaTypeOf(file: string): string {
  return mediaTypes[extname(file).toLowerCase()] ?? "application/octet-stream";
}

function formatOf(text: string): "csv" | "jsonl" {
  if (text !== "csv" && text !== "jsonl") throw new InvalidArgumentError("it is csv or jsonl.");
  return text;
}
