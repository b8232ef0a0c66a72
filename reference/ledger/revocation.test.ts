// A certificate is revoked while its holder works: nodes learn of it at different times, and must all go on with the same chain.
import { describe, expect, test } from "vitest";
import { type Block, RejectionReason, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import type { Signer } from "../envelope/signer.ts";
import type { FixtureNode } from "./ledger.fixture.ts";
import {
  blockAfter,
  blocksOf,
  create3,
  engineOf,
  hand,
  headOfNode,
  identities,
  network,
  networksOfFile,
  reaches,
  refusedWith,
  sign,
  statusOf,
  submit,
} from "./network.fixture.ts";
import { REVOCATION_GRACE_MS } from "./trust-at-time.ts";
import { verifyChain } from "./verify.ts";

networksOfFile();

const { ACCEPTED } = TransactionOutcome;
const { SIGNATURE_INVALID } = RejectionReason;

async function outcomeOf(node: FixtureNode, ...signers: Signer[]) {
  const receipts = await engineOf(node).submit(signers.map((signer) => sign(signer).envelope));
  return receipts.map(({ outcome, rejection }) => (outcome === TransactionOutcome.REJECTED ? rejection : outcome));
}

/** Every block on this node, and what somebody puts after them, audited by one who knows all revocations. */
async function audited(node: FixtureNode, ...further: Block[]) {
  const { ledger } = network.remote(node, node.identity);
  async function* blocks() {
    yield* blocksOf(ledger.streamBlocks({ fromHeight: 1n }));
    yield* further;
  }
  return verifyChain(blocks(), network);
}

const doomedManagement = (): Signer => identities.renewed("dssm", "doomed");

test("what stood in a block up to the last moment is good for who catches up and for auditors; nothing more is let in", async () => {
  const [first, second, third] = create3();
  const doomed = doomedManagement();
  await first.start();
  await second.start();
  expect(await outcomeOf(first, doomed)).toEqual([ACCEPTED]);
  identities.revoke(doomed);
  expect(await outcomeOf(first, doomed, network.management)).toEqual([SIGNATURE_INVALID, ACCEPTED]);
  await third.start();
  for (const node of [first, second, third]) {
    await reaches(node, 2n);
    expect(await statusOf(node)).toMatchObject({ accepting: true });
    expect(await audited(node)).toMatchObject({ intact: true, transactions: 2n });
  }
});

const orders = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
];
test.each(orders)(
  "nodes that learn of a revocation in the order %i, %i, %i all take the same blocks",
  async (...order) => {
    const nodes = create3(3);
    const trusts = nodes.map(() => identities.separateTrust());
    for (const [index, node] of nodes.entries())
      await node.start({ trust: trusts[index] ?? expect.unreachable("trust") });
    const doomed = doomedManagement();
    expect(await outcomeOf(nodes[0], doomed)).toEqual([ACCEPTED]);
    identities.revoke(doomed);
    let proposerKnows = false;
    for (const index of order) {
      trusts[index]?.learn();
      proposerKnows ||= index === 0;
      const first = proposerKnows ? SIGNATURE_INVALID : ACCEPTED;
      expect(await outcomeOf(nodes[0], doomed, network.management)).toEqual([first, ACCEPTED]);
    }
    for (const node of nodes) {
      await reaches(node, 4n);
      expect(await statusOf(node)).toMatchObject({ accepting: true });
      expect(await audited(node)).toMatchObject({ intact: true });
    }
  },
);

describe("between submission and block", () => {
  /** Submits when the proposer may form no block before its quorum is back, which it is after `meanwhile`. */
  async function whileQueued(signer: Signer, now: () => Date, meanwhile: () => void) {
    const [first, second] = create3();
    await first.start({ now });
    await second.start({ now });
    await submit(first);
    await second.stop();
    const ahead: Promise<unknown>[] = [];
    for (const height of [2n, 3n]) {
      ahead.push(submit(first));
      await reaches(first, height);
    }
    const outcomes = outcomeOf(first, signer, network.management);
    meanwhile();
    await second.start({ now });
    await Promise.all(ahead);
    const answered = await outcomes;
    await reaches(second, 4n);
    expect(await audited(second)).toMatchObject({ intact: true, transactions: answered[0] === ACCEPTED ? 5n : 4n });
    return answered;
  }

  test("what stays good goes into the block", async () => {
    const nothing = (): void => undefined;
    expect(await whileQueued(doomedManagement(), () => new Date(), nothing)).toEqual([ACCEPTED, ACCEPTED]);
  });

  test("a transaction whose signer was revoked is rejected, and what waited with it goes on", async () => {
    const doomed = doomedManagement();
    const revoke = (): void => identities.revoke(doomed);
    expect(await whileQueued(doomed, () => new Date(), revoke)).toEqual([SIGNATURE_INVALID, ACCEPTED]);
  });

  test("a transaction whose signer's certificate ran out is rejected, and what waited with it goes on", async () => {
    let ahead = 0;
    const now = (): Date => new Date(Date.now() + ahead);
    const shortLived = identities.renewed("dssm", "short", 60_000);
    const runOut = (): void => {
      ahead = 61_000;
    };
    expect(await whileQueued(shortLived, now, runOut)).toEqual([SIGNATURE_INVALID, ACCEPTED]);
  });
});

describe("beyond the grace", () => {
  const later = REVOCATION_GRACE_MS + 60_000;

  /** Two nodes whose clocks are beyond the grace of what is revoked now, with one block of before. */
  async function beyond() {
    const [first, second] = create3();
    const doomed = doomedManagement();
    const revoked = identities.renewed("ledger", first.name);
    let ahead = 0;
    const now = (): Date => new Date(Date.now() + ahead);
    await first.start({ now, signer: revoked });
    await second.start({ now });
    await submit(first);
    await reaches(second, 1n);
    const before = Math.floor(Date.now() / 1000) * 1000;
    identities.revoke(doomed);
    const after = Math.floor(Date.now() / 1000) * 1000;
    ahead = later;
    const head = await headOfNode(first);
    return {
      first,
      second,
      doomed,
      revoked,
      head,
      lastGood: before + REVOCATION_GRACE_MS - 1,
      counts: after + REVOCATION_GRACE_MS,
    };
  }
  const invalid = ["FailedPrecondition", "BLOCK_INVALID"];

  test("a block with a transaction of a revoked signer is refused by name, stops nobody, and the last one before it is taken", async () => {
    const { first, second, doomed, revoked, head, lastGood, counts } = await beyond();
    const made = (time: number) =>
      blockAfter(head, revoked, { timeUnixMs: BigInt(time), transactions: [sign(doomed).envelope] });
    expect(await refusedWith(hand(second, made(counts), first.identity))).toEqual(invalid);
    expect(await statusOf(second)).toMatchObject({ accepting: true, height: 1n });
    expect(await audited(second, made(counts))).toMatchObject({
      fault: "signer-revoked",
      height: 2n,
      transactionIndex: 0,
    });
    expect((await hand(second, made(lastGood), first.identity)).receipt).toBeDefined();
    expect(await audited(second)).toMatchObject({ intact: true, transactions: 2n });
  });

  test("a block of a revoked proposer is refused by name, stops nobody, and the last one before it is taken", async () => {
    const { first, second, revoked, head } = await beyond();
    const before = Math.floor(Date.now() / 1000) * 1000;
    identities.revoke(revoked);
    const after = Math.floor(Date.now() / 1000) * 1000;
    const made = (time: number) => blockAfter(head, revoked, { timeUnixMs: BigInt(time) });
    const late = made(after + REVOCATION_GRACE_MS);
    expect(await refusedWith(hand(second, late, first.identity))).toEqual(invalid);
    expect(await statusOf(second)).toMatchObject({ accepting: true, height: 1n });
    expect(await audited(second, late)).toMatchObject({ fault: "signer-revoked", height: 2n });
    expect((await hand(second, made(before + REVOCATION_GRACE_MS - 1), first.identity)).receipt).toBeDefined();
  });
});
