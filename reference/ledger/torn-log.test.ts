// Any write that fails leaves a piece of itself in LevelDB's log, and a restart finds nothing of what stands behind it: not only the write of a
// block.
import { existsSync, readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { beforeFirstBlock, formBlock } from "./block.ts";
import { signReceipt } from "./block-receipt.ts";
import { ChainStore } from "./chain-store.ts";
import { type FixtureNode, networkId } from "./ledger.fixture.ts";
import { LedgerState } from "./ledger-state.ts";
import { create3, engineOf, networksOfFile, sign, submit } from "./network.fixture.ts";

networksOfFile();

type Operations = readonly { readonly key: string }[];
type Write = (operations: Operations, options?: object) => Promise<void>;

/** The log that LevelDB writes now. */
function logOf({ directory }: FixtureNode): string {
  const [name] = readdirSync(directory).filter((one) => one.endsWith(".log"));
  return join(directory, name ?? expect.unreachable("no log"));
}

/** Lets one write of this kind fail; what comes into the same log behind it is gone at the next start, as LevelDB has it. */
function tearAt(node: FixtureNode, kind: (operations: Operations) => boolean) {
  const write = node.db.batch.bind(node.db) as unknown as Write;
  const torn = Promise.withResolvers<{ readonly log: string; readonly size: number }>();
  const tearing: Write = async (operations, options) => {
    if (!kind(operations)) return write(operations, options);
    Object.assign(node.db, { batch: write });
    const log = logOf(node);
    torn.resolve({ log, size: statSync(log).size });
    throw Object.assign(new Error("no space left on device"), { code: "LEVEL_IO_ERROR" });
  };
  Object.assign(node.db, { batch: tearing });
  return {
    torn: torn.promise,
    async restart(): Promise<void> {
      const { log, size } = await torn.promise;
      await node.stop();
      if (existsSync(log)) truncateSync(log, size);
      await node.start();
    },
  };
}

describe("what is acknowledged after it is there after a restart", () => {
  const alone = (operations: Operations): boolean => operations.length === 1;
  test.each([
    ["another node's receipt", (operations: Operations) => alone(operations) && operations[0]?.key !== "final"],
    ["what is final", (operations: Operations) => alone(operations) && operations[0]?.key === "final"],
  ])("%s could not be written", async (_, kind) => {
    const [first, second] = create3();
    await first.start();
    await second.start();
    const { torn, restart } = tearAt(first, kind);
    const acknowledged = [(await submit(first)).transactionId];
    await torn;
    for (let turn = 0; turn < 3; turn++) {
      const { transactionId, receipt } = await submit(first);
      expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
      acknowledged.push(transactionId);
    }
    // Nobody is left to fetch it from.
    await second.stop();
    await restart();
    for (const id of acknowledged) expect((await engineOf(first).get(id))?.transactionId).toBe(id);
    expect(await engineOf(first).head()).toMatchObject({ height: 4n, finalHeight: 4n });
  });
});

describe("a store of which a write has failed", () => {
  const failure = Object.assign(new Error("no space left on device"), { code: "LEVEL_IO_ERROR" });

  async function opened() {
    const [{ db, signer }] = create3();
    const store = await ChainStore.open(db, networkId);
    const { envelope, transactionId } = sign();
    const form = { networkId, previous: beforeFirstBlock, transactions: [envelope], proposer: signer };
    const { block, head } = formBlock({ ...form, timeUnixMs: BigInt(Date.now()) });
    const state = new LedgerState(store);
    state.setPlaceOf(transactionId, { height: 1n, index: 0 });
    const receipt = signReceipt(signer, block.header?.payload ?? new Uint8Array());
    return {
      db,
      store,
      append: () => store.append(block, head, state.changes),
      putReceipt: () => store.putReceipt(1n, signer.identity, receipt),
    };
  }

  test("takes no other before it has been opened anew", async () => {
    const { db, store, append, putReceipt } = await opened();
    vi.spyOn(db, "batch").mockRejectedValueOnce(failure as never);
    await expect(putReceipt()).rejects.toBe(failure);
    for (const write of [append, putReceipt]) {
      expect(reasonOf(await write().catch(ConnectError.from))).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    }
    await store.reopen();
    await putReceipt();
    await append();
    expect(store.head.height).toBe(1n);
    await store.close();
  });

  test("does not vouch for the block that was under way, and knows after it has been opened anew whether it is there", async () => {
    const { db, store, append, putReceipt } = await opened();
    const write = db.batch.bind(db) as unknown as Write;
    const receiptFailed = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const batch: Write = async (operations, options) => {
      if (operations.length === 1) throw failure;
      arrived.resolve();
      await receiptFailed.promise;
      await write(operations, options);
    };
    Object.assign(db, { batch });
    const appended = append().then(
      () => expect.unreachable("it stands behind the piece of another"),
      (cause: unknown) => cause,
    );
    await arrived.promise;
    await expect(putReceipt()).rejects.toBe(failure);
    receiptFailed.resolve();
    expect(await appended).toMatchObject({ code: "EIO" });
    expect(store.head.height).toBe(0n);
    await store.reopen();
    expect(store.head.height).toBe(1n);
    await store.close();
  });
});
