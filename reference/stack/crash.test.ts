// The whole stack killed under load again and again: what a user was told has come about, the ledger verifies, and what each server keeps
// agrees with it (clauses 6.2.2 to 6.2.4). A hundred rounds in the campaign.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { Level } from "level";
import { afterAll, afterEach, expect, test } from "vitest";
import { createPki } from "../../certs/pki.ts";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
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
import { TemporaryState } from "../ledger/audit-source.ts";
import { decodeEnvelope } from "../ledger/block.ts";
import { openNodeDatabase } from "../ledger/stored-node.ts";
import { verifyChain } from "../ledger/verify.ts";
import { jsonTable, type Store, textTable } from "../store/durable-batch.ts";
import { readProfile, tlsCredentials } from "../user/profile.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { User } from "../user/user.ts";
import { type Ready, StackProcess } from "./crash.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-stack-crash-"));
const data = join(folder, "data");
let stack: StackProcess | undefined;
afterEach(() => stack?.kill());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** While the stack is being killed nobody waits for it. */
const impatient = { attempts: 1, firstPauseMs: 0, longestPauseMs: 0 };
const patient = { attempts: 8, firstPauseMs: 50, longestPauseMs: 1_000 };

/** What users were told. */
interface Told {
  /** Plaintext by contract address. */
  readonly published: Map<string, string>;
  readonly accesses: Set<string>;
}

async function connected(ready: Ready, name: "provider" | "consumer", patience: typeof patient) {
  const user = await User.connect(await readProfile(ready.users[name].profile));
  const state = StateDirectory.open(join(folder, `${name}.state`));
  const dependencies = { user, state, patience };
  return { user, dependencies };
}

function offer() {
  return {
    attributes: { category: "crash", introduction: "killed under load" },
    permission: { accessTimes: 1000, expiration: new Date(Date.now() + 3_600_000), readOnly: true },
  };
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** Two providers and two consumers until the stack is killed; `tell` is called after each answer. */
async function load(ready: Ready, told: Told, tell: () => void): Promise<void> {
  const provider = await connected(ready, "provider", impatient);
  const consumer = await connected(ready, "consumer", impatient);
  const sharing = new DataProvider(provider.dependencies);
  const accessing = new DataConsumer(consumer.dependencies);
  const publish = async (): Promise<void> => {
    const text = `shared ${Math.random()}`;
    const { contractAddress } = await sharing.publish(bytesOf(text), offer());
    told.published.set(contractAddress, text);
    tell();
  };
  const access = async (): Promise<void> => {
    const addresses = [...told.published.keys()];
    const session = await accessing.access(addresses[Math.floor(Math.random() * addresses.length)] ?? "");
    told.accesses.add(session.accessId);
    await session.close();
    tell();
  };
  await publish();
  await Promise.allSettled([publish, publish, access, access].map(forEver));
  provider.user.close();
  consumer.user.close();
}

async function forEver(act: () => Promise<void>): Promise<never> {
  for (;;) await act();
}

/** Every account of what there is, by every party. */
async function agree(ready: Ready, told: Told, when: string): Promise<void> {
  const provider = await connected(ready, "provider", patient);
  const consumer = await connected(ready, "consumer", patient);
  try {
    const resumed = await new DataProvider(provider.dependencies).resume();
    expect(
      resumed.filter(({ outcome }) => outcome === "failed"),
      when,
    ).toEqual([]);
    const ledger = await audited(ready, provider.user, when);
    const published: string[] = [];
    for await (const { record, signed } of new Policies(provider.dependencies).list()) {
      // Nothing is under way any more: what was begun has come about, or there is nothing of it to be seen.
      if (record.state !== PolicyState.PUBLISHED) continue;
      published.push(parseContractAddress(record.contractAddress).contractId);
      const { keyId, keyAddress, packageId, packageAddress } = signed.information;
      const key = await provider.user
        .client(KeyStorageService, parseStorageAddress(keyAddress).entity)
        .getKeyStatus({ keyId });
      expect(key.state, when).toBe(KeyState.STORED);
      const stored = await provider.user
        .client(DataStorageService, parseStorageAddress(packageAddress).entity)
        .getPackageStatus({ packageId });
      expect(stored.state, when).toBe(PackageState.STORED);
    }
    expect(published.sort(), when).toEqual([...ledger.contracts].sort());
    const consuming = new DataConsumer(consumer.dependencies);
    const found: string[] = [];
    for await (const { contractAddress } of consuming.search()) {
      found.push(parseContractAddress(contractAddress).contractId);
    }
    expect(found.sort(), when).toEqual(published);
    for (const address of told.published.keys()) {
      expect(published, when).toContain(parseContractAddress(address).contractId);
    }
    const recorded: string[] = [];
    for await (const { accessId } of consuming.records())
      recorded.push((await consuming.record(accessId)).record.accessId);
    expect(recorded.sort(), when).toEqual([...ledger.accesses].sort());
    for (const accessId of told.accesses) expect(recorded, when).toContain(accessId);
    // And it goes on.
    const [address, text] = [...told.published].at(-1) ?? [];
    if (address === undefined) throw new RangeError("nothing was published");
    const session = await consuming.access(address);
    let plaintext = "";
    await session.present((bytes) => {
      plaintext += Buffer.from(bytes).toString();
    });
    await session.close();
    expect(plaintext, when).toBe(text);
    told.accesses.add(session.accessId);
  } finally {
    provider.user.close();
    consumer.user.close();
  }
}

interface OnLedger {
  readonly contracts: ReadonlySet<string>;
  readonly accesses: ReadonlySet<string>;
}

/** Verifies the whole chain as any user may, and answers what it holds. */
async function audited(ready: Ready, { trust }: User, when: string): Promise<OnLedger> {
  const node = ready.entities["ledger-1"];
  if (node === undefined) throw new RangeError("no ledger");
  const credentials = tlsCredentials(await readProfile(ready.users.consumer.profile));
  const transport = grpcTransport({ address: node.endpoint, serverIdentity: node.identity, credentials });
  const held = { contracts: new Set<string>(), accesses: new Set<string>() };
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

function note({ transactions }: Block, held: { contracts: Set<string>; accesses: Set<string> }): void {
  for (const bytes of transactions) {
    const { action } = fromBinary(TransactionSchema, decodeEnvelope(bytes).payload);
    if (action.case === "createContract") held.contracts.add(action.value.contractId);
    if (action.case === "recordAccess") held.accesses.add(action.value.accessId);
  }
}

/** What the servers keep for themselves, once they have stopped: every token belongs to an access on the ledger, every redemption to a token. */
async function storesAgree(): Promise<void> {
  const source = await openNodeDatabase(join(data, "ledger-1", "db"));
  const state = await TemporaryState.create();
  const held = { contracts: new Set<string>(), accesses: new Set<string>() };
  const pki = createPki(join(data, "pki"));
  try {
    async function* blocks() {
      for await (const block of source.blocks()) {
        note(block, held);
        yield block;
      }
    }
    const verdict = await verifyChain(blocks(), { trust: pki.verifier(), state });
    expect(verdict).toMatchObject({ intact: true });
    expect(await source.storedFault(state, verdict.head)).toBeUndefined();
  } finally {
    await state.remove();
    await source.close();
  }
  const tokens = await stored("dssm", "token-management", async (store) => ({
    accesses: await jsonTable(store, "tokens").keys().all(),
    ids: await textTable(store, "token-ids").keys().all(),
  }));
  expect(tokens.accesses.length).toBeGreaterThan(0);
  for (const accessId of tokens.accesses) expect(held.accesses).toContain(accessId);
  const redemptions = await stored("kss", "key-storage", (store) => jsonTable(store, "redemptions").keys().all());
  for (const redeemed of redemptions) expect(tokens.ids).toContain(redeemed.split(" ")[1]);
}

async function stored<T>(entity: string, part: string, read: (store: Store) => Promise<T>): Promise<T> {
  const db = new Level<string, string>(join(data, entity, "db"));
  try {
    return await read(db.sublevel(part, {}) as Store);
  } finally {
    await db.close();
  }
}

const rounds = campaign ? 100 : 1;

test(`${rounds} time(s) killed under load, the stack keeps what it has told and its servers agree`, {
  timeout: 60_000 + rounds * 60_000,
}, async () => {
  const told: Told = { published: new Map(), accesses: new Set() };
  stack = await StackProcess.start(data);
  for (let round = 0; round < rounds; round++) {
    const running = stack;
    const answers = 3 + Math.floor(Math.random() * 10);
    const delayMs = Math.random() * 200;
    let count = 0;
    const killed = Promise.withResolvers<void>();
    await Promise.all([
      load(running.ready, told, () => {
        count += 1;
        if (count === answers) setTimeout(() => running.kill().then(() => killed.resolve(), killed.reject), delayMs);
      }),
      killed.promise,
    ]);
    stack = await StackProcess.start(data);
    await agree(stack.ready, told, `round ${round}, killed ${delayMs} ms after ${answers} answers`);
  }
  await stack.stop();
  await storesAgree();
});
