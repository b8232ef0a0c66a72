// An audit's way into the database of a node that is stopped. LevelDB leaves out what it cannot read of its log, without a word: so the files are
// checked first, and what is damaged is not opened at all.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { Level } from "level";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import type { Block } from "../../gen/x1410/v1/ledger_pb.ts";
import { checkClosed } from "../store/closing-statement.ts";
import { checkDatabase, DatabaseDamage } from "../store/leveldb-check.ts";
import { type AuditSource, AuditSourceError } from "./audit-source.ts";
import { decodeBlock, decodeHeader } from "./block.ts";
import { heightKey } from "./block-archive.ts";
import { verifyReceipt } from "./block-receipt.ts";
import { whyOf } from "./block-verification.ts";
import { ledgerDatabase, storedHead, storedParts } from "./chain-store.ts";
import { DatabaseInUse, DatabaseView } from "./database-view.ts";
import type { TrustAtTime } from "./trust-at-time.ts";
import type { AuditState } from "./verify.ts";

/** Opens the database folder of a node that is not running. Nothing in it, nor beside it, changes. */
export async function openNodeDatabase(folder: string): Promise<AuditSource> {
  const database = resolve(folder);
  if (!existsSync(database)) throw new AuditSourceError(`${folder} holds no ledger`);
  const view = await viewOf(database);
  try {
    const cutShort = await checkDatabase(database, { closed: await checkClosed(dirname(database)) });
    if (!existsSync(join(database, "CURRENT"))) throw new AuditSourceError(`${folder} holds no ledger`);
    await view.fill(database);
    const notices = cutShort.map(
      (place) => `${place}: a crash has cut the last write short; it was never acknowledged, and is left out`,
    );
    return await openStored(view, folder, notices);
  } catch (cause) {
    await view.remove();
    if (cause instanceof AuditSourceError) throw cause;
    if (cause instanceof DatabaseDamage)
      throw new AuditSourceError(`damaged: ${folder}: ${cause.message}; nothing was audited`);
    throw new AuditSourceError(`${folder} does not open: ${causeOf(cause)}`);
  }
}

async function viewOf(folder: string): Promise<DatabaseView> {
  try {
    return await DatabaseView.of(folder);
  } catch (cause) {
    if (cause instanceof DatabaseInUse)
      throw new AuditSourceError(`${folder} is in use; stop the node, or audit an export`);
    throw new AuditSourceError(`${folder} cannot be locked: ${causeOf(cause)}`);
  }
}

/** `level` puts the telling message behind a general one. */
function causeOf(error: unknown): string {
  const why = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return why instanceof Error ? why.message : String(why);
}

async function openStored(view: DatabaseView, folder: string, notices: readonly string[]): Promise<AuditSource> {
  const db = new Level<string, string>(view.path, { createIfMissing: false, ...ledgerDatabase });
  await db.open();
  const { blocks, state, meta, receipts } = storedParts(db);
  try {
    await blocks.open("r");
  } catch (cause) {
    await db.close();
    throw new AuditSourceError(`${folder}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  let receiptsSeen = 0;
  return {
    notices,
    async *blocks(from = 1n) {
      for await (const bytes of blocks.from(from)) yield decodeBlock(bytes);
    },
    async newest() {
      const bytes = await blocks.get(await blocks.lastHeight());
      return bytes === undefined ? undefined : decodeBlock(bytes);
    },
    async receiptFault(block, trust) {
      const { height } = decodeHeader(block.header?.payload ?? new Uint8Array());
      const range = { gte: `${heightKey(height)}!`, lt: `${heightKey(height)}"` };
      for await (const [key, value] of receipts.iterator(range)) {
        receiptsSeen += 1;
        const node = key.slice(key.indexOf("!") + 1);
        const why = whyNoReceipt(value, node, block, trust);
        if (why !== undefined) return `the receipt of ${node} for block ${height}: ${why}`;
      }
      return undefined;
    },
    async storedFault(audited, head) {
      const record = await storedHead(meta).catch(() => undefined);
      if (record?.height !== String(head.height) || record.hash !== Buffer.from(head.hash).toString("hex"))
        return "the head is another";
      const differing = await differingKey(state, audited);
      if (differing !== undefined) return differing;
      let kept = 0;
      for await (const _ of receipts.keys()) kept += 1;
      return kept === receiptsSeen ? undefined : `${kept - receiptsSeen} receipts are for no block`;
    },
    async close() {
      await blocks.close();
      await db.close();
      await view.remove();
    },
  };
}

async function differingKey(
  state: ReturnType<typeof storedParts>["state"],
  audited: AuditState & { readonly size: number },
): Promise<string | undefined> {
  let entries = 0;
  for await (const [key, value] of state.iterator()) {
    const expected = audited.get(key);
    if (expected === undefined || Buffer.compare(expected, value) !== 0) return `the state at ${key}`;
    entries += 1;
  }
  return entries === audited.size ? undefined : `${audited.size - entries} entries of the state are missing`;
}

function whyNoReceipt(bytes: Uint8Array, node: string, block: Block, trust: TrustAtTime): string | undefined {
  try {
    const header = block.header?.payload ?? new Uint8Array();
    const signer = verifyReceipt(fromBinary(SignedEnvelopeSchema, bytes), header, trust);
    return signer === node ? undefined : `is that of ${signer}`;
  } catch (cause) {
    return whyOf(cause);
  }
}
