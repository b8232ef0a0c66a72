// Killed at any instant, the ledger comes back with nothing acknowledged lost. X1410_CRASH_ROUNDS asks for a longer campaign.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import { Level } from "level";
import { afterAll, expect, test } from "vitest";
import { type Block, NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { pkiFixture } from "../communications/pki.fixture.ts";
import type { CrashMaterial } from "./crash.fixture.ts";
import { signerOf } from "./ledger.fixture.ts";
import { createLedgerNode, type LedgerNode } from "./server.ts";
import { verifyChain } from "./verify.ts";

const rounds = Number(process.env["X1410_CRASH_ROUNDS"] ?? "4");
const fixture = pkiFixture();
const folder = mkdtempSync(join(tmpdir(), "x1410-crash-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  fixture.remove();
});

const networkId = "crash.net";
const node = fixture.issue("ledger", "n1");
const management = fixture.issue("dssm", "m");
const trust = fixture.pki.verifier();
const database = join(folder, "db");
const materialFile = join(folder, "material.json");
const material: CrashMaterial = {
  networkId,
  node: { privateKeyPem: node.privateKeyPem, certificateChainPem: node.chainPem },
  management: { privateKeyPem: management.privateKeyPem, certificateChainPem: management.chainPem },
  anchorsPem: node.chainPem.slice(node.certificatePem.length) + node.caPem,
  crlsPem: node.crlPem,
};
writeFileSync(materialFile, JSON.stringify(material), { mode: 0o600 });

interface Acknowledged {
  readonly transactionId: string;
  readonly contractId: string;
}

/** Lets a node work until it has acknowledged `count` transactions, and kills it `delayMs` later. */
async function runAndKill(count: number, delayMs: number): Promise<Acknowledged[]> {
  const script = fileURLToPath(new URL("./crash.fixture.ts", import.meta.url));
  const child = spawn(process.execPath, [script, database, materialFile], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = new Promise<NodeJS.Signals | null>((resolve) => child.once("close", (_, signal) => resolve(signal)));
  const acknowledged: Acknowledged[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [transactionId = "", contractId = ""] = line.split(" ");
    // A line that the kill cut short was not given to anybody.
    if (contractId.length === 32) acknowledged.push({ transactionId, contractId });
    if (acknowledged.length === count) setTimeout(() => child.kill("SIGKILL"), delayMs);
  }
  expect(await closed).toBe("SIGKILL");
  return acknowledged;
}

async function openNode(db: Level): Promise<LedgerNode> {
  const signer = signerOf(node);
  const opened = await createLedgerNode({
    db,
    signer,
    trust,
    networkId,
    proposer: signer.identity,
    peers: [],
    quorum: 1,
    now: () => new Date(),
    parameters: () => create(NetworkParametersSchema, { networkId, quorum: 1 }),
  });
  await opened.start();
  return opened;
}

async function* blocksOf(opened: LedgerNode): AsyncGenerator<Block> {
  const client = bindDirect(opened.registrations[0], { peer: directPeer("urn:x1410:entity:operator:o") });
  for await (const { block } of client.streamBlocks({ fromHeight: 1n })) if (block !== undefined) yield block;
}

test(`${rounds} times killed under load: nothing acknowledged is lost, the chain verifies, and it goes on`, {
  timeout: 60_000 + rounds * 10_000,
}, async () => {
  const all: Acknowledged[] = [];
  for (let round = 0; round < rounds; round++) {
    const delayMs = Math.random() * 25;
    const acknowledged = await runAndKill(1 + Math.floor(Math.random() * 40), delayMs);
    expect(acknowledged.length).toBeGreaterThan(0);
    all.push(...acknowledged);
    const db = new Level(database);
    const opened = await openNode(db);
    for (const { transactionId, contractId } of all) {
      expect(
        (await opened.engine.get(transactionId))?.transactionId,
        `round ${round}, killed after ${delayMs} ms`,
      ).toBe(transactionId);
      expect((await opened.engine.contract(contractId))?.createdBy).toBe(transactionId);
    }
    const verdict = await verifyChain(blocksOf(opened), { trust, networkId });
    expect(verdict).toMatchObject({ intact: true });
    if (verdict.intact) expect(verdict.transactions).toBeGreaterThanOrEqual(BigInt(all.length));
    await opened.close();
    await db.close();
  }
});
