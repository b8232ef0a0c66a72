// Several nodes: one chain on all of them, what a caller learns when the quorum is short, and what they stream.
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Finality, RejectionReason, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { decodeHeader } from "./block.ts";
import type { Committed } from "./engine.ts";
import { hexId, networkId } from "./ledger.fixture.ts";
import {
  blocksOf,
  create3,
  engineOf,
  identities,
  network,
  networksOfFile,
  reaches,
  refusedWith,
  shortOfQuorum,
  sign,
  submit,
} from "./network.fixture.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { signTransaction, type TransactionAction } from "./transaction.ts";
import { verifyCommitted } from "./verify.ts";

networksOfFile();

test("every node holds and serves the same chain; receipts carry the words of the quorum", async () => {
  const [first, second, third] = create3();
  for (const node of network.nodes) await node.start();
  const { transactionId, receipt } = await submit(first);
  expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
  expect(receipt?.distribution.length).toBeGreaterThanOrEqual(1);
  for (const node of [first, second, third]) {
    await reaches(node, 1n);
    const committed = await engineOf(node).get(transactionId);
    if (committed === undefined) throw new RangeError("not found");
    const verdict = verifyCommitted(committed, network.trust, networkId);
    expect(verdict).toMatchObject({ valid: true, transaction: { networkId } });
  }
  await expect
    .poll(async () => {
      const committed = await engineOf(first).get(transactionId);
      const verdict = committed === undefined ? undefined : verifyCommitted(committed, network.trust);
      return verdict?.valid === true ? [...verdict.nodes].sort() : [];
    })
    .toEqual([first.identity, second.identity, third.identity]);
});

describe("evidence of the quorum", () => {
  const judged = (committed: Committed | undefined, quorum: number) =>
    verifyCommitted(committed ?? expect.unreachable("not found"), network.trust, networkId, quorum);

  test.each([2, 3])("of %i: every node shows it of what it calls final, and streams it", async (quorum) => {
    const nodes = create3(quorum);
    const [first, second, third] = nodes;
    await first.start();
    await second.start();
    if (quorum === 3) await third.start();
    const ids: string[] = [];
    for (let turn = 0; turn < 3; turn++) ids.push((await submit(first)).transactionId);
    // One that comes later is handed the receipts with the blocks.
    if (quorum === 2) await third.start();
    for (const node of nodes) {
      await expect.poll(async () => (await engineOf(node).head()).finalHeight, { timeout: 10_000 }).toBe(3n);
      const remote = new RemoteEngine({ networkId, nodes: [network.remote(node, network.management.identity)] });
      for (const id of ids) expect(judged(await engineOf(node).get(id), quorum)).toMatchObject({ valid: true });
      const subscription = remote.subscribe({ signal: AbortSignal.timeout(10_000) });
      for await (const committed of subscription) {
        expect(judged(committed, quorum)).toMatchObject({ valid: true });
        if (committed.transactionId === ids[2]) break;
      }
      await remote.close();
    }
    const committed = await engineOf(second).get(ids[0] ?? "");
    if (committed === undefined) return expect.unreachable("not found");
    const stripped = { ...committed, receipt: { ...committed.receipt, distribution: [] } };
    expect(judged(stripped, quorum)).toMatchObject({ valid: false, fault: "quorum" });
    expect(judged(stripped, 1)).toMatchObject({ valid: true });
  });

  test("comes with a subscription as it grows", async () => {
    const [first, second] = create3(3);
    for (const node of network.nodes) await node.start();
    const remote = new RemoteEngine({ networkId, nodes: [network.remote(second, network.management.identity)] });
    const subscription = remote.subscribe({ signal: AbortSignal.timeout(10_000) })[Symbol.asyncIterator]();
    for (let turn = 0; turn < 3; turn++) {
      const next = subscription.next();
      const { transactionId } = await submit(first);
      const { value } = await next;
      expect(value).toMatchObject({ transactionId });
      expect(judged(value ?? undefined, 3)).toMatchObject({ valid: true });
    }
    await subscription.return?.();
    await remote.close();
  });

  test("the proposer's word without it makes nothing final", async () => {
    const [first, second, third] = create3(3);
    await first.start({ quorum: 1 });
    let asked = 0;
    const peers = [first, third].map(({ identity }, index) => ({
      identity,
      get ledger() {
        const { ledger } = network.remote(index === 0 ? first : third, second.identity);
        return {
          ...ledger,
          getHead: (...of: Parameters<typeof ledger.getHead>) => ledger.getHead(...of).finally(() => asked++),
        };
      },
    }));
    await second.start({ peers });
    await submit(first);
    await reaches(second, 1n);
    const before = asked;
    // What follows the first answer after the block is done when the second is there.
    await expect.poll(() => asked, { timeout: 10_000 }).toBeGreaterThan(before + 2);
    expect(await engineOf(first).head()).toMatchObject({ height: 1n, finalHeight: 1n });
    expect(await engineOf(second).head()).toMatchObject({ height: 1n, finalHeight: 0n });
    await third.start();
    await expect.poll(async () => (await engineOf(second).head()).finalHeight, { timeout: 10_000 }).toBe(1n);
  });

  test("holds no receipt of a node whose certificate was none at the time of the block, wherever it is kept", async () => {
    const [first, second, third] = create3();
    const now = (): Date => new Date(Date.now() + 61_000);
    await first.start({ now });
    await second.start({ now });
    await third.start({ now, signer: identities.renewed("ledger", third.name, 60_000) });
    const { transactionId } = await submit(first);
    await reaches(third, 1n);
    await third.stop();
    await first.stop();
    await first.start({ now });
    for (const node of [first, second]) {
      expect(judged(await engineOf(node).get(transactionId), 2)).toMatchObject({ valid: true });
    }
    await third.start({ now });
    expect(judged(await engineOf(third).get(transactionId), 1)).toMatchObject({ valid: true });
  });
});

test("who subscribes is shown the quorum's receipts also of blocks that were under way when they became final", async () => {
  const [first, second] = create3();
  await first.start();
  const ids: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const signed = sign();
    await engineOf(first).submit([signed.envelope], { wait: Finality.INCLUDED });
    ids.push(signed.transactionId);
  }
  const { ledger, contracts } = network.remote(first, network.management.identity);
  /** Both blocks are on their way before either is final. */
  async function* early(...call: Parameters<typeof ledger.streamBlocks>) {
    const received = [];
    for await (const one of ledger.streamBlocks(...call)) if (received.push(one) === ids.length) break;
    await second.start();
    await expect.poll(async () => (await engineOf(first).head()).finalHeight, { timeout: 10_000 }).toBe(2n);
    yield* received;
  }
  const nodes = [{ ledger: { ...ledger, streamBlocks: early }, contracts }];
  const remote = new RemoteEngine({ networkId, nodes, retryMs: 10 });
  const shown: string[] = [];
  for await (const committed of remote.subscribe({ signal: AbortSignal.timeout(20_000) })) {
    expect(verifyCommitted(committed, network.trust, networkId, 2)).toMatchObject({ valid: true });
    shown.push(committed.transactionId);
    if (shown.length === ids.length) break;
  }
  expect(shown).toEqual(ids);
  await remote.close();
});

describe("the quorum", () => {
  test("short of it the outcome is unknown, never a yes or a no; the identical bytes give the answer later", async () => {
    const [first, second] = create3();
    await first.start(shortOfQuorum);
    const signed = sign();
    expect(await refusedWith(engineOf(first).submit([signed.envelope]))).toEqual(["Unavailable", "OUTCOME_UNKNOWN"]);
    const { finalHeight, height } = await engineOf(first).head();
    expect([height, finalHeight]).toEqual([1n, 0n]);
    await second.start();
    await expect.poll(async () => (await engineOf(first).head()).finalHeight, { timeout: 10_000 }).toBe(1n);
    const [receipt] = await engineOf(first).submit([signed.envelope]);
    expect(receipt).toMatchObject({ outcome: TransactionOutcome.ACCEPTED, blockHeight: 1n });
  });

  test("a refusal waits for it too: the second of one access is told so once the first is final", async () => {
    const [first, second] = create3();
    await first.start();
    await second.start();
    const contractId = hexId();
    const terms = { contractId, withAccessPermission: true, accessTimes: 1 };
    const act = (action: TransactionAction) =>
      engineOf(first).submit([signTransaction(network.management, networkId, action, new Date()).envelope]);
    await act({ case: "createContract", value: terms });
    await second.stop();
    const access = () => {
      const consumerPseudonym = new Uint8Array(32);
      return act({ case: "recordAccess", value: { accessId: hexId(), contractId, consumerPseudonym } });
    };
    const answered: string[] = [];
    const one = access().finally(() => answered.push("one"));
    await reaches(first, 2n);
    const two = access().finally(() => answered.push("two"));
    // What depends on no block is answered meanwhile, though it was judged later.
    const elsewhere = signTransaction(
      network.management,
      "other.net",
      { case: "createContract", value: terms },
      new Date(),
    );
    const [malformed] = await engineOf(first).submit([elsewhere.envelope]);
    expect(malformed?.rejection).toBe(RejectionReason.MALFORMED);
    expect(answered).toEqual([]);
    await second.start();
    expect(await one).toMatchObject([{ outcome: TransactionOutcome.ACCEPTED }]);
    expect(await two).toMatchObject([{ rejection: RejectionReason.ACCESS_TIMES_EXHAUSTED }]);
  });

  test("without it the chain stops growing, and what is not written is refused plainly", async () => {
    const [first, second] = create3();
    await first.start(shortOfQuorum);
    for (let turn = 0; turn < 2; turn++) {
      expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "OUTCOME_UNKNOWN"]);
    }
    const third = sign();
    expect(await refusedWith(engineOf(first).submit([third.envelope]))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    expect((await engineOf(first).head()).height).toBe(2n);
    await second.start();
    await expect.poll(async () => (await engineOf(first).head()).finalHeight, { timeout: 10_000 }).toBe(2n);
    const [receipt] = await engineOf(first).submit([third.envelope]);
    expect(receipt).toMatchObject({ outcome: TransactionOutcome.ACCEPTED, blockHeight: 3n });
  });

  test("what finds no room in the queue is refused as a whole, and nothing of it recorded", async () => {
    const [first, second] = create3();
    await first.start({ maxQueued: 2 });
    for (let turn = 0; turn < 2; turn++) {
      await engineOf(first).submit([sign().envelope], { wait: Finality.INCLUDED });
    }
    const queued = sign();
    const waiting = engineOf(first).submit([queued.envelope]);
    const two = [sign(), sign()];
    const envelopes = two.map(({ envelope }) => envelope);
    expect(await refusedWith(engineOf(first).submit(envelopes))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    // Of these, one waits already, for somebody else.
    const beside = engineOf(first).submit([queued.envelope, ...envelopes]);
    expect(await refusedWith(beside)).toEqual(["Unavailable", "OUTCOME_UNKNOWN"]);
    await second.start();
    expect(await waiting).toMatchObject([{ outcome: TransactionOutcome.ACCEPTED, blockHeight: 3n }]);
    for (const { transactionId } of two) expect(await engineOf(first).get(transactionId)).toBeUndefined();
    const { ACCEPTED } = TransactionOutcome;
    expect(await engineOf(first).submit(envelopes)).toMatchObject([{ outcome: ACCEPTED }, { outcome: ACCEPTED }]);
  });

  test("a follower that cannot learn from the proposer how far it is asks ever less often", async () => {
    const [first, second, third] = create3(3);
    const asked: number[] = [];
    const enough = Promise.withResolvers<void>();
    const getHead = () => {
      if (asked.push(performance.now()) === 5) enough.resolve();
      return Promise.reject(new ConnectError("away", Code.Unavailable));
    };
    await first.start();
    const { ledger } = network.remote(first, second.identity);
    const peers = [
      { identity: first.identity, ledger: { ...ledger, getHead } },
      { identity: third.identity, ledger },
    ];
    await second.start({ peers });
    await engineOf(first).submit([sign().envelope], { wait: Finality.INCLUDED });
    await enough.promise;
    const [start = 0, ...later] = asked;
    // 100, 200, 400 and 800 ms; at an even pace it would be 200.
    expect((later[3] ?? 0) - start).toBeGreaterThan(1_000);
  });

  test("one node away costs nothing, and it catches up", async () => {
    const [first, second, third] = create3();
    await first.start();
    await second.start();
    for (let turn = 0; turn < 5; turn++) await submit(first);
    await third.start();
    await reaches(third, 5n);
    await submit(first);
    await reaches(third, 6n);
    await third.stop();
    await submit(first);
    await third.start();
    await reaches(third, 7n);
    expect(await engineOf(third).head()).toMatchObject({ height: 7n });
    await reaches(second, 7n);
  });

  test("a quorum that no number of nodes can reach is refused at once", async () => {
    const [first] = create3();
    await expect(first.start({ quorum: 4 })).rejects.toThrow(RangeError);
  });

  test.each([2, 3])(
    "of %i: what was final stays so for followers that are started without the proposer, also for who subscribes there",
    async (quorum) => {
      const [first, second, third] = create3(quorum);
      for (const node of network.nodes) await node.start();
      const { transactionId } = await submit(first);
      for (const node of [second, third]) {
        await expect.poll(async () => (await engineOf(node).head()).finalHeight, { timeout: 10_000 }).toBe(1n);
      }
      for (const node of network.nodes) await node.stop();
      for (const node of [second, third]) await node.start();
      const nodes = [second, third].map((node) => network.remote(node, network.management.identity));
      const remote = new RemoteEngine({ networkId, nodes, retryMs: 10 });
      for (const engine of [engineOf(second), engineOf(third), remote]) {
        expect(await engine.head()).toMatchObject({ height: 1n, finalHeight: 1n });
        expect((await engine.get(transactionId))?.receipt.finality).toBe(Finality.FINAL);
        const subscription = engine.subscribe({ signal: AbortSignal.timeout(10_000) })[Symbol.asyncIterator]();
        expect((await subscription.next()).value).toMatchObject({ transactionId });
        await subscription.return?.();
      }
      await remote.close();
    },
  );

  test("final stays final over a restart of the proposer", async () => {
    const [first, second] = create3();
    await first.start();
    await second.start();
    await submit(first);
    await second.stop();
    await first.stop();
    await first.start();
    expect((await engineOf(first).head()).finalHeight).toBe(1n);
  });
});

describe("streams", () => {
  test("follow, resume by height, and are limited for each identity", async () => {
    const [first] = create3();
    await first.start({ quorum: 1 });
    await submit(first);
    await submit(first);
    const { ledger } = network.remote(first, network.management.identity);
    const ended = new AbortController();
    const heights: bigint[] = [];
    const following = refusedWith(
      (async () => {
        for await (const block of blocksOf(
          ledger.streamBlocks({ fromHeight: 2n, follow: true }, { signal: ended.signal }),
        )) {
          heights.push(decodeHeader(block.header?.payload ?? new Uint8Array()).height);
          if (heights.length === 2) ended.abort();
        }
      })(),
    );
    await submit(first);
    expect((await following)[0]).toBe("Canceled");
    expect(heights).toEqual([2n, 3n]);
    const beyond = blocksOf(ledger.streamBlocks({ fromHeight: 9n }));
    expect(await refusedWith(beyond.next())).toEqual(["NotFound", "BLOCK_NOT_FOUND"]);
    const many = new AbortController();
    const open = Array.from({ length: 16 }, () =>
      blocksOf(ledger.streamBlocks({ fromHeight: 1n, follow: true }, { signal: many.signal })),
    );
    for (const stream of open) await stream.next();
    const oneMore = blocksOf(ledger.streamBlocks({ fromHeight: 1n, follow: true }));
    expect(await refusedWith(oneMore.next())).toEqual(["ResourceExhausted", "SUBSCRIPTION_LIMIT"]);
    many.abort();
    await Promise.allSettled(open.map((stream) => stream.next()));
  });

  test("what is not there", async () => {
    const [first] = create3();
    await first.start({ quorum: 1 });
    const { ledger, contracts } = network.remote(first, network.management.identity);
    expect(await refusedWith(ledger.getHead({}))).toEqual(["NotFound", "BLOCK_NOT_FOUND"]);
    const nothing = ledger.getTransaction({ transactionId: "0".repeat(64) });
    expect(await refusedWith(nothing)).toEqual(["NotFound", "TRANSACTION_NOT_FOUND"]);
    const contractAddress = `x1410://dlt.${networkId}/contracts/${hexId()}`;
    expect(await refusedWith(contracts.getContract({ contractAddress }))).toEqual(["NotFound", "CONTRACT_NOT_FOUND"]);
  });
});
