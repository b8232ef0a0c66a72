// `x1410 provider …`: a data provider on the command line.
import { extname } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  ContractNotificationSchema,
  PolicyState,
  UsageKind,
  UsageRecordSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PolicyRecordSchema } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { contractAddress, parseContractAddress } from "../communications/address.ts";
import { inAnnexA, noProgress, progressOn } from "../user/progress.ts";
import { asUser, print, printJson, type UserOptions, untilStopped, userVerb } from "../user/user-command.ts";
import { type CollectionOptions, prepareCollection } from "./collection.ts";
import { desensitizeCommand } from "./desensitization/cli.ts";
import { FORMATS } from "./desensitization/rules.ts";
import { addOfferOptions, changeOf, type OfferOptions, offerOf } from "./offer-options.ts";
import { type OwnPolicy, Policies } from "./policies.ts";
import { DataProvider, type Publication } from "./provider.ts";

export function providerCommand(): Command {
  const provider = new Command("provider").description("share data: wrap, publish, manage policies");
  addPublish(provider);
  provider.addCommand(desensitizeCommand());
  addManagement(provider);
  addWatch(provider);
  addResume(provider);
  return provider;
}

type PublishOptions = UserOptions & OfferOptions & CollectionOptions;

function addPublish(provider: Command): void {
  const command = userVerb(provider, "publish", "share a file as Figure 3 has it; - reads standard input")
    .argument("<file>", "what to share; any size")
    .option("--rules <file>", "desensitize CSV or JSON Lines by these rules first")
    .option("--raw", "share it as it is: nothing in it has to be desensitized")
    .addOption(new Option("--format <format>", "of the file (default: by its name)").choices(FORMATS))
    .option("--pseudonymization-key <file>", "keep the key of pseudonyms here, so that they stay the same");
  addOfferOptions(command, { publishing: true }).action((file: string, options: PublishOptions) =>
    publish(file, options),
  );
}

async function publish(file: string, options: PublishOptions): Promise<void> {
  const offer = offerOf(options, mediaTypeOf(file));
  const collect = await prepareCollection(file, options);
  await asUser(options, async (user, state) => {
    const provider = new DataProvider({ user, state });
    const seen = options.json ? noProgress : progressOn(process.stderr);
    const collected = await collect(state, offer.permission === undefined ? inAnnexA(seen) : seen);
    const before = provider.unfinished().length;
    let publication: Publication;
    try {
      publication = await provider.publish(collected.data, offer, seen);
    } catch (cause) {
      if (provider.unfinished().length > before)
        process.stderr.write("What is done is kept: `npx x1410 provider resume` goes on from there.\n");
      throw cause;
    } finally {
      await collected.close();
    }
    const desensitization = collected.report;
    if (options.json) return printJson({ ...summaryOf(publication), ...(desensitization && { desensitization }) });
    if (desensitization !== undefined) print(`Desensitized by ${options.rules}; records: ${desensitization.records}.`);
    printPublication(publication);
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
      if (count === 0 && !options.json)
        print("No policies yet; `npx x1410 provider publish FILE --rules RULES` makes one.");
    }),
  );
  userVerb(provider, "policy", "show one policy")
    .argument("<policy>", POLICY, policyIdOf)
    .action((id: string, options: UserOptions) =>
      asPolicies(options, async (policies) => {
        const policy = await policies.get(id);
        if (options.json) printJson(toJson(PolicyRecordSchema, policy.record));
        else printPolicy(policy);
      }),
    );
  addOfferOptions(
    userVerb(provider, "update", "change a policy; what is not given stays as it is").argument(
      "<policy>",
      POLICY,
      policyIdOf,
    ),
    {
      publishing: false,
    },
  ).action((id: string, options: UserOptions & OfferOptions) =>
    asPolicies(options, async (policies) => {
      const record = await policies.update(id, changeOf(options));
      if (options.json) printJson(toJson(PolicyRecordSchema, record));
      else print(`Policy ${id} is now version ${record.version}, ${stateName(record.state)}.`);
    }),
  );
  userVerb(provider, "withdraw", "end a policy: no more accesses")
    .argument("<policy>", POLICY, policyIdOf)
    .option("--reason <text>", "why, for your own records")
    .option("--delete", "delete key and package as well")
    .action((id: string, options: UserOptions & { reason?: string; delete?: true }) =>
      asPolicies(options, async (policies) => {
        const { record: present } = await policies.get(id);
        const already = present.state === PolicyState.WITHDRAWN;
        const record = already ? present : await policies.withdraw(id, options.reason);
        if (options.delete) await policies.deleteObjects(id);
        if (options.json) printJson(toJson(PolicyRecordSchema, record));
        else {
          const deleted = options.delete ? "; its key and package are deleted" : "";
          print(`Policy ${id} ${already ? "was withdrawn already" : "is withdrawn"}${deleted}.`);
        }
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
    .argument("<policy>", POLICY, policyIdOf)
    .action((policyId: string, options: UserOptions) =>
      asUser(options, async (user, state) => {
        const contract = contractAddress(user.network.networkId, policyId);
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
  print(`Consumers access it by: npx x1410 consumer access ${contractAddress} --present`);
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

const POLICY = "id of the policy, 32 hexadecimal digits, or address of its contract";

/** A contract has the id of its policy (DSPM2). */
function policyIdOf(text: string): string {
  if (/^[0-9a-f]{32}$/.test(text)) return text;
  try {
    return parseContractAddress(text).contractId;
  } catch {
    throw new InvalidArgumentError(
      "give the id of a policy, 32 hexadecimal digits as `policies` lists them, or x1410://dlt.NETWORK/contracts/ID.",
    );
  }
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
