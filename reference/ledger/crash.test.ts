// Killed at any instant, the ledger comes back with nothing acknowledged lost: one node, and three whose process dies with all of them.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import type { Block } from "../../gen/x1410/v1/ledger_pb.ts";
import { campaign } from "../../tools/seeded-share.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { pkiFixture } from "../communications/pki.fixture.ts";
import { type CrashMaterial, openNodes } from "./crash.fixture.ts";
import type { LedgerNode } from "./server.ts";
import { verifyChain } from "./verify.ts";

const fixture = pkiFixture();
const folder = mkdtempSync(join(tmpdir(), "x1410-crash-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  fixture.remove();
});

const networkId = "crash.net";
const trust = fixture.pki.verifier();
const issued = ["n1", "n2", "n3"].map((name) => fixture.issue("ledger", name));
const management = fixture.issue("dssm", "m");

function materialOf(count: number): CrashMaterial {
  const [first] = issued;
  if (first === undefined) throw new RangeError("no node");
  const pem = ({ privateKeyPem, chainPem }: typeof first) => ({ privateKeyPem, certificateChainPem: chainPem });
  return {
    networkId,
    nodes: issued.slice(0, count).map(pem),
    quorum: Math.floor(count / 2) + 1,
    management: pem(management),
    anchorsPem: first.chainPem.slice(first.certificatePem.length) + first.caPem,
    crlsPem: first.crlPem,
  };
}

interface Acknowledged {
  readonly transactionId: string;
  readonly contractId: string;
}

/** Lets the nodes work until they have acknowledged `count` transactions, and kills them `delayMs` later. */
async function runAndKill(
  databases: string,
  material: string,
  count: number,
  delayMs: number,
): Promise<Acknowledged[]> {
  const script = fileURLToPath(new URL("./crash.fixture.ts", import.meta.url));
  const child = spawn(process.execPath, [script, databases, material], { stdio: ["ignore", "pipe", "inherit"] });
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

async function* blocksOf(node: LedgerNode): AsyncGenerator<Block> {
  const client = bindDirect(node.registrations[0], { peer: directPeer("urn:x1410:entity:operator:o") });
  for await (const { block } of client.streamBlocks({ fromHeight: 1n })) if (block !== undefined) yield block;
}

async function holds(node: LedgerNode, all: readonly Acknowledged[], when: string): Promise<void> {
  for (const { transactionId, contractId } of all) {
    expect((await node.engine.get(transactionId))?.transactionId, when).toBe(transactionId);
    expect((await node.engine.contract(contractId))?.createdBy, when).toBe(transactionId);
  }
  const verdict = await verifyChain(blocksOf(node), { trust, networkId });
  expect(verdict, when).toMatchObject({ intact: true });
  if (verdict.intact) expect(verdict.transactions).toBeGreaterThanOrEqual(BigInt(all.length));
}

test.each([
  { count: 1, rounds: campaign ? 100 : 2 },
  { count: 3, rounds: campaign ? 100 : 1 },
])(
  "$rounds times killed under load, $count node(s): nothing acknowledged is lost, the chain verifies, and it goes on",
  {
    timeout: 1_800_000,
  },
  async ({ count, rounds }) => {
    const databases = join(folder, String(count));
    const material = materialOf(count);
    const materialFile = join(folder, `${count}.json`);
    mkdirSync(databases);
    writeFileSync(materialFile, JSON.stringify(material), { mode: 0o600 });
    const all: Acknowledged[] = [];
    for (let round = 0; round < rounds; round++) {
      const delayMs = Math.random() * 25;
      const acknowledged = await runAndKill(databases, materialFile, 1 + Math.floor(Math.random() * 40), delayMs);
      expect(acknowledged.length).toBeGreaterThan(0);
      all.push(...acknowledged);
      const { nodes, close } = await openNodes(databases, material);
      const when = `round ${round}, killed after ${delayMs} ms`;
      const proposer = await nodes[0]?.engine.head();
      for (const node of nodes) {
        await expect
          .poll(() => node.engine.head(), { interval: 5, timeout: 20_000 })
          .toMatchObject({
            blockHash: proposer?.blockHash,
          });
      }
      // Of several nodes the last one: it took over every block from the others.
      await holds(nodes.at(-1) as LedgerNode, all, when);
      await close();
    }
  },
);
