// What a node finds on its disk: torn, altered, foreign, full.
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { heightKey } from "./block-archive.ts";
import { LedgerStoreFault, storedParts } from "./chain-store.ts";
import type { LedgerEngine } from "./engine.ts";
import {
  type FixtureNode,
  hexId,
  type LedgerFixture,
  ledgerFixture,
  ledgerIdentities,
  networkId,
  type StoredParts,
  storeBlock,
  storedBlock,
} from "./ledger.fixture.ts";
import { signTransaction } from "./transaction.ts";
import { verifyChain } from "./verify.ts";

const identities = ledgerIdentities();
afterAll(() => identities.remove());
let network: LedgerFixture;
let node: FixtureNode;

beforeEach(() => {
  network = ledgerFixture({ identities, count: 1, quorum: 1 });
  node = network.nodes[0] as FixtureNode;
});
afterEach(() => network.close());

const sign = () => {
  const action = { case: "createContract", value: { contractId: hexId() } } as const;
  return signTransaction(network.management, networkId, action, new Date());
};
const submit = async (engine: LedgerEngine, signed = sign()) => {
  const [receipt] = await engine.submit([signed.envelope]);
  expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
  return signed.transactionId;
};

async function tamper(change: (parts: StoredParts, db: Level<string, string>) => Promise<void>): Promise<void> {
  const db = new Level<string, string>(node.directory);
  await db.open();
  await change(storedParts(db), db);
  await db.close();
}

function tearLastWrite({ directory }: FixtureNode): void {
  const file = join(directory, readdirSync(directory).find((name) => name.endsWith(".log")) ?? "");
  truncateSync(file, statSync(file).size - 7);
}

function flipLastByte(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

async function faultAtStart(): Promise<LedgerStoreFault> {
  const fault = await node.start().then(
    () => expect.unreachable("it should refuse"),
    (error: unknown) => error,
  );
  expect(fault).toBeInstanceOf(LedgerStoreFault);
  return fault as LedgerStoreFault;
}

async function blocksOn(engineNode: FixtureNode) {
  const { ledger } = network.remote(engineNode, network.management.identity);
  const blocks = [];
  for await (const { block } of ledger.streamBlocks({ fromHeight: 1n })) if (block !== undefined) blocks.push(block);
  return blocks;
}

test("of two nodes, a follower writes a block and that it is final at once: a torn write leaves both or neither", async () => {
  await network.close();
  network = ledgerFixture({ identities, count: 2, quorum: 2 });
  const [first, second] = network.nodes as [FixtureNode, FixtureNode];
  for (const one of network.nodes) await one.start();
  for (let turn = 0; turn < 3; turn++) await submit(first.running?.engine ?? expect.unreachable("it is down"));
  expect(await second.running?.engine.head()).toMatchObject({ height: 3n, finalHeight: 3n });
  for (const one of network.nodes) await one.stop();
  tearLastWrite(second);
  expect(await (await second.start()).engine.head()).toMatchObject({ height: 2n, finalHeight: 2n });
});

describe("opening", () => {
  beforeEach(async () => {
    const { engine } = await node.start();
    for (let turn = 0; turn < 3; turn++) await submit(engine);
    await node.stop();
  });

  test("a last write that is torn is dropped, and the chain goes on from the block before", async () => {
    tearLastWrite(node);
    const { engine } = await node.start();
    expect((await engine.head()).height).toBe(2n);
    await submit(engine);
    expect(await verifyChain(await blocksOn(node), network)).toMatchObject({ intact: true, transactions: 3n });
  });

  test("the head's block is missing", async () => {
    await tamper(({ blocks }) => blocks.index.del(heightKey(3n)));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("a block beyond the head", async () => {
    await tamper(async (parts) => storeBlock(parts, 4n, await storedBlock(parts, 3n)));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("the head's block is another one", async () => {
    await tamper(async (parts) => storeBlock(parts, 3n, await storedBlock(parts, 2n)));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("a bit of the head's block is flipped", async () => {
    await tamper(async (parts) => {
      const bytes = Buffer.from(await storedBlock(parts, 3n));
      bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
      await storeBlock(parts, 3n, bytes);
    });
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test.each([
    ["its last byte is missing", (file: string) => truncateSync(file, statSync(file).size - 1)],
    ["it is missing", (file: string) => rmSync(file)],
    ["its last byte is another", (file: string) => flipLastByte(file)],
  ])("the file of blocks: %s", async (_, damage) => {
    damage(join(node.directory, "blocks"));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("what a crash has left behind the last block is written over", async () => {
    const file = join(node.directory, "blocks");
    const whole = readFileSync(file);
    writeFileSync(file, Buffer.concat([whole, Buffer.alloc(100_000, 0x55)]));
    const { engine } = await node.start();
    await submit(engine);
    expect(await verifyChain(await blocksOn(node), network)).toMatchObject({ intact: true, transactions: 4n });
    expect(readFileSync(file).subarray(0, whole.length)).toEqual(whole);
  });

  test("a transaction is not indexed", async () => {
    await tamper(({ state }) => state.clear({ gte: "t!", lt: "u!" }));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("the head record is missing", async () => {
    await tamper((_, db) => db.sublevel("meta").del("head"));
    expect(await faultAtStart()).toMatchObject({ code: "corrupt", height: 3n });
  });

  test("another network's", async () => {
    const fault = await node.start({ networkId: "other.net" }).catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: "other-network" });
  });

  test("a damaged block in the middle is refused when it is read, not served", async () => {
    await tamper((parts) => storeBlock(parts, 2n, Buffer.from("ffff", "hex")));
    await node.start();
    const failure = await blocksOn(node).catch(ConnectError.from);
    expect(reasonOf(failure)).toBe(ErrorReason.INTERNAL_FAULT);
  });
});

describe("failing writes", () => {
  /** Makes the next write fail, before or after it reached the disk. */
  function failNextWrite(db: Level, reached: boolean): void {
    const write = db.batch.bind(db) as (...args: unknown[]) => Promise<void>;
    const failing = async (...args: unknown[]): Promise<void> => {
      Object.assign(db, { batch: write });
      if (reached) await write(...args);
      throw Object.assign(new Error("no space left on device"), { code: "LEVEL_IO_ERROR" });
    };
    Object.assign(db, { batch: failing });
  }

  test("nothing reached the disk: refused, nothing recorded, and the service recovers by itself", async () => {
    const { engine } = await node.start();
    await submit(engine);
    failNextWrite(node.db, false);
    const signed = sign();
    const failure = await engine.submit([signed.envelope]).catch(ConnectError.from);
    expect(reasonOf(failure)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    expect(await engine.get(signed.transactionId)).toBeUndefined();
    await submit(engine, signed);
    expect((await engine.head()).height).toBe(2n);
    expect(await verifyChain(await blocksOn(node), network)).toMatchObject({ intact: true });
  });

  test("it reached the disk although the write failed: then it is accepted", async () => {
    const { engine } = await node.start();
    failNextWrite(node.db, true);
    const transactionId = await submit(engine);
    expect(await engine.get(transactionId)).toBeDefined();
    await submit(engine);
    expect((await engine.head()).height).toBe(2n);
  });

  test("it cannot be told because the database does not open: outcome unknown; later the identical bytes succeed", async () => {
    const { engine } = await node.start();
    await submit(engine);
    const { db } = node;
    const open = db.open.bind(db);
    failNextWrite(db, false);
    Object.assign(db, { open: () => Promise.reject(new Error("no space left on device")) });
    const signed = sign();
    const unknown = await engine.submit([signed.envelope]).catch(ConnectError.from);
    expect(reasonOf(unknown)).toBe(ErrorReason.OUTCOME_UNKNOWN);
    const refused = await engine.submit([sign().envelope]).catch(ConnectError.from);
    expect(reasonOf(refused)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    Object.assign(db, { open });
    await submit(engine, signed);
    expect((await engine.head()).height).toBe(2n);
  });

  test("without room to open the database anew it stays open: reads go on, and writes once there is room", async () => {
    const { engine } = await node.start();
    const known = await submit(engine);
    const inTheWay = join(network.directory, "room");
    mkdirSync(inTheWay);
    failNextWrite(node.db, false);
    const signed = sign();
    const unknown = await engine.submit([signed.envelope]).catch(ConnectError.from);
    expect(reasonOf(unknown)).toBe(ErrorReason.OUTCOME_UNKNOWN);
    const refused = await engine.submit([sign().envelope]).catch(ConnectError.from);
    expect(reasonOf(refused)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    expect((await engine.get(known))?.transactionId).toBe(known);
    rmdirSync(inTheWay);
    await submit(engine, signed);
    expect((await engine.head()).height).toBe(2n);
  });

  test("where it does not open it is tried again, and reads come back by themselves", async () => {
    const { engine } = await node.start();
    const known = await submit(engine);
    failNextWrite(node.db, false);
    vi.spyOn(node.db, "open").mockRejectedValueOnce(new Error("not yet"));
    const unknown = await engine.submit([sign().envelope]).catch(ConnectError.from);
    expect(reasonOf(unknown)).toBe(ErrorReason.OUTCOME_UNKNOWN);
    const away = await engine.get(known).catch(ConnectError.from);
    expect(reasonOf(away)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    const found = () => engine.get(known).catch(() => undefined);
    await expect.poll(found, { interval: 20, timeout: 10_000 }).toMatchObject({ transactionId: known });
  });
});
