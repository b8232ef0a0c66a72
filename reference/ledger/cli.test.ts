import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { Level } from "level";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { fingerprintOf } from "../../certs/identity.ts";
import { createPki } from "../../certs/pki.ts";
import { type CommitmentOpening, CommitmentOpeningSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { heightKey } from "./block-archive.ts";
import { storedParts } from "./chain-store.ts";
import { ledgerCommand } from "./cli.ts";
import { commit } from "./commitment.ts";
import { hexId, ledgerFixture, ledgerIdentities, networkId, type StoredParts, storeBlock } from "./ledger.fixture.ts";
import { signTransaction, type TransactionAction } from "./transaction.ts";

const identities = ledgerIdentities();
const folder = mkdtempSync(join(tmpdir(), "x1410-audit-cli-"));
const data = join(folder, "data");
const pem = (name: string): string => join(data, "pki", name, "certificate.pem");
const made = commit("signed-policy", Buffer.from("what was signed"));
let transactionId = "";

beforeAll(async () => {
  const network = ledgerFixture({ identities, count: 1, quorum: 1 });
  const [node] = network.nodes;
  if (node === undefined) throw new RangeError("no node");
  const { engine } = await node.start();
  for (let turn = 0; turn < 4; turn++) {
    const action: TransactionAction = {
      case: "createContract",
      value: { contractId: hexId(), commitments: [made.commitment] },
    };
    const signed = signTransaction(network.management, networkId, action, new Date());
    await engine.submit([signed.envelope]);
    if (turn === 1) transactionId = signed.transactionId;
  }
  await node.stop();
  mkdirSync(join(data, "ledger-1"), { recursive: true });
  cpSync(node.directory, join(data, "ledger-1", "db"), { recursive: true });
  cpSync(identities.pkiDirectory, join(data, "pki"), { recursive: true });
  await network.close();
});

afterAll(() => {
  rmSync(folder, { recursive: true });
  identities.remove();
});

async function x1410(...args: string[]): Promise<string> {
  return (await printed(args)).out;
}

/** With what it prints on standard error. */
async function told(...args: string[]): Promise<string> {
  const { out, errors } = await printed(args);
  return errors + out;
}

async function printed(args: string[]): Promise<{ out: string; errors: string }> {
  const result = { out: "", errors: "" };
  const command = ledgerCommand().exitOverride();
  for (const one of [command, ...command.commands]) {
    one.exitOverride().configureOutput({
      writeOut: (text) => {
        result.out += text;
      },
      writeErr: (text) => {
        result.errors += text;
      },
    });
  }
  await command.parseAsync(args, { from: "user" });
  return result;
}

function copyOfPki(name: string): string {
  const copy = join(folder, name);
  cpSync(join(data, "pki"), copy, { recursive: true });
  return copy;
}

/** A copy of the data whose stored parts may be changed. */
async function altered(name: string, change: (parts: StoredParts) => Promise<void>): Promise<string> {
  const copy = join(folder, name);
  cpSync(data, copy, { recursive: true });
  const db = new Level<string, string>(join(copy, "ledger-1", "db"));
  await change(storedParts(db));
  await db.close();
  return copy;
}

test("an intact ledger: verify, head, blocks", async () => {
  expect(await x1410("verify", "--data", data, "--network", networkId)).toMatch(
    /^intact: 4 blocks, 4 transactions\nhead {4}4 [0-9a-f]{64}\n$/,
  );
  expect(await x1410("head", "--data", data)).toMatch(/^height {8}4\nhash/);
  const lines = (await x1410("blocks", "--data", data, "--first", "2", "--last", "3")).trim().split("\n");
  expect(lines.map((line) => line.split(" ")[0])).toEqual(["2", "3"]);
  const listed = await x1410("blocks", "--data", data, "--first", "2", "--last", "2", "--transactions");
  expect(listed.split("\n")[1]).toBe(`  ${transactionId} createContract urn:x1410:entity:dssm:m`);
  const [json = ""] = (await x1410("blocks", "--data", data, "--json")).split("\n");
  expect(JSON.parse(json)).toMatchObject({ networkId, height: "1", transactionCount: 1 });
});

test("anchors that do not lead to the signer are told apart from a chain that was altered", async () => {
  const file = join(folder, "untrusted.blocks");
  await x1410("export", file, "--data", data);
  await expect(x1410("verify", "--from", file, "--anchors", pem("root"))).rejects.toThrow(
    /^not verified: block 1: header-signature: SIGNER_UNTRUSTED .*no path leads .* to an anchor given; .*or the chain is forged$/,
  );
  const anchors = join(folder, "no-anchors.pem");
  writeFileSync(anchors, "nothing\n");
  await expect(x1410("verify", "--from", file, "--anchors", anchors)).rejects.toThrow(`no certificate in ${anchors}`);
});

test("lists that are out of date are no alteration: they are taken as they are, and it is told of what date they are", async () => {
  expect(await told("verify", "--data", data)).toMatch(/^intact: 4 blocks/);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60 * 86_400_000 });
  try {
    const today = new Date(Date.now() - 60 * 86_400_000).toISOString().slice(0, 10);
    const stale = `^note: the revocation lists are taken as they are, but out of date: of ${today}T.*, by --crls\n`;
    expect(await told("verify", "--data", data)).toMatch(new RegExp(`${stale}intact: 4 blocks`));
    // On standard error, so that JSON stays JSON.
    expect(JSON.parse(await x1410("prove", transactionId, "--data", data))).toHaveProperty("proof");
    const fresh = join(folder, "fresh.pem");
    writeFileSync(fresh, createPki(copyOfPki("fresh")).crlPem);
    expect(await told("verify", "--data", data, "--crls", fresh)).toMatch(/^intact: 4 blocks/);
  } finally {
    vi.useRealTimers();
  }
});

test("a signer that had been revoked by the time of its block is told apart from a chain that was altered", async () => {
  const lists = (name: string, role: "dssm" | "ledger", signer: string, ageMs: number): string => {
    const { intermediate } = createPki(copyOfPki(name), { now: () => new Date(Date.now() - ageMs) });
    const [leaf] = identities.signer(role, signer).certificate.certificates;
    intermediate.revoke(fingerprintOf(leaf ?? new Uint8Array()));
    const file = join(folder, `${name}.pem`);
    writeFileSync(file, createPki(join(folder, name)).crlPem);
    return file;
  };
  const hour = 3_600_000;
  await expect(x1410("verify", "--data", data, "--crls", lists("node", "ledger", "n1", hour))).rejects.toThrow(
    /^signer revoked: block 1: signer-revoked: SIGNER_UNTRUSTED \[certificate: revoked\]: its certificate was revoked/,
  );
  const management = lists("management", "dssm", "m", hour);
  await expect(x1410("verify", "--data", data, "--crls", management)).rejects.toThrow(
    /^signer revoked: block 1, transaction 0: signer-revoked: /,
  );
  const evidence = join(folder, "of-revoked.json");
  writeFileSync(evidence, await x1410("prove", transactionId, "--data", data));
  await expect(x1410("check", evidence, "--data", data, "--crls", management)).rejects.toThrow(
    /^signer revoked: transaction-signature: /,
  );
  // Revoked after its blocks: they hold.
  const later = lists("later", "ledger", "n1", -hour);
  expect(await x1410("verify", "--data", data, "--crls", later)).toContain("intact: 4 blocks");
});

test("where lists are given, an authority without one is named", async () => {
  const file = join(folder, "one-list.pem");
  writeFileSync(file, readFileSync(join(data, "pki", "intermediate", "crl.pem")));
  expect(await told("verify", "--data", data, "--crls", file)).toMatch(
    /^note: no revocation list is of O=X.1410, CN=X.1410 root: whatever it revoked counts as not revoked\nintact: 4 blocks/,
  );
});

test("lists of another network, or none where some are named, are refused", async () => {
  const other = ledgerIdentities();
  const file = join(folder, "other.pem");
  try {
    writeFileSync(file, createPki(other.pkiDirectory).crlPem);
  } finally {
    other.remove();
  }
  await expect(x1410("verify", "--data", data, "--crls", file)).rejects.toThrow("is of no authority given");
  writeFileSync(file, "nothing\n");
  await expect(x1410("verify", "--data", data, "--crls", file)).rejects.toThrow(`no revocation list in ${file}`);
});

test("where there is no block, nothing is intact", async () => {
  const file = join(folder, "empty.blocks");
  writeFileSync(file, "");
  await expect(x1410("verify", "--from", file, "--data", data)).rejects.toThrow("no block in it: nothing was verified");
});

test("an export verifies with the anchors alone; cut short or altered, it does not", async () => {
  const file = join(folder, "chain.blocks");
  expect(await x1410("export", file, "--data", data)).toContain("4 blocks");
  await expect(x1410("export", file, "--data", data)).rejects.toThrow("exists already");
  const anchors = join(folder, "anchors.pem");
  writeFileSync(anchors, readFileSync(pem("root"), "utf8") + readFileSync(pem("intermediate"), "utf8"));
  expect(await x1410("verify", "--from", file, "--anchors", anchors)).toContain("intact: 4 blocks");
  expect(await x1410("head", "--from", file)).toContain("height        4");
  const bytes = readFileSync(file);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  const bad = join(folder, "bad.blocks");
  writeFileSync(bad, bytes);
  await expect(x1410("verify", "--from", bad, "--anchors", anchors)).rejects.toThrow(/altered: .*block [23]/);
  writeFileSync(bad, readFileSync(file));
  truncateSync(bad, bytes.length - 10);
  await expect(x1410("verify", "--from", bad, "--anchors", anchors)).rejects.toThrow("everything up to block 3");
});

describe("what was done to the stored blocks is located", () => {
  test("a removed block", async () => {
    const copy = await altered("removed", ({ blocks }) => blocks.index.del(heightKey(2n)));
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("block 2: height");
  });

  test("exchanged blocks", async () => {
    const copy = await altered("exchanged", async ({ blocks: { index } }) => {
      const [two, three] = await index.getMany([heightKey(2n), heightKey(3n)]);
      await index.put(heightKey(2n), three as Uint8Array);
      await index.put(heightKey(3n), two as Uint8Array);
    });
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("block 2: height");
  });

  test("a block that does not parse", async () => {
    const copy = await altered("unreadable", (parts) => storeBlock(parts, 3n, Buffer.from("ffff", "hex")));
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("everything up to block 2");
  });

  test("a byte of the file of blocks", async () => {
    const copy = await altered("byte", async () => undefined);
    const file = join(copy, "ledger-1", "db", "blocks");
    const bytes = readFileSync(file);
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await expect(x1410("verify", "--data", copy)).rejects.toThrow(
      /stored bytes are altered; everything up to block [12] /,
    );
    truncateSync(file, middle);
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("the file blocks has");
    rmSync(file);
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("the file blocks is missing");
  });

  test("state that the blocks do not add up to", async () => {
    const copy = await altered("state", async ({ state }) => {
      for await (const contract of state.keys({ gte: "c!", lt: "d!", limit: 1 })) await state.del(contract);
    });
    await expect(x1410("verify", "--data", copy)).rejects.toThrow("1 entries of the state are missing");
  });

  test("a head rolled back, against the one remembered", async () => {
    const memory = join(folder, "head.txt");
    await x1410("verify", "--data", data, "--remember", memory);
    await x1410("verify", "--data", data, "--remember", memory);
    const copy = await altered("rolled-back", ({ blocks }) => blocks.index.del(heightKey(4n)));
    await expect(x1410("verify", "--data", copy, "--remember", memory)).rejects.toThrow("block 4: rollback");
    expect(readFileSync(memory, "utf8")).toMatch(/^4 /);
  });
});

test("evidence for a transaction can be printed, and checked by somebody else", async () => {
  const evidence = join(folder, "evidence.json");
  const json = await x1410("prove", transactionId, "--data", data);
  writeFileSync(evidence, json);
  const out = await x1410("check", evidence, "--anchors", pem("root"), "--data", data).catch(
    (error: Error) => error.message,
  );
  expect(out).toMatch(/^not verified: transaction-signature: SIGNER_UNTRUSTED .* no path leads/);
  expect(await x1410("check", evidence, "--data", data)).toMatch(
    /^holds: createContract by urn:x1410:entity:dssm:m\nblock {3}2 of/,
  );
  await expect(x1410("check", evidence, "--data", data, "--network", "other")).rejects.toThrow("network");
  const proof = JSON.parse(json) as { proof: { index?: number; path?: string[] } };
  proof.proof.path = [Buffer.alloc(32).toString("base64")];
  writeFileSync(evidence, JSON.stringify(proof));
  await expect(x1410("check", evidence, "--data", data)).rejects.toThrow("inclusion");
  await expect(x1410("prove", "0".repeat(64), "--data", data)).rejects.toThrow("no transaction");
});

test("openings that come with evidence open what is on the ledger, or it is said which does not", async () => {
  const file = join(folder, "handed-out.json");
  const { proof } = JSON.parse(await x1410("prove", transactionId, "--data", data)) as { proof: JsonValue };
  const handOut = (opening: CommitmentOpening) =>
    writeFileSync(file, JSON.stringify({ proof, openings: [toJson(CommitmentOpeningSchema, opening)] }));
  handOut(made.opening);
  expect(await x1410("check", file, "--data", data)).toMatch(
    /\nopens {3}signed-policy: 15 bytes, SHA-256 [0-9a-f]{64}\n$/,
  );
  handOut(commit("signed-policy", made.opening.value).opening);
  await expect(x1410("check", file, "--data", data)).rejects.toThrow('the opening of "signed-policy" does not open');
  handOut({ ...made.opening, name: "usage" });
  await expect(x1410("check", file, "--data", data)).rejects.toThrow('the opening of "usage" does not open');
  writeFileSync(file, JSON.stringify({ proof }));
  expect(await x1410("check", file, "--data", data)).toContain("\nsealed  signed-policy\n");
  writeFileSync(file, "{}");
  await expect(x1410("check", file, "--data", data)).rejects.toThrow("no evidence: the proof is missing");
});

test("what is no ledger is said to be none", async () => {
  await expect(x1410("verify", "--data", join(folder, "nowhere"))).rejects.toThrow("no data directory");
  await expect(x1410("verify", "--from", join(folder, "nothing"), "--data", data)).rejects.toThrow("does not exist");
  await expect(x1410("prove", "abc", "--data", data)).rejects.toThrow("64 hexadecimal digits");
});

/** A process of its own that has a database open: locks are of processes. */
async function holding(database: string, use: () => Promise<void>): Promise<void> {
  const program = `import { Level } from "level";
    await new Level(process.argv[1]).open();
    process.stdin.on("end", () => process.exit()).resume();
    console.log("open");`;
  const args = ["--input-type=module", "--eval", program, database];
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "close");
  try {
    await once(child.stdout, "data");
    await use();
  } finally {
    child.stdin.end();
    await ended;
  }
}

test.each(["db", "lock"])("a node's data in use is left alone: its %s is locked", async (name) => {
  const copy = join(folder, `in-use-${name}`);
  cpSync(data, copy, { recursive: true });
  await holding(join(copy, "ledger-1", name), () =>
    expect(x1410("verify", "--data", copy)).rejects.toThrow(/ is in use; stop the node, or audit an export$/),
  );
  expect(await x1410("verify", "--data", copy)).toContain("intact: 4 blocks");
});
