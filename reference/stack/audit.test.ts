// The offline audit on what a node leaves behind when it is stopped: it changes nothing, so that the node starts again.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ledgerDatabase } from "../ledger/chain-store.ts";
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

/** Opens the database as the stack does, runs a node on it, and closes both. Answers the last transaction's id. */
async function run(transactions: number): Promise<string> {
  const network = ledgerFixture({ identities, count: 1, quorum: 1 });
  const { db, close } = await openDatabase(entity, { contents: false, ...ledgerDatabase });
  let id = "";
  try {
    const node = await network.nodes[0]?.start({ db });
    for (let turn = 0; turn < transactions; turn++) {
      const value = { contractId: hexId() };
      const signed = signTransaction(network.management, networkId, { case: "createContract", value }, new Date());
      await node?.engine.submit([signed.envelope]);
      id = signed.transactionId;
    }
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
  transactionId = await run(2);
  cpSync(identities.pkiDirectory, join(data, "pki"), { recursive: true });
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

async function x1410(...args: string[]): Promise<string> {
  let out = "";
  const command = ledgerCommand();
  for (const one of command.commands) {
    one.exitOverride().configureOutput({ writeOut: (text) => (out += text), writeErr: () => undefined });
  }
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
