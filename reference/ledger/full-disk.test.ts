// A disk that is really full: a file system in memory of a few MiB, which takes the right to mount one. Writes are refused clearly while it
// is full, and go on by themselves when there is room again.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmdirSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import type { LedgerEngine } from "./engine.ts";
import { type FixtureNode, hexId, ledgerFixture, ledgerIdentities, networkId } from "./ledger.fixture.ts";
import { type SignedTransaction, signTransaction } from "./transaction.ts";
import { verifyChain } from "./verify.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-full-disk-"));
const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m", "x1410", folder], { encoding: "utf8" });
const mounted = mount.status === 0;
const why = mounted ? "" : (mount.error?.message ?? mount.stderr).trim().split("\n")[0];
const identities = ledgerIdentities();
const network = ledgerFixture({ identities, count: 1, quorum: 1, folder });
const node = network.nodes[0] as FixtureNode;

afterAll(async () => {
  await network.close();
  if (mounted) spawnSync("umount", [folder]);
  rmdirSync(folder);
  identities.remove();
});

const sign = (): SignedTransaction =>
  signTransaction(
    network.management,
    networkId,
    { case: "createContract", value: { contractId: hexId() } },
    new Date(),
  );

/** Takes what is left of the file system. */
function fill(path: string): void {
  const file = openSync(path, "w");
  const chunk = Buffer.alloc(4096);
  try {
    for (;;) writeSync(file, chunk);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause;
  } finally {
    closeSync(file);
  }
}

/** Submits until the disk takes no more; answers what was acknowledged, and the submission that was not. */
async function submitUntilRefused(engine: LedgerEngine) {
  const acknowledged: string[] = [];
  for (;;) {
    const signed = sign();
    const answer = await engine.submit([signed.envelope]).catch(ConnectError.from);
    if (answer instanceof ConnectError) return { acknowledged, refused: signed, reason: reasonOf(answer) };
    expect(answer[0]?.outcome).toBe(TransactionOutcome.ACCEPTED);
    acknowledged.push(signed.transactionId);
  }
}

test.skipIf(!mounted)(
  mounted
    ? "a full disk: refused, nothing acknowledged is lost, and writes go on when there is room"
    : `NOT RUN: ${why}`,
  async () => {
    const { engine } = await node.start();
    const acknowledged: string[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const ballast = join(folder, "ballast");
      fill(ballast);
      const full = await submitUntilRefused(engine);
      acknowledged.push(...full.acknowledged);
      expect([ErrorReason.LEDGER_UNAVAILABLE, ErrorReason.OUTCOME_UNKNOWN]).toContain(full.reason);
      // Still full: a plain no, again and again.
      for (let attempt = 0; attempt < 3; attempt++) {
        const refused = await engine.submit([sign().envelope]).catch(ConnectError.from);
        expect(reasonOf(refused)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
      }
      for (const id of acknowledged) expect((await engine.get(id))?.transactionId).toBe(id);
      unlinkSync(ballast);
      const [receipt] = await engine.submit([full.refused.envelope]);
      expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
      acknowledged.push(full.refused.transactionId);
      for (const id of acknowledged) expect((await engine.get(id))?.transactionId).toBe(id);
    }
    await node.stop();
    const again = await node.start();
    for (const id of acknowledged) expect((await again.engine.get(id))?.transactionId).toBe(id);
    const blocks = [];
    const { ledger } = network.remote(node, network.management.identity);
    for await (const { block } of ledger.streamBlocks({ fromHeight: 1n })) if (block !== undefined) blocks.push(block);
    expect(await verifyChain(blocks, network)).toMatchObject({ intact: true });
  },
);
