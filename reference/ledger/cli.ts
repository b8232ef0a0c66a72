// `x1410 ledger`: what an auditor does offline, on the data of a stopped node or on an export, with nothing but the trust anchors.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, fromJsonString, toJson, toJsonString } from "@bufbuild/protobuf";
import { Command, InvalidArgumentError, Option } from "commander";
import { PUBLIC_FILE, writeDurably } from "../../certs/durable-file.ts";
import {
  type Block,
  BlockHeaderSchema,
  Finality,
  NetworkParametersSchema,
  type Transaction,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { GetTransactionResponseSchema } from "../../gen/x1410/v1/ledger_service_pb.ts";
import type { Trust } from "../envelope/verify.ts";
import { type AuditSource, AuditSourceError, TemporaryState } from "./audit-source.ts";
import { explained, type TrustOptions, trustOf } from "./audit-trust.ts";
import { blockHash, type ChainHead, decodeEnvelope, decodeHeader, transactionIdOf } from "./block.ts";
import { openExport, writeExport } from "./block-export.ts";
import { committedOf } from "./committed.ts";
import { checkHanded, type HandedEvidence, HandedFault, type HandedVerdict, parseEvidence } from "./handed-evidence.ts";
import { sha256 } from "./merkle.ts";
import { openNodeDatabase } from "./stored-node.ts";
import { type LedgerTrust, TrustAtTime } from "./trust-at-time.ts";
import { type ChainVerdict, type CommittedVerdict, verifyChain, verifyCommitted } from "./verify.ts";

interface SourceOptions {
  readonly data: string;
  readonly node?: string;
  readonly from?: string;
}

type AuditOptions = SourceOptions & TrustOptions;

interface VerifyOptions extends AuditOptions {
  readonly network?: string;
  readonly proposer?: string;
  readonly remember?: string;
}

/** For lines on standard output; what is worth telling beside them goes to standard error, so that JSON stays JSON. */
type Print = ((line: string) => void) & { readonly notice: (line: string) => void };

export function ledgerCommand(): Command {
  const ledger = new Command("ledger").description(
    "audit the ledger offline: on a stopped node's data, or on an export",
  );
  trusting(sourced(ledger.command("verify")))
    .description("verify every block and say where the first fault is")
    .option("--network <id>", "the network that it must be")
    .option("--proposer <identity>", "the node that must have proposed the first block")
    .option("--remember <file>", "compare with the head remembered there, then remember the new one")
    .action(action(verify));
  sourced(ledger.command("head")).description("show the newest block").action(action(head));
  sourced(ledger.command("blocks"))
    .description("list blocks")
    .option("--first <height>", "from this one", height, 1n)
    .option("--last <height>", "to this one", height)
    .option("--transactions", "with id, kind and signer of each transaction in them")
    .addOption(new Option("--json", "one header as JSON on each line").conflicts("transactions"))
    .action(action(blocks));
  trusting(sourced(ledger.command("prove")))
    .description("print the evidence for a transaction as JSON, after checking it")
    .argument("<id>", "the transaction, 64 hexadecimal digits", transactionId)
    .action(action(prove));
  trusting(sourced(ledger.command("check")))
    .description("check evidence, and that openings which come with it open what is on the ledger")
    .argument("<file>", "JSON of `ledger prove`, `consumer record --evidence` or `provider policy --json`")
    .option("--network <id>", "the network that it must be of")
    .action(action(check));
  sourced(ledger.command("export"))
    .description("copy the chain into a file that `verify --from` reads")
    .argument("<file>", "a new file")
    .action(action(exportChain));
  return ledger;
}

async function verify(print: Print, options: VerifyOptions): Promise<void> {
  const remembered = options.remember === undefined ? undefined : readRemembered(options.remember);
  await withSource(print, options, async (source) => {
    const state = await TemporaryState.create();
    try {
      const trust = trustOf(options, print.notice);
      const verdict = await verifyChain(withReceipts(source, trust), {
        trust,
        state,
        ...(options.network === undefined ? {} : { networkId: options.network }),
        ...(options.proposer === undefined ? {} : { firstProposer: options.proposer }),
        ...(remembered === undefined ? {} : { remembered }),
      });
      if (!verdict.intact) throw faultOf(verdict);
      if (verdict.head.height === 0n) throw new AuditSourceError("there is no block in it: nothing was verified");
      const altered = await source.storedFault(state, verdict.head);
      if (altered !== undefined) throw new AuditSourceError(storedAltered(altered));
      if (options.remember !== undefined) remember(options.remember, verdict.head);
      print(`intact: ${verdict.head.height} blocks, ${verdict.transactions} transactions`);
      print(`head    ${verdict.head.height} ${hex(verdict.head.hash)}`);
    } finally {
      await state.remove();
    }
  });
}

/** The blocks; each one's receipts are checked once it is known to be good. */
async function* withReceipts(source: AuditSource, trust: LedgerTrust): AsyncIterable<Block> {
  const atTime = new TrustAtTime(trust);
  for await (const block of source.blocks()) {
    yield block;
    const altered = await source.receiptFault(block, atTime);
    if (altered !== undefined) throw new AuditSourceError(storedAltered(altered));
  }
}

function storedAltered(what: string): string {
  return `altered: the blocks are intact, but not what the node stores beside them: ${what}`;
}

async function head(print: Print, options: SourceOptions): Promise<void> {
  await withSource(print, options, async (source) => {
    const newest = (await source.newest())?.header?.payload;
    if (newest === undefined) throw new AuditSourceError("the ledger has no block yet");
    const { height, timeUnixMs, transactionCount, networkId, proposer } = decodeHeader(newest);
    print(`height        ${height}`);
    print(`hash          ${hex(blockHash(newest))}`);
    print(`time          ${new Date(Number(timeUnixMs)).toISOString()}`);
    print(`transactions  ${transactionCount}`);
    print(`network       ${networkId}`);
    print(`proposer      ${proposer}`);
  });
}

async function blocks(
  print: Print,
  options: SourceOptions & { first: bigint; last?: bigint; transactions?: true; json?: true },
): Promise<void> {
  await withSource(print, options, async (source) => {
    for await (const block of source.blocks(options.first)) {
      const bytes = block.header?.payload ?? new Uint8Array();
      const header = decodeHeader(bytes);
      if (options.last !== undefined && header.height > options.last) return;
      const time = new Date(Number(header.timeUnixMs)).toISOString();
      if (options.json) print(JSON.stringify(toJson(BlockHeaderSchema, header)));
      else print(`${header.height} ${time} ${header.transactionCount} ${hex(blockHash(bytes))}`);
      if (options.transactions) for (const transaction of block.transactions) print(transactionLine(transaction));
    }
  });
}

function transactionLine(bytes: Uint8Array): string {
  const { payload } = decodeEnvelope(bytes);
  const { action, signer } = fromBinary(TransactionSchema, payload);
  return `  ${transactionIdOf(payload)} ${action.case} ${signer}`;
}

async function prove(print: Print, wanted: string, options: AuditOptions): Promise<void> {
  await withSource(print, options, async (source) => {
    for await (const block of source.blocks()) {
      const ids = block.transactions.map((bytes) => transactionIdOf(decodeEnvelope(bytes).payload));
      const index = ids.indexOf(wanted);
      if (index < 0) continue;
      const committed = committedOf(block, Finality.INCLUDED, [])(index);
      if (committed === undefined) break;
      const verdict = verifyCommitted(committed, trustOf(options, print.notice));
      if (!verdict.valid) throw evidenceFault(verdict);
      const { receipt, proof } = committed;
      const evidence = create(GetTransactionResponseSchema, { receipt, proof });
      print(toJsonString(GetTransactionResponseSchema, evidence, { prettySpaces: 2 }));
      return;
    }
    throw new AuditSourceError(`no transaction ${wanted}`);
  });
}

async function check(print: Print, file: string, options: AuditOptions & { network?: string }): Promise<void> {
  let evidence: HandedEvidence;
  try {
    evidence = parseEvidence(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new AuditSourceError(`${file} is no evidence: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const trust = trustOf(options, print.notice);
  const verdict = verifyCommitted(evidence, trust, options.network);
  if (!verdict.valid) throw evidenceFault(verdict);
  const { header, transaction, nodes } = verdict;
  // What a provider has signed is in no block itself: no node had to take it, so its revocation needs no grace.
  const inBlock = new TrustAtTime(trust, { revocationGraceMs: 0 }).at(header.timeUnixMs);
  const { opened, sealed, elsewhere, unproven } = checkedHanded(evidence, transaction, inBlock);
  print(`holds: ${transaction.action.case} by ${transaction.signer}`);
  print(`block   ${header.height} of ${header.networkId}, ${new Date(Number(header.timeUnixMs)).toISOString()}`);
  const quorum = quorumOf(options.data, header.networkId);
  print(`nodes   ${nodes.length}${quorum === undefined ? "" : ` of a quorum of ${quorum}`}: ${nodes.join(" ")}`);
  if (evidence.record !== undefined) print("record  is the one that the ledger commits to");
  for (const { name, value } of opened) print(`opens   ${name}: ${value.length} bytes, SHA-256 ${hex(sha256(value))}`);
  if (sealed.length > 0) print(`sealed  ${sealed.join(" ")}`);
  if (elsewhere.length > 0)
    print(`not checked: the opening of ${elsewhere.join(", ")}, which an earlier transaction of the policy commits to`);
  if (unproven.length > 0) print(`not on the ledger in this transaction: ${unproven.join(", ")}`);
  if (evidence.others.length > 0) print(`not looked at: ${evidence.others.join(", ")}`);
}

function checkedHanded(evidence: HandedEvidence, transaction: Transaction, inBlock: Trust): HandedVerdict {
  try {
    return checkHanded(evidence, transaction, inBlock);
  } catch (cause) {
    if (cause instanceof HandedFault) throw new AuditSourceError(`the evidence does not hold: ${cause.message}`);
    throw cause;
  }
}

/** How many nodes make a block of this network final, where the data directory has its registry. */
function quorumOf(data: string, networkId: string): number | undefined {
  const file = join(data, "network.json");
  if (!existsSync(file)) return undefined;
  try {
    const parameters = fromJsonString(NetworkParametersSchema, readFileSync(file, "utf8"));
    return parameters.networkId === networkId ? parameters.quorum : undefined;
  } catch {
    return undefined;
  }
}

async function exportChain(print: Print, file: string, options: SourceOptions): Promise<void> {
  if (existsSync(file)) throw new AuditSourceError(`${file} exists already`);
  await withSource(print, options, async (source) => {
    if ((await source.newest()) === undefined) throw new AuditSourceError("the ledger has no block yet");
    print(`${await writeExport(file, source.blocks())} blocks in ${file}`);
  });
}

async function withSource(
  print: Print,
  options: SourceOptions,
  use: (source: AuditSource) => Promise<void>,
): Promise<void> {
  const source = options.from === undefined ? await openNodeDatabase(databaseOf(options)) : openExport(options.from);
  for (const notice of source.notices) print.notice(notice);
  try {
    await use(source);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new AuditSourceError(cause.message);
    throw cause;
  } finally {
    await source.close();
  }
}

/** The node's database in a deployment's data directory; where the deployment has several nodes, one is named or the first taken. */
function databaseOf({ data, node }: SourceOptions): string {
  if (node !== undefined) return join(data, node, "db");
  const nodes = existsSync(data) ? readdirSync(data).filter((name) => /^ledger-[0-9]+$/.test(name)) : [];
  const [first] = nodes.sort((left, right) => Number(left.slice(7)) - Number(right.slice(7)));
  if (first === undefined)
    throw new AuditSourceError(`${data} is no data directory with a ledger; name one with --data`);
  return join(data, first, "db");
}

function readRemembered(file: string): { height: bigint; hash: Uint8Array } | undefined {
  if (!existsSync(file)) return undefined;
  const [, digits, hash] = /^([0-9]{1,19}) ([0-9a-f]{64})\n$/.exec(readFileSync(file, "utf8")) ?? [];
  if (digits === undefined || hash === undefined) throw new AuditSourceError(`${file} remembers no head`);
  return { height: BigInt(digits), hash: Buffer.from(hash, "hex") };
}

function remember(file: string, { height: at, hash }: ChainHead): void {
  writeDurably(file, `${at} ${hex(hash)}\n`, PUBLIC_FILE);
}

function faultOf({ detail, head: last }: Extract<ChainVerdict, { intact: false }>): Error {
  const upTo = `everything up to block ${last.height} ${hex(last.hash)} holds`;
  const explanation = explained(detail);
  // Anchors that led to every signer so far are the right ones.
  if (explanation !== undefined && (last.height === 0n || explanation.startsWith("signer revoked")))
    return new AuditSourceError(last.height === 0n ? explanation : `${explanation}; ${upTo}`);
  return new AuditSourceError(`altered: ${detail}; ${upTo}`);
}

function evidenceFault({ fault, detail }: Extract<CommittedVerdict, { valid: false }>): AuditSourceError {
  const what = `${fault}: ${detail}`;
  return new AuditSourceError(explained(what) ?? `the evidence does not hold: ${what}`);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function sourced(command: Command): Command {
  return command
    .option("--data <dir>", "data directory of the deployment", "x1410-data")
    .option("--node <name>", "folder of the ledger node in it (default: the first, ledger-1)")
    .addOption(new Option("--from <file>", "an export instead of a node's data").conflicts("node"));
}

function trusting(command: Command): Command {
  return command
    .option("--anchors <file>", "trust anchors and intermediates, PEM (default: those of the data directory)")
    .option("--crls <file>", "revocation lists, PEM (default: those of the data directory; none with --anchors)");
}

function height(text: string): bigint {
  if (!/^[1-9][0-9]{0,18}$/.test(text)) throw new InvalidArgumentError("a height is a whole number from 1");
  return BigInt(text);
}

function transactionId(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new InvalidArgumentError("a transaction id has 64 hexadecimal digits");
  return text;
}

/** Runs an action with the command's own output. */
function action<A extends unknown[]>(run: (print: Print, ...received: A) => Promise<void>) {
  return async function (this: Command, ...received: unknown[]): Promise<void> {
    const { writeOut = (text) => process.stdout.write(text), writeErr = (text) => process.stderr.write(text) } =
      this.configureOutput();
    const print = Object.assign((line: string) => void writeOut(`${line}\n`), {
      notice: (line: string) => void writeErr(`note: ${line}\n`),
    });
    // commander appends the command itself after arguments and options.
    await run(print, ...(received.slice(0, -1) as A));
  };
}
