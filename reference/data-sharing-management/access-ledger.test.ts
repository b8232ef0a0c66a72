// Access management on the embedded ledger: what the contract rules of the real thing say, and what is left after both have been stopped.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { CreateContractSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { Chain } from "../ledger/chain.ts";
import { ChainStore } from "../ledger/chain-store.ts";
import { Distribution } from "../ledger/distribution.ts";
import { EmbeddedEngine } from "../ledger/embedded-engine.ts";
import { signTransaction } from "../ledger/transaction.ts";
import { TrustAtTime } from "../ledger/trust-at-time.ts";
import { AccessWorld, Cast, CONTRACT, CONTRACT_ADDRESS, refused } from "./data-sharing-access.fixture.ts";
import { submitTransaction } from "./dlt-transaction.ts";
import { NETWORK } from "./memory-ledger.fixture.ts";

let cast: Cast;
let world: AccessWorld;
let directory: string;
let stopLedger: () => Promise<void>;

async function startLedger(): Promise<void> {
  const database = new Level<string, string>(join(directory, "chain"));
  const store = await ChainStore.open(database, NETWORK);
  const { trust, ledgerNode } = cast;
  const chain = new Chain({
    store,
    networkId: NETWORK,
    firstProposer: ledgerNode.identity,
    trust: new TrustAtTime(trust),
  });
  const distribution = new Distribution({ chain, store, peers: [], quorum: 1, trust });
  await distribution.start();
  const engine = new EmbeddedEngine({ chain, distribution, signer: ledgerNode, quorum: 1, now: world.now });
  world.engine = engine;
  stopLedger = async () => {
    await engine.close();
    await distribution.close();
    await store.close();
    await database.close();
  };
}

beforeAll(() => {
  cast = new Cast();
});
afterAll(() => cast.remove());
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "x1410-chain-"));
  world = new AccessWorld(cast);
  world.publish({ accessTimes: 1 });
  await startLedger();
  await world.open();
  const value = create(CreateContractSchema, { contractId: CONTRACT, withAccessPermission: true, accessTimes: 1 });
  const action = { case: "createContract", value } as const;
  const contract = signTransaction(cast.management, NETWORK, action, world.now()).envelope;
  expect(await submitTransaction(world.engine, contract)).toMatchObject({ accepted: true });
});
afterEach(async () => {
  await stopLedger();
  await world.close();
  rmSync(directory, { recursive: true, force: true });
});

const ask = (request = world.request(world.consumer)) => world.as(world.consumer).requestAccess({ request });

test("of fifty requests at once with one access left one is granted and one is recorded", async () => {
  const requests = Array.from({ length: 50 }, () => ask().catch((cause: unknown) => reasonOf(cause)));
  const outcomes = await Promise.all(requests);
  expect(outcomes.filter((outcome) => outcome === ErrorReason.ACCESS_TIMES_EXHAUSTED)).toHaveLength(49);
  expect((await world.engine.contract(CONTRACT))?.accessCount).toBe(1n);
});

test("the ledger refuses what the management's own count no longer knows", async () => {
  await ask();
  await world.level?.close();
  rmSync(join(world.directory, "level"), { recursive: true });
  await world.open();
  await refused(ask(), Code.FailedPrecondition, ErrorReason.ACCESS_TIMES_EXHAUSTED);
  expect((await world.as(world.consumer).listAccessRecords({})).records).toEqual([]);
});

test("answer, evidence and usage survive a restart of ledger and management", async () => {
  const request = world.request(world.consumer);
  const first = await ask(request);
  const accessId = first.record?.accessId ?? "";
  await stopLedger();
  await startLedger();
  await world.restart();
  const again = await ask(request);
  expect(again.record?.receipt?.transactionId).toBe(first.record?.receipt?.transactionId);
  expect(again.proof?.header?.signatures).toHaveLength(1);
  world.time += 1;
  const report = world.report(world.consumer, accessId, UsageKind.OPENED);
  await world.as(world.consumer).reportUsage({ report });
  const { records } = await world.as(world.provider).listUsageRecords({ contractAddress: CONTRACT_ADDRESS });
  expect(records.map(({ kind }) => kind)).toEqual([UsageKind.GRANTED, UsageKind.OPENED]);
  expect((await world.engine.head()).height).toBe(3n);
});

test("a ledger that has stopped leaves nothing behind; the identical request succeeds when it is back", async () => {
  const request = world.request(world.consumer);
  await stopLedger();
  await refused(ask(request), Code.Unavailable, ErrorReason.LEDGER_UNAVAILABLE);
  await startLedger();
  await world.restart();
  expect((await world.access.reconcile()).accesses).toEqual({ finished: 0, voided: 0, open: 0 });
  expect((await ask(request)).record?.accessNumber).toBe(1);
});
