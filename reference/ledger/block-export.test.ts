// What an auditor elsewhere is promised of an export: no byte of it is altered unnoticed, and each fault has its place.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clone, create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { type Block, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { campaign } from "../../tools/seeded-share.ts";
import { beforeFirstBlock, type ChainHead, encodeBlock, formBlock } from "./block.ts";
import { openExport, writeExport } from "./block-export.ts";
import { hexId, ledgerIdentities, networkId } from "./ledger.fixture.ts";
import { signTransaction } from "./transaction.ts";
import type { LedgerTrust } from "./trust-at-time.ts";
import { type ChainVerdict, verifyChain } from "./verify.ts";

const identities = ledgerIdentities();
const folder = mkdtempSync(join(tmpdir(), "x1410-export-"));
const file = join(folder, "chain.blocks");
const altered = join(folder, "altered.blocks");
const [one, two] = chain(2) as [Block, Block];
let whole: Buffer;
beforeAll(async () => {
  async function* blocks() {
    yield* [one, two];
  }
  expect(await writeExport(file, blocks())).toBe(2);
  whole = readFileSync(file);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  identities.remove();
});

function chain(length: number): Block[] {
  const blocks: Block[] = [];
  let previous: ChainHead = beforeFirstBlock;
  for (let height = 1; height <= length; height++) {
    const action = { case: "createContract", value: { contractId: hexId() } } as const;
    const { envelope } = signTransaction(identities.signer("dssm", "m"), networkId, action, new Date());
    const proposer = identities.signer("ledger", "n1");
    const timeUnixMs = BigInt(Date.now());
    const { block, head } = formBlock({ networkId, previous, transactions: [envelope], timeUnixMs, proposer });
    blocks.push(block);
    previous = head;
  }
  return blocks;
}

function verify(bytes: Uint8Array, trust: LedgerTrust = identities.trust): Promise<ChainVerdict> {
  writeFileSync(altered, bytes);
  return verifyChain(openExport(altered).blocks(), { trust });
}

const frame = (bytes: Uint8Array): Uint8Array => new BinaryWriter().bytes(bytes).finish();

test("an export as it was written is intact", async () => {
  expect(await verify(whole)).toMatchObject({ intact: true, transactions: 2n });
});

test("of an export that fails nothing is left, and nothing is written over one that is there", async () => {
  const broken = join(folder, "broken.blocks");
  async function* blocks() {
    yield one;
    throw new SyntaxError("block 2 cannot be read");
  }
  await expect(writeExport(broken, blocks())).rejects.toThrow("block 2 cannot be read");
  expect(existsSync(broken)).toBe(false);
  await expect(writeExport(file, blocks())).rejects.toThrow("EEXIST");
  expect(readFileSync(file)).toEqual(whole);
});

/** Where the bytes of values lie that a signature or a hash covers as a whole: elsewhere, every byte is on its own. */
function covered({ header, transactions }: Block): Set<number> {
  const places = new Set<number>();
  const certificates = header?.signatures[0]?.certificate?.certificates ?? [];
  for (const value of [header?.payload, ...certificates, ...transactions]) {
    const from = whole.indexOf(value ?? new Uint8Array());
    for (let at = from; at < from + (value?.length ?? 0); at++) places.add(at);
  }
  return places;
}

test("every byte of an export, altered, is found and located", async () => {
  const masks = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff];
  const firstEnds = frame(encodeBlock(one)).length;
  const asWhole = covered(one);
  const missed: string[] = [];
  let tried = 0;
  for (const [at, byte] of whole.entries()) {
    // The campaign tries everything; otherwise a sample of what needs no trying byte by byte, and one block.
    const few = at >= firstEnds || asWhole.has(at);
    for (const mask of campaign || !few ? masks : at % 20 === 0 ? [masks[at % masks.length] ?? 1] : []) {
      const bytes = Buffer.from(whole);
      bytes[at] = byte ^ mask;
      const verdict = await verify(bytes);
      tried += 1;
      if (verdict.intact || verdict.height !== (at < firstEnds ? 1n : 2n)) missed.push(`${at} ^ ${mask}`);
    }
  }
  expect(missed).toEqual([]);
  expect(tried).toBeGreaterThan(1000);
}, 3_600_000);

test("other bytes for the same block are found: fields twice or out of order, lengths too long, certificates left out", async () => {
  const bytes = Buffer.from(encodeBlock(two));
  const [transaction = new Uint8Array()] = two.transactions;
  const header = toBinary(BlockSchema, create(BlockSchema, { header: two.header }));
  const swapped = Buffer.concat([toBinary(BlockSchema, create(BlockSchema, { transactions: [transaction] })), header]);
  const before = frame(encodeBlock(one));
  const at2 = async (second: Uint8Array) => {
    const verdict = await verify(Buffer.concat([before, second]));
    return verdict.intact ? "intact" : `${verdict.height} ${verdict.fault}`;
  };
  expect(await at2(frame(bytes))).toBe("intact");
  expect(await at2(frame(Buffer.concat([header, bytes])))).toBe("2 unreadable");
  expect(await at2(frame(swapped))).toBe("2 unreadable");
  expect(await at2(frame(Buffer.concat([bytes, Buffer.from("7801", "hex")])))).toBe("2 unreadable");
  const lengthened = Buffer.from(frame(bytes));
  const lengthBytes = lengthened.length - bytes.length;
  lengthened[lengthBytes - 1] = (lengthened[lengthBytes - 1] ?? 0) | 0x80;
  const padded = Buffer.concat([lengthened.subarray(0, lengthBytes), Buffer.of(0), bytes]);
  expect(await at2(padded)).toBe("2 unreadable");
  const bare = clone(BlockSchema, two);
  bare.header?.signatures[0]?.certificate?.certificates.pop();
  expect(await at2(frame(encodeBlock(bare)))).toBe("2 header-signature");
});

test("which certificates must be there does not depend on which of the authorities an auditor takes for its anchor", async () => {
  const read = (name: string) => readFileSync(join(identities.pkiDirectory, name, "certificate.pem"), "utf8");
  const bare = clone(BlockSchema, one);
  bare.header?.signatures[0]?.certificate?.certificates.pop();
  for (const trustAnchors of [read("root"), read("intermediate"), read("root") + read("intermediate")]) {
    const trust = new ChainVerifier({ trustAnchors, intermediates: read("intermediate"), crlsRequired: false });
    expect(await verify(whole, trust)).toMatchObject({ intact: true });
    expect(await verify(frame(encodeBlock(bare)), trust)).toMatchObject({ intact: false, fault: "header-signature" });
  }
});
