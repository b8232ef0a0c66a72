// `x1410 consumer …`: a data consumer on the command line.
import { existsSync } from "node:fs";
import { toJson, toJsonString } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Command } from "commander";
import { GetAccessRecordResponseSchema } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessPermission,
  type AccessRecord,
  AccessRecordSchema,
  type PublishedInformation,
  PublishedInformationSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { progressOn } from "../user/progress.ts";
import type { SignedPolicy } from "../user/signed-policy.ts";
import {
  id as accessId,
  asUser,
  contract,
  print,
  printJson,
  type UserOptions,
  untilStopped,
  user,
  userVerb,
} from "../user/user-command.ts";
import { DataConsumer } from "./consumer.ts";
import { UnwrappingError } from "./unwrapping.ts";

/** A command line that cannot be carried out; the message says what to give instead. */
export class ConsumerCommandError extends Error {
  override name = "ConsumerCommandError";
}

export function consumerCommand(): Command {
  const consumer = new Command("consumer").description("find shared data, subscribe to it, access it");
  addFinding(consumer);
  addAccess(consumer);
  addRecords(consumer);
  return consumer;
}

function addFinding(consumer: Command): void {
  userVerb(consumer, "search", "find published data; without text, all of it")
    .argument("[text]", "words that category, introduction, usage or keywords contain")
    .option("--category <name>", "exactly this category")
    .option("--provider <identity>", "of this provider, urn:x1410:user:NAME", user)
    .action((text: string | undefined, options: UserOptions & { category?: string; provider?: string }) =>
      asConsumer(options, async (own) => {
        let count = 0;
        const { category, provider } = options;
        const filter = {
          ...(text === undefined ? {} : { text }),
          ...(category === undefined ? {} : { category }),
          ...(provider === undefined ? {} : { providerIdentity: provider }),
        };
        for await (const published of own.search(filter)) {
          count++;
          printFound(published, await own.signed(published), options);
        }
        if (count === 0 && !options.json) print("Nothing published matches.");
      }),
    );
  userVerb(consumer, "show", "show what a contract shares and on which terms")
    .argument("<address>", "of the contract, x1410://dlt.NETWORK/contracts/ID", contract)
    .action((address: string, options: UserOptions) =>
      asConsumer(options, async (own) => {
        const { published, signed } = await own.lookUp(address);
        if (options.json) printJson(toJson(PublishedInformationSchema, published));
        else printPublished(published, signed);
      }),
    );
  userVerb(consumer, "subscribe", "print what is published as it comes, from where it last stopped")
    .option("--category <name>", "only this category")
    .action((options: UserOptions & { category?: string }) =>
      untilStopped((signal) =>
        asConsumer(options, async (own) => {
          const { category = "" } = options;
          for await (const published of own.subscribe({ category, signal }))
            printFound(published, await own.signed(published), options);
        }),
      ),
    );
}

interface AccessCommandOptions extends UserOptions {
  readonly out?: string;
  readonly present?: true;
  readonly purpose?: string;
}

function addAccess(consumer: Command): void {
  userVerb(consumer, "access", "access shared data as Figure 4 has it; spends one of the accesses granted")
    .argument("<address>", "of the contract, x1410://dlt.NETWORK/contracts/ID", contract)
    .option("--present", "show the plaintext on standard output")
    .option("--out <file>", "export the plaintext to a new file, where the permission allows it")
    .option("--purpose <text>", "what you want the data for; the management records it")
    .action((address: string, options: AccessCommandOptions) => accessData(address, options));
}

async function accessData(address: string, options: AccessCommandOptions): Promise<void> {
  const { out, present, purpose } = options;
  if ((out === undefined) === (present === undefined))
    throw new ConsumerCommandError("say what to do with the plaintext: --present shows it, --out FILE exports it");
  if (options.json && present)
    throw new ConsumerCommandError("--present needs standard output for the plaintext; drop --json");
  if (out !== undefined && existsSync(out)) throw new UnwrappingError("would_overwrite");
  await asConsumer(options, async (own) => {
    // Known before an access is spent on it.
    if (out !== undefined && (await own.lookUp(address)).signed.accessPermission?.readOnly)
      throw new UnwrappingError("read_only");
    const seen = progressOn(process.stderr);
    const session = await own.access(address, { seen, ...(purpose === undefined ? {} : { purpose }) });
    try {
      if (out === undefined) await session.present(toStandardOutput);
      else await session.export(out);
    } finally {
      await session.close();
    }
    if (options.json) printJson({ accessId: session.accessId, contractAddress: address, out });
    else
      process.stderr.write(
        `Access ${session.accessId} is over${out === undefined ? "" : `; the plaintext is in ${out}`}.\n`,
      );
    const unsent = await own.deliverReports();
    if (unsent > 0)
      process.stderr.write(
        `${unsent === 1 ? "1 usage report is" : `${unsent} usage reports are`} kept, to go out with the next access.\n`,
      );
  });
}

function toStandardOutput(plaintext: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(plaintext, (error) => (error ? reject(error) : resolve()));
  });
}

function addRecords(consumer: Command): void {
  userVerb(consumer, "records", "list own access records, oldest first")
    .option("--contract <address>", "only those of this contract", contract)
    .option("--archived", "archived records too")
    .action((options: UserOptions & { contract?: string; archived?: true }) =>
      asConsumer(options, async (own) => {
        const { contract: contractAddress, archived = false } = options;
        let count = 0;
        for await (const record of own.records({ archived, ...(contractAddress && { contractAddress }) })) {
          count++;
          if (options.json) printJson(toJson(AccessRecordSchema, record));
          else print(recordLine(record));
        }
        if (count === 0 && !options.json) print("No access records.");
      }),
    );
  userVerb(consumer, "record", "show an access record, with its proof on the ledger checked; annotate or archive it")
    .argument("<id>", "of the access, 32 hexadecimal digits, as `records` lists them", accessId)
    .option("--note <text>", "your own note")
    .option("--archive", "put the record aside")
    .option("--no-archive", "take it back")
    .option("--evidence", "print what proves it as JSON, for `x1410 ledger check`")
    .action((id: string, options: UserOptions & { note?: string; archive?: boolean; evidence?: true }) =>
      asConsumer(options, async (own) => {
        const { note, archive } = options;
        if (note !== undefined || archive !== undefined)
          await own.annotate(id, {
            ...(note === undefined ? {} : { note }),
            ...(archive === undefined ? {} : { archived: archive }),
          });
        const { record, blockHeight, evidence } = await own.record(id);
        if (options.evidence) print(toJsonString(GetAccessRecordResponseSchema, evidence, { prettySpaces: 2 }));
        else if (options.json) printJson(toJson(AccessRecordSchema, record));
        else {
          print(recordLine(record));
          print(`On the ledger in block ${blockHeight}; proof and openings hold.`);
          if (record.purpose !== "") print(`purpose: ${record.purpose}`);
          if (record.note !== "") print(`note: ${record.note}`);
        }
      }),
    );
}

function asConsumer(options: UserOptions, run: (consumer: DataConsumer) => Promise<void>): Promise<void> {
  return asUser(options, (self, state) => run(new DataConsumer({ user: self, state })));
}

function printFound(published: PublishedInformation, { accessPermission }: SignedPolicy, { json }: UserOptions): void {
  if (json) {
    printJson(toJson(PublishedInformationSchema, published));
    return;
  }
  const { information, contractAddress, withdrawn } = published;
  const { category = "", introduction = "" } = information?.attributes ?? {};
  const text = introduction.length > 60 ? `${introduction.slice(0, 59)}…` : introduction;
  const terms = accessPermission === undefined ? "no access permission" : termsText(accessPermission);
  print(
    `${contractAddress}  ${withdrawn ? "withdrawn  " : ""}${category}  ${information?.providerIdentity}  ${terms}  ${text}`.trimEnd(),
  );
}

function printPublished({ contractAddress, withdrawn, publishedAt }: PublishedInformation, signed: SignedPolicy): void {
  const { information, accessPermission, policy } = signed;
  const { attributes, allowed } = information;
  const price = attributes?.price;
  const rows: [string, string][] = [
    ["contract", `${contractAddress}${withdrawn ? " (withdrawn)" : ""}`],
    ["provider", `${information.providerIdentity} (its signature holds)`],
    ["published", timeText(publishedAt)],
    ["category", attributes?.category ?? ""],
    ["introduction", attributes?.introduction ?? ""],
    ["usage", attributes?.usage ?? ""],
    ["keywords", attributes?.keywords.join(", ") ?? ""],
    ["media type", attributes?.mediaType ?? ""],
    ["price", price === undefined ? "" : `${price.currency} ${Number(price.amountMicros) / 1e6}`],
    ["industries", allowed?.industries.join(", ") ?? ""],
    ["countries", allowed?.countries.join(", ") ?? ""],
    ["users", allowed?.users.join(", ") ?? ""],
    ["terms", policy.terms],
    [
      "accesses",
      accessPermission === undefined ? "no access permission (Annex A)" : String(accessPermission.accessTimes),
    ],
    ["expires", timeText(accessPermission?.expiration)],
    ["read only", accessPermission?.readOnly ? "yes" : ""],
  ];
  for (const [name, value] of rows) if (value !== "") print(`${name.padEnd(13)}${value}`);
}

function termsText({ accessTimes, expiration, readOnly }: AccessPermission): string {
  const accesses = accessTimes === 1 ? "1 access" : `${accessTimes} accesses`;
  return `${accesses}${readOnly ? ", read only" : ""}, until ${timeText(expiration)}`;
}

function recordLine({ accessId, accessedAt, accessNumber, contractAddress, archived }: AccessRecord): string {
  return `${accessId}  ${timeText(accessedAt)}  number ${accessNumber}  ${contractAddress}${archived ? "  archived" : ""}`;
}

function timeText(time: Timestamp | undefined): string {
  return time === undefined ? "" : timestampDate(time).toISOString();
}
