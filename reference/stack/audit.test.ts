// The offline audit on what a node leaves behind when it is stopped: it changes nothing, so that the node starts again, and finds
// whatever was altered.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { campaign } from "../../tools/seeded-share.ts";
import { heightKey } from "../ledger/block-archive.ts";
import { ledgerDatabase, storedParts } from "../ledger/chain-store.ts";
import { ledgerCommand } from "../ledger/cli.ts";
import { hexId, ledgerFixture, ledgerIdentities, networkId } from "../ledger/ledger.fixture.ts";
import { signTransaction } from "../ledger/transaction.ts";
import { openDatabase } from "./data-directory.ts";

const identities = ledgerIdentities();
const folder = mkdtempSync(join(tmpdir(), "x1410-audit-stack-"));
const data = join(folder, "data");
const entity = join(data, "ledger-1");
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
  identities.remove();
});

/**
 * Opens the database as the stack does, runs a node on it that has another beside it, and closes both. Answers the last transaction's id.
 * @param killed where the folder is copied as a kill would leave it
 */
async function run(transactions: number, killed?: string): Promise<string> {
  const network = ledgerFixture({ identities, count: 2, quorum: 2, folder: join(folder, "network") });
  const { db, close } = await openDatabase(entity, { contents: false, ...ledgerDatabase });
  let id = "";
  try {
    await network.nodes[1]?.start();
    const node = await network.nodes[0]?.start({ db });
    for (let turn = 0; turn < transactions; turn++) {
      const value = { contractId: hexId() };
      const signed = signTransaction(network.management, networkId, { case: "createContract", value }, new Date());
      await node?.engine.submit([signed.envelope]);
      id = signed.transactionId;
    }
    if (killed !== undefined) cpSync(entity, killed, { recursive: true });
  } finally {
    await network.close();
    await close();
  }
  return id;
}

let transactionId: string;
beforeAll(async () => {
  // Started twice: the first log has become a table.
  await run(2);
  transactionId = await run(2, join(folder, "killed", "ledger-1"));
  cpSync(identities.pkiDirectory, join(data, "pki"), { recursive: true });
  cpSync(identities.pkiDirectory, join(folder, "killed", "pki"), { recursive: true });
});

/** Every file below with its bytes and the times of its last changes. */
function contents(path: string): Map<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: "utf8" }).sort();
  return new Map(
    names.map((name) => {
      const file = join(path, name);
      const { mtimeMs, ctimeMs, nlink } = statSync(file);
      const bytes = statSync(file).isFile() ? readFileSync(file).toString("base64") : "";
      return [name, `${mtimeMs} ${ctimeMs} ${nlink} ${bytes}`];
    }),
  );
}

/** What the command prints, notes included. */
async function x1410(...args: string[]): Promise<string> {
  let out = "";
  const write = (text: string) => {
    out += text;
  };
  const command = ledgerCommand();
  for (const one of command.commands) one.exitOverride().configureOutput({ writeOut: write, writeErr: write });
  await command.parseAsync(args, { from: "user" });
  return out;
}

test("no command of the audit changes anything in a node's folder, and the node starts again", async () => {
  const before = contents(entity);
  expect([...before.keys()]).toEqual(expect.arrayContaining(["closed.json", join("db", "blocks")]));
  expect([...before.keys()].some((name) => name.endsWith(".ldb"))).toBe(true);
  const temporary = join(folder, "temporary");
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
  expect(await x1410("verify", "--data", data)).toContain("intact: 4 blocks");
  expect(await x1410("head", "--data", data)).toContain("height        4");
  expect(await x1410("blocks", "--data", data, "--transactions")).toContain(transactionId);
  expect(await x1410("prove", transactionId, "--data", data)).toContain('"proof"');
  expect(await x1410("export", join(folder, "chain.blocks"), "--data", data)).toContain("4 blocks");
  await expect(x1410("prove", "0".repeat(64), "--data", data)).rejects.toThrow("no transaction");
  expect(contents(entity)).toEqual(before);
  expect(readdirSync(temporary)).toEqual([]);
  await run(1);
  expect(await x1410("verify", "--data", data)).toContain("intact: 5 blocks");
});

/** Why a byte says nothing of the ledger, where it says nothing. */
function meaningless(name: string, at: number, whole: Buffer): string | undefined {
  if (/^lock|LOG(\.old)?$/.test(name)) return "no part of the database";
  if (name === "closed.json" && whole[at] === 0x0a) return "white space";
  const inFooter = name.endsWith(".ldb") && at >= whole.length - 48 && at < whole.length - 8;
  if (inFooter && whole.subarray(at, whole.length - 8).every((byte) => byte === 0))
    return "padding of a table's footer";
  return undefined;
}

/** Alters bytes of every file of a node's folder, one at a time; answers what was not found, and how often for which reason. */
async function alterEverywhere(where: string): Promise<{ found: number; silent: string[]; meaningless: Set<string> }> {
  const unaltered = await x1410("verify", "--data", where);
  expect(unaltered).toMatch(/^intact: [45] blocks/);
  const result = { found: 0, silent: [] as string[], meaningless: new Set<string>() };
  const node = join(where, "ledger-1");
  const names = readdirSync(node, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(node, name)).isFile(),
  );
  for (const name of names) {
    const whole = readFileSync(join(node, name));
    const many = campaign ? 400 : meaningless(name, 0, whole) === undefined ? 6 : 1;
    const step = Math.max(1, Math.floor(whole.length / many));
    const places = new Set<number>();
    for (let at = 0; at < whole.length; at += step) places.add(at);
    // The length of a log's last entry, whose reader finds it cut short; and a table's footer.
    for (let at = Math.max(0, whole.length - 2 * many); at < whole.length; at++) places.add(at);
    for (const at of places) {
      const altered = Buffer.from(whole);
      altered[at] = (altered[at] ?? 0) ^ 0x10;
      writeFileSync(join(node, name), altered);
      const found = await x1410("verify", "--data", where).then(
        (printed) => (printed === unaltered ? undefined : printed),
        (error: Error) => error.message,
      );
      const why = meaningless(name, at, whole);
      if (found !== undefined && !found.includes("intact")) result.found += 1;
      else if (why === undefined) result.silent.push(`${name} at ${at}: ${found}`);
      else result.meaningless.add(why);
    }
    writeFileSync(join(node, name), whole);
  }
  return result;
}

test.each([
  ["stopped", () => data],
  ["killed", () => join(folder, "killed")],
])(
  "a byte altered in any file of a node that was %s is found, or belongs to no ledger",
  async (_, where) => {
    const { found, silent, meaningless } = await alterEverywhere(where());
    expect(silent).toEqual([]);
    expect(found).toBeGreaterThan(40);
    expect([...meaningless].sort()).toEqual(["no part of the database", "padding of a table's footer"]);
  },
  600_000,
);

test("damage is told with file and place, and nothing is audited; what a crash cuts short is told and left out", async () => {
  const copy = join(folder, "cut-short");
  cpSync(join(folder, "killed"), copy, { recursive: true });
  const database = join(copy, "ledger-1", "db");
  const name = readdirSync(database).find((name) => /^\d+\.log$/.test(name)) ?? "";
  const log = join(database, name);
  const whole = readFileSync(log);
  const altered = Buffer.from(whole);
  altered[20] = (altered[20] ?? 0) ^ 1;
  writeFileSync(log, altered);
  for (const command of [["verify"], ["head"], ["blocks"], ["export", join(folder, "damaged.blocks")]]) {
    await expect(x1410(...command, "--data", copy)).rejects.toThrow(
      `damaged: ${database}: ${name} is altered at 0; nothing was audited`,
    );
  }
  writeFileSync(log, whole.subarray(0, whole.length - 10));
  const printed = await x1410("verify", "--data", copy);
  expect(printed).toMatch(
    new RegExp(`^note: ${name} at \\d+: a crash has cut the last write short.*\\nintact: \\d blocks`),
  );
  cpSync(data, copy, { recursive: true });
  const [closedLog = ""] = Object.keys(JSON.parse(readFileSync(join(copy, "ledger-1", "closed.json"), "utf8")));
  truncateSync(join(database, closedLog), 100);
  await expect(x1410("verify", "--data", copy)).rejects.toThrow(`damaged: ${database}: ${closedLog} has 100 bytes`);
});

test("receipts that a node keeps are verified: another's, one for another block, one for no block, an altered one", async () => {
  const copy = join(folder, "receipts");
  const change = async (how: (receipts: ReturnType<typeof storedParts>["receipts"]) => Promise<void>) => {
    rmSync(copy, { recursive: true, force: true });
    cpSync(join(folder, "killed"), copy, { recursive: true });
    const db = new Level<string, string>(join(copy, "ledger-1", "db"));
    await how(storedParts(db).receipts);
    await db.close();
    return x1410("verify", "--data", copy);
  };
  const n2 = "urn:x1410:entity:ledger:n2";
  const key = (height: bigint, node = n2) => `${heightKey(height)}!${node}`;
  expect(await change(async () => undefined)).toMatch(/^intact/);
  await expect(
    change(async (receipts) => receipts.put(key(2n), (await receipts.get(key(1n))) ?? Buffer.of())),
  ).rejects.toThrow(`the receipt of ${n2} for block 2: the receipt of ${n2} is for something else`);
  await expect(
    change(async (receipts) => receipts.put(key(2n, "n3"), (await receipts.get(key(2n))) ?? Buffer.of())),
  ).rejects.toThrow(`the receipt of n3 for block 2: is that of ${n2}`);
  await expect(
    change(async (receipts) => receipts.put(key(9n), (await receipts.get(key(2n))) ?? Buffer.of())),
  ).rejects.toThrow("1 receipts are for no block");
  await expect(
    change(async (receipts) => {
      const receipt = Buffer.from((await receipts.get(key(2n))) ?? []);
      receipt[10] = (receipt[10] ?? 0) ^ 1;
      await receipts.put(key(2n), receipt);
    }),
  ).rejects.toThrow(`the receipt of ${n2} for block 2: SIGNATURE_INVALID`);
});
