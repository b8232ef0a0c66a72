// The whole stack killed under load again and again: what a user was told has come about, the ledger verifies, and what each server keeps
// agrees with it (clauses 6.2.2 to 6.2.4). A hundred rounds in the campaign.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { Level } from "level";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createPki } from "../../certs/pki.ts";
import { PolicyState, UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type Block, TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { campaign } from "../../tools/seeded-share.ts";
import { parseContractAddress, parseStorageAddress } from "../communications/address.ts";
import { grpcTransport } from "../communications/grpc-transport.ts";
import { DataConsumer } from "../data-consumer/consumer.ts";
import { Policies } from "../data-provider/policies.ts";
import { DataProvider } from "../data-provider/provider.ts";
import type { PackageRow } from "../data-storage-server/package-table.ts";
import type { KeyRow } from "../key-storage-server/key-table.ts";
import { TemporaryState } from "../ledger/audit-source.ts";
import { decodeEnvelope } from "../ledger/block.ts";
import { openNodeDatabase } from "../ledger/stored-node.ts";
import { TrustAtTime } from "../ledger/trust-at-time.ts";
import { verifyChain } from "../ledger/verify.ts";
import { jsonTable, type Store, textTable } from "../store/durable-batch.ts";
import { readProfile, tlsCredentials } from "../user/profile.ts";
import type { User } from "../user/user.ts";
import { type Ready, StackProcess } from "./crash.fixture.ts";
import { connected, load, Told } from "./crash-load.fixture.ts";

let folder: string;
let data: string;
let stack: StackProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-stack-crash-"));
  data = join(folder, "data");
});
afterEach(async () => {
  await stack?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const patient = { attempts: 8, firstPauseMs: 50, longestPauseMs: 1_000 };

/** Every account of what there is, by every party. */
async function agree(ready: Ready, told: Told, when: string): Promise<void> {
  const provider = await connected(ready, "provider", patient, folder);
  const consumer = await connected(ready, "consumer", patient, folder);
  try {
    const sharing = new DataProvider(provider);
    const consuming = new DataConsumer(consumer);
    const resumed = await sharing.resume();
    expect(
      resumed.filter(({ outcome }) => outcome === "failed"),
      when,
    ).toEqual([]);
    expect(await consuming.deliverReports(), when).toBe(0);
    const ledger = await audited(ready, provider.user, when);
    const published = await policiesAgree(provider, told, ledger, when);
    const found: string[] = [];
    for await (const { contractAddress } of consuming.search()) {
      found.push(parseContractAddress(contractAddress).contractId);
    }
    expect(found.sort(), when).toEqual(published);
    const recorded: string[] = [];
    for await (const { accessId } of consuming.records())
      recorded.push((await consuming.record(accessId)).record.accessId);
    expect(recorded.sort(), when).toEqual([...ledger.accesses].sort());
    for (const accessId of told.accesses) expect(recorded, when).toContain(accessId);
    await usagesAgree(sharing, told, ledger, when);
    await goesOn(sharing, consuming, told, when);
  } finally {
    provider.user.close();
    consumer.user.close();
  }
}

/** Nothing is under way any more: every policy is published or withdrawn, at the version that the ledger has. Answers what is published. */
async function policiesAgree(
  provider: Awaited<ReturnType<typeof connected>>,
  told: Told,
  ledger: OnLedger,
  when: string,
): Promise<string[]> {
  const byState = { published: [] as string[], withdrawn: [] as string[] };
  named.keys.clear();
  named.packages.clear();
  for await (const { record, signed } of new Policies(provider).list()) {
    const { contractAddress, state, version } = record;
    const { contractId } = parseContractAddress(contractAddress);
    const { keyId, keyAddress, packageId, packageAddress, attributes } = signed.information;
    const { user } = provider;
    const key = user.client(KeyStorageService, parseStorageAddress(keyAddress).entity).getKeyStatus({ keyId });
    expect((await key).state, when).toBe(KeyState.STORED);
    const stored = user.client(DataStorageService, parseStorageAddress(packageAddress).entity);
    expect((await stored.getPackageStatus({ packageId })).state, when).toBe(PackageState.STORED);
    named.keys.add(keyId);
    named.packages.add(packageId);
    expect([PolicyState.PUBLISHED, PolicyState.WITHDRAWN], when).toContain(state);
    byState[state === PolicyState.WITHDRAWN ? "withdrawn" : "published"].push(contractId);
    expect(version, when).toBe(ledger.contracts.get(contractId));
    const acknowledged = told.updated.get(contractAddress);
    if (acknowledged !== undefined) expect(version, when).toBeGreaterThanOrEqual(acknowledged.version);
    if (version === acknowledged?.version) expect(attributes?.introduction, when).toBe(acknowledged.introduction);
  }
  const { published, withdrawn } = byState;
  expect([...published, ...withdrawn].sort(), when).toEqual([...ledger.contracts.keys()].sort());
  expect(withdrawn.sort(), when).toEqual([...ledger.withdrawn].sort());
  for (const address of told.published.keys())
    expect([...ledger.contracts.keys()], when).toContain(parseContractAddress(address).contractId);
  for (const address of told.withdrawn) expect(withdrawn, when).toContain(parseContractAddress(address).contractId);
  return published.sort();
}

/** Each usage that was reported stands on the ledger once, and no other does. */
async function usagesAgree(sharing: DataProvider, told: Told, ledger: OnLedger, when: string): Promise<void> {
  const usages: string[] = [];
  const used = new Set<string>();
  for (const address of told.published.keys()) {
    for await (const { usageId, accessId, kind } of sharing.usageOf(address)) {
      if (kind !== UsageKind.GRANTED) usages.push(usageId);
      used.add(`${accessId} ${kind}`);
    }
  }
  expect(usages.sort(), when).toEqual([...ledger.usages].sort());
  for (const accessId of told.used) {
    for (const kind of [UsageKind.GRANTED, UsageKind.OPENED, UsageKind.CLOSED])
      expect(used, when).toContain(`${accessId} ${kind}`);
  }
}

async function goesOn(sharing: DataProvider, consuming: DataConsumer, told: Told, when: string): Promise<void> {
  const [address, policy] = told.live() ?? [];
  if (address === undefined || policy === undefined) throw new RangeError("nothing is published");
  const session = await consuming.access(address);
  let plaintext = "";
  await session.present((bytes) => {
    plaintext += Buffer.from(bytes).toString();
  });
  await session.close();
  expect(plaintext, when).toBe(policy.plaintext);
  told.accesses.add(session.accessId);
  expect(sharing.unfinished(), when).toEqual([]);
}

interface OnLedger {
  /** Version by contract. */
  readonly contracts: Map<string, bigint>;
  readonly withdrawn: Set<string>;
  readonly accesses: Set<string>;
  readonly usages: Set<string>;
}

const nothing = (): OnLedger => ({
  contracts: new Map(),
  withdrawn: new Set(),
  accesses: new Set(),
  usages: new Set(),
});

/** Verifies the whole chain as any user may, and answers what it holds. */
async function audited(ready: Ready, { trust }: User, when: string): Promise<OnLedger> {
  const node = ready.entities["ledger-1"];
  if (node === undefined) throw new RangeError("no ledger");
  const credentials = tlsCredentials(await readProfile(ready.users.consumer.profile));
  const transport = grpcTransport({ address: node.endpoint, serverIdentity: node.identity, credentials });
  const held = nothing();
  async function* blocks(): AsyncGenerator<Block> {
    for await (const { block } of createClient(LedgerService, transport).streamBlocks({ fromHeight: 1n })) {
      if (block === undefined) continue;
      note(block, held);
      yield block;
    }
  }
  try {
    expect(await verifyChain(blocks(), { trust }), when).toMatchObject({ intact: true });
  } finally {
    transport.close();
  }
  return held;
}

function note({ transactions }: Block, held: OnLedger): void {
  for (const bytes of transactions) {
    const { action } = fromBinary(TransactionSchema, decodeEnvelope(bytes).payload);
    if (action.case === "createContract") held.contracts.set(action.value.contractId, 1n);
    if (action.case === "updateContract") held.contracts.set(action.value.contractId, action.value.version);
    if (action.case === "withdrawContract") held.withdrawn.add(action.value.contractId);
    if (action.case === "recordAccess") held.accesses.add(action.value.accessId);
    if (action.case === "recordUsage") held.usages.add(action.value.usageId);
  }
}

/**
 * What the servers keep for themselves, once they have stopped: every token belongs to an access on the ledger, every redemption to a token,
 * and key and package that no policy names are registrations of a publication that was given up before anything was stored.
 */
async function storesAgree(nodes: number): Promise<void> {
  const chains = await Promise.all(Array.from({ length: nodes }, (_, index) => auditedOffline(`ledger-${index + 1}`)));
  const [held = nothing()] = chains;
  for (const other of chains) expect(other).toEqual(held);
  const tokens = await stored("dssm", "token-management", async (store) => ({
    accesses: await jsonTable(store, "tokens").keys().all(),
    ids: await textTable(store, "token-ids").keys().all(),
  }));
  expect(tokens.accesses.length).toBeGreaterThan(0);
  for (const accessId of tokens.accesses) expect(held.accesses).toContain(accessId);
  const redemptions = await stored("kss", "key-storage", (store) => jsonTable(store, "redemptions").keys().all());
  for (const redeemed of redemptions) expect(tokens.ids).toContain(redeemed.split(" ")[1]);
  const keys = await stored("kss", "key-storage", (store) => jsonTable<KeyRow>(store, "keys").iterator().all());
  const packages = await stored("dss", "data-storage", (store) =>
    jsonTable<PackageRow>(store, "packages").iterator().all(),
  );
  const isOpen = { expiresAt: expect.any(Number), inUse: false };
  for (const [keyId, row] of keys) {
    if (named.keys.has(keyId)) continue;
    expect(row, keyId).toMatchObject(isOpen);
    expect(row.stored, keyId).toBeUndefined();
    expect(row.expiresAt, keyId).toBeGreaterThan(begun);
  }
  for (const [packageId, row] of packages) {
    if (named.packages.has(packageId)) continue;
    expect(row, packageId).toMatchObject(isOpen);
    expect(row.storedAt ?? row.upload, packageId).toBeUndefined();
    expect(row.expiresAt, packageId).toBeGreaterThan(begun);
  }
  expect(keys.length).toBeGreaterThanOrEqual(named.keys.size);
}

/** What a stopped node's chain holds, verified with its state. */
async function auditedOffline(node: string): Promise<OnLedger> {
  const source = await openNodeDatabase(join(data, node, "db"));
  const state = await TemporaryState.create();
  const held = nothing();
  const trust = createPki(join(data, "pki")).verifier();
  const atTime = new TrustAtTime(trust);
  try {
    async function* blocks() {
      for await (const block of source.blocks()) {
        note(block, held);
        yield block;
        expect(await source.receiptFault(block, atTime)).toBeUndefined();
      }
    }
    const verdict = await verifyChain(blocks(), { trust, state });
    expect(verdict).toMatchObject({ intact: true });
    expect(await source.storedFault(state, verdict.head)).toBeUndefined();
  } finally {
    await state.remove();
    await source.close();
  }
  return held;
}

async function stored<T>(entity: string, part: string, read: (store: Store) => Promise<T>): Promise<T> {
  const db = new Level<string, string>(join(data, entity, "db"));
  try {
    return await read(db.sublevel(part, {}) as Store);
  } finally {
    await db.close();
  }
}

/** Of all policies that there are. */
const named = { keys: new Set<string>(), packages: new Set<string>() };
const begun = Date.now();

const whole = { form: "in one process", options: [] as string[], nodes: 1, rounds: campaign ? 100 : 1 };
const apart = { form: "each entity in its own process, three nodes", options: ["--split"], nodes: 3, rounds: 25 };

test.each(campaign ? [whole, apart] : [whole])(
  "killed under load $rounds time(s), $form, the stack keeps what it has told and its servers agree",
  async ({ options, nodes, rounds }) => {
    const told = new Told();
    stack = await StackProcess.start(data, ...options);
    for (let round = 0; round < rounds; round++) {
      const running = stack;
      const answers = 3 + Math.floor(Math.random() * 10);
      const delayMs = Math.random() * 200;
      let count = 0;
      const killed = Promise.withResolvers<void>();
      await Promise.all([
        load(running.ready, told, folder, () => {
          count += 1;
          if (count === answers)
            setTimeout(() => running.killAll(data).then(() => killed.resolve(), killed.reject), delayMs);
        }),
        killed.promise,
      ]);
      stack = await StackProcess.start(data, ...options);
      await agree(stack.ready, told, `round ${round}, killed ${delayMs} ms after ${answers} answers`);
    }
    await stack.stop();
    await storesAgree(nodes);
  },
  60_000 + 100 * 60_000,
);
