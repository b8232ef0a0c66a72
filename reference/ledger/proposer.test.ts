// Who proposes blocks, and how that changes: handed over in order, or taken over on an operator's word where the proposer can do no more.
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { RejectionReason, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import type { Signer } from "../envelope/signer.ts";
import { type ChainHead, NO_BLOCK_HASH } from "./block.ts";
import { type FixtureNode, hexId, networkId } from "./ledger.fixture.ts";
import { sha256 } from "./merkle.ts";
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
  shortOfQuorum,
  sign,
  statusOf,
  submit,
} from "./network.fixture.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { signTransaction } from "./transaction.ts";
import { verifyChain } from "./verify.ts";

networksOfFile();

const operator = identities.signer("operator", "o");
const notProposer = ["FailedPrecondition", "NOT_PROPOSER"];

/** Says that this signer proposes next; with a hash, directly after that block and no other. */
function order(next: Signer, afterBlockHash: Uint8Array = new Uint8Array(), by = operator): Uint8Array {
  const publicKeySha256 = sha256(next.publicKey.spki);
  const value = { proposer: next.identity, publicKeySha256, afterBlockHash: new Uint8Array(afterBlockHash) };
  return signTransaction(by, networkId, { case: "changeProposer", value }, new Date()).envelope;
}

async function outcomeOf(node: FixtureNode, envelope: Uint8Array) {
  const [receipt] = await engineOf(node).submit([envelope]);
  return receipt?.outcome === TransactionOutcome.REJECTED ? receipt.rejection : receipt?.outcome;
}

/** Every block on this node, audited. */
async function audited(node: FixtureNode) {
  const { ledger } = network.remote(node, node.identity);
  return verifyChain(blocksOf(ledger.streamBlocks({ fromHeight: 1n })), network);
}

/** Three nodes with some blocks, all of them everywhere. */
async function running(blocks = 2, settings = {}): Promise<[FixtureNode, FixtureNode, FixtureNode]> {
  const nodes = create3();
  for (const node of nodes) await node.start(settings);
  for (let turn = 0; turn < blocks; turn++) await submit(nodes[0]);
  for (const node of nodes) await reaches(node, BigInt(blocks));
  return nodes;
}

describe("who proposes", () => {
  test("while the proposer is down, writes are refused and reads go on", async () => {
    const [first, second, third] = create3();
    for (const node of network.nodes) await node.start();
    const { transactionId } = await submit(first);
    await reaches(second, 1n);
    await first.stop();
    const nodes = [first, second, third].map((node) => network.remote(node, network.management.identity));
    const remote = new RemoteEngine({ networkId, nodes });
    const failure = await remote.submit([sign().envelope]).then(() => undefined, ConnectError.from);
    expect(failure?.code).toBe(Code.Unavailable);
    expect((await remote.get(transactionId))?.transactionId).toBe(transactionId);
    expect(await refusedWith(engineOf(second).submit([sign().envelope]))).toEqual(notProposer);
    await remote.close();
  });

  test.each([
    ["an operator", () => operator],
    ["the proposer itself", (first: FixtureNode) => first.signer],
  ])(
    "handed over by %s: the next node proposes, the former one follows, every node verifies, also after a restart",
    async (_, by) => {
      const [first, second, third] = await running();
      expect(await outcomeOf(first, order(second.signer, undefined, by(first)))).toBe(TransactionOutcome.ACCEPTED);
      await reaches(second, 3n);
      expect((await statusOf(first)).proposer).toBe(false);
      expect((await statusOf(second)).proposer).toBe(true);
      expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(notProposer);
      await submit(second);
      for (const node of [first, second, third]) await reaches(node, 4n);
      for (const node of [first, second, third]) await node.stop();
      for (const node of [first, second, third]) await node.start();
      await submit(second);
      for (const node of [first, second, third]) {
        await reaches(node, 5n);
        expect(await audited(node)).toMatchObject({ intact: true, transactions: 5n });
      }
    },
  );

  test("a node that takes over a long chain asks the others where they are, and does not hand on all of it again", async () => {
    const [first, second, third] = await running(40);
    await outcomeOf(first, order(second.signer));
    await reaches(second, 41n);
    await submit(second);
    await reaches(third, 42n);
    expect(
      (await engineOf(second).get((await submit(second)).transactionId))?.receipt.distribution.length,
    ).toBeGreaterThan(0);
    const early = await second.db.sublevel("receipts").keys({ lt: "0000000000000010" }).all();
    expect(early.filter((key) => !key.endsWith(second.identity))).toEqual([]);
  });

  test.each([
    ["another node", () => identities.signer("ledger", "n2")],
    ["a management", () => network.management],
    ["a user", () => identities.signer("user", "u")],
  ])("%s hands nothing over", async (_, by) => {
    const [first, second] = await running(1);
    const { hash } = await headOfNode(first);
    const wrong = [RejectionReason.SIGNER_NOT_ALLOWED, RejectionReason.MALFORMED];
    expect(wrong).toContain(await outcomeOf(first, order(second.signer, hash, by())));
    expect(await refusedWith(engineOf(second).submit([order(second.signer, hash, by())]))).toEqual(notProposer);
    expect((await statusOf(first)).proposer).toBe(true);
  });

  test("an operator changes the proposer and nothing else on the ledger", async () => {
    const [first] = await running(1);
    expect(await outcomeOf(first, sign(operator).envelope)).toBe(RejectionReason.SIGNER_NOT_ALLOWED);
  });
});

describe("taking over on an operator's word", () => {
  test("the proposer is gone: another node goes on after the last block; the former one follows when it is back", async () => {
    const [first, second, third] = await running();
    await first.stop();
    expect(await outcomeOf(second, order(second.signer, (await headOfNode(second)).hash))).toBe(
      TransactionOutcome.ACCEPTED,
    );
    await submit(second);
    await reaches(third, 4n);
    await first.start();
    await submit(second);
    for (const node of [first, second, third]) {
      await reaches(node, 5n);
      expect(await audited(node)).toMatchObject({ intact: true, transactions: 5n });
    }
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(notProposer);
    for (const node of [second, third]) await node.stop();
    for (const node of [second, third]) await node.start();
    await submit(second);
    await reaches(third, 6n);
  });

  test("before the first block as well", async () => {
    const [, second, third] = create3();
    await second.start();
    await third.start();
    expect(await outcomeOf(second, order(second.signer, NO_BLOCK_HASH))).toBe(TransactionOutcome.ACCEPTED);
    await submit(second);
    await reaches(third, 2n);
    expect(await audited(third)).toMatchObject({ intact: true, transactions: 2n });
  });

  test("its key was replaced: the same node goes on under the new key, and no more under the old one", async () => {
    const [first, second] = await running();
    const head = await headOfNode(second);
    await first.stop();
    const renewed = identities.renewed("ledger", first.name);
    await first.start({ signer: renewed });
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    expect(await outcomeOf(first, order(renewed, head.hash))).toBe(TransactionOutcome.ACCEPTED);
    await submit(first);
    await reaches(second, 4n);
    const late = blockAfter(await headOfNode(second), first.signer);
    expect(await refusedWith(hand(second, late, "urn:x1410:entity:ledger:n3"))).toEqual([
      "FailedPrecondition",
      "BLOCK_INVALID",
    ]);
    expect(await audited(second)).toMatchObject({ intact: true, transactions: 4n });
  });

  test("its certificate was revoked: another node goes on, and what was signed up to the last moment stays valid", async () => {
    const [first, second, third] = create3();
    const revoked = identities.renewed("ledger", first.name);
    await first.start({ signer: revoked });
    await second.start();
    await submit(first);
    await reaches(second, 1n);
    expect((await statusOf(first)).proposer).toBe(true);
    identities.revoke(revoked);
    await first.stop();
    await first.start({ signer: revoked });
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    expect((await statusOf(first)).proposer).toBe(false);
    // The third catches up from nothing, and takes the block that the revoked one signed last.
    await third.start();
    expect(await outcomeOf(second, order(second.signer, (await headOfNode(second)).hash))).toBe(
      TransactionOutcome.ACCEPTED,
    );
    await submit(second);
    await reaches(third, 3n);
    expect(await audited(third)).toMatchObject({ intact: true, transactions: 3n });
  });

  test("a former proposer that holds a block which nobody else has stops and says so; its late blocks stop nobody else", async () => {
    const [first, second, third] = await running(2, shortOfQuorum);
    await second.stop();
    await third.stop();
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "OUTCOME_UNKNOWN"]);
    const late = await blocksOf(network.remote(first, first.identity).ledger.streamBlocks({ fromHeight: 3n })).next();
    await first.stop();
    await second.start();
    await third.start();
    await outcomeOf(second, order(second.signer, (await headOfNode(second)).hash));
    await submit(second);
    await reaches(third, 4n);
    const refused = hand(third, late.value ?? expect.unreachable("no block"), first.identity);
    expect(await refusedWith(refused)).toEqual(["FailedPrecondition", "BLOCK_INVALID"]);
    expect((await statusOf(third)).accepting).toBe(true);
    await first.start();
    await expect
      .poll(() => statusOf(first), { interval: 5, timeout: 10_000 })
      .toMatchObject({ accepting: false, stoppedAtHeight: 3n });
    const nodes = [first, second, third].map((node) => network.remote(node, network.management.identity));
    const remote = new RemoteEngine({ networkId, nodes });
    const [receipt] = await remote.submit([sign().envelope]);
    expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
    await remote.close();
  });

  test("an order holds for one node, one key and one block", async () => {
    const [first, second, third] = await running();
    const { hash } = await headOfNode(second);
    expect(await refusedWith(engineOf(third).submit([order(second.signer, hash)]))).toEqual(notProposer);
    expect(
      await refusedWith(engineOf(second).submit([order(identities.renewed("ledger", second.name), hash)])),
    ).toEqual(notProposer);
    expect(await refusedWith(engineOf(second).submit([order(second.signer)]))).toEqual(notProposer);
    expect(await outcomeOf(second, order(second.signer, NO_BLOCK_HASH))).toBe(RejectionReason.VERSION_STALE);
    expect(await outcomeOf(first, order(second.signer, NO_BLOCK_HASH))).toBe(RejectionReason.VERSION_STALE);
    expect((await statusOf(second)).proposer).toBe(false);
    await submit(first);
    await reaches(second, 3n);
  });

  test("given to the proposer that works, an order hands over like any other, and every node takes the block", async () => {
    const [first, second, third] = await running();
    const { hash } = await headOfNode(first);
    expect(await outcomeOf(first, order(third.signer, hash))).toBe(TransactionOutcome.ACCEPTED);
    for (const node of [first, second, third]) await reaches(node, 3n);
    await submit(third);
    for (const node of [first, second, third]) {
      await reaches(node, 4n);
      expect(await statusOf(node)).toMatchObject({ accepting: true, proposer: node === third });
      expect(await audited(node)).toMatchObject({ intact: true, transactions: 4n });
    }
  });

  test("an order for the proposer's next key, given to it under its present one, is taken by every node", async () => {
    const [first, second] = await running();
    const { hash } = await headOfNode(first);
    const renewed = identities.renewed("ledger", first.name);
    expect(await outcomeOf(first, order(renewed, hash))).toBe(TransactionOutcome.ACCEPTED);
    await reaches(second, 3n);
    expect(await statusOf(second)).toMatchObject({ accepting: true });
    expect(await audited(second)).toMatchObject({ intact: true, transactions: 3n });
  });

  test("an order that was left over stops nobody when its node uses it later, neither at once nor after more blocks", async () => {
    const [first, second, third] = await running();
    const old = await headOfNode(first);
    const late = blockAfter(old, third.signer, { transactions: [order(third.signer, old.hash)] });
    for (const height of [3n, 4n, 5n]) {
      await submit(first);
      for (const node of [first, second]) {
        await reaches(node, height);
        expect(await refusedWith(hand(node, late, third.identity))).toEqual(["FailedPrecondition", "BLOCK_INVALID"]);
        expect(await statusOf(node)).toMatchObject({ accepting: true, height });
      }
      // What is final a node knows also when it has just been started.
      await second.stop();
      await second.start();
      expect(await refusedWith(hand(second, late, third.identity))).toEqual(["FailedPrecondition", "BLOCK_INVALID"]);
      expect(await statusOf(second)).toMatchObject({ accepting: true, height });
    }
  });

  const bad: [string, (head: ChainHead, second: Signer) => Parameters<typeof blockAfter>[2]][] = [
    [
      "with other transactions beside the order",
      ({ hash }, next) => ({ transactions: [order(next, hash), sign().envelope] }),
    ],
    [
      "with an order for another node",
      ({ hash }) => ({ transactions: [order(identities.signer("ledger", "n3"), hash)] }),
    ],
    ["with an order for another block", (_, next) => ({ transactions: [order(next, sha256(Buffer.from(hexId())))] })],
    ["with an order that names no block", (_, next) => ({ transactions: [order(next)] })],
    ["with an order of its own", ({ hash }, next) => ({ transactions: [order(next, hash, next)] })],
  ];
  test.each(bad)("nobody takes a block %s from a node that does not propose", async (_, change) => {
    const [, second, third] = await running();
    const head = await headOfNode(second);
    const block = blockAfter(head, second.signer, change(head, second.signer));
    expect(await refusedWith(hand(third, block, second.identity))).toEqual(["FailedPrecondition", "BLOCK_INVALID"]);
    expect(await statusOf(third)).toMatchObject({ accepting: true, height: 2n });
  });
});
