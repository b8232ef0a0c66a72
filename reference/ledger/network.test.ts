// Several nodes: what they refuse, how they catch up, and what a caller learns when the quorum is short.
import { clone, create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { type Block, BlockHeaderSchema, BlockSchema, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { type ChainHead, decodeHeader, formBlock, headOf, NO_BLOCK_HASH } from "./block.ts";
import {
  type FixtureNode,
  hexId,
  type LedgerFixture,
  ledgerFixture,
  ledgerIdentities,
  networkId,
} from "./ledger.fixture.ts";
import { sha256 } from "./merkle.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { signTransaction } from "./transaction.ts";
import { verifyChain, verifyCommitted } from "./verify.ts";

const identities = ledgerIdentities();
afterAll(() => identities.remove());
let network: LedgerFixture;
afterEach(() => network.close());

const settings = { finalityTimeoutMs: 300 };

function create3(quorum = 2): [FixtureNode, FixtureNode, FixtureNode] {
  network = ledgerFixture({ identities, count: 3, quorum });
  return network.nodes as unknown as [FixtureNode, FixtureNode, FixtureNode];
}

const contract = () => ({ case: "createContract", value: { contractId: hexId() } }) as const;
const sign = (signer = network.management) => signTransaction(signer, networkId, contract(), new Date());

async function submit(node: FixtureNode) {
  const signed = sign();
  const receipts = await engineOf(node).submit([signed.envelope]);
  return { ...signed, receipt: receipts[0] };
}

function engineOf({ running, name }: FixtureNode) {
  if (running === undefined) throw new TypeError(`${name} is down`);
  return running.engine;
}

function statusOf(node: FixtureNode) {
  if (node.running === undefined) throw new TypeError(`${node.name} is down`);
  return bindDirect(node.running.registrations[2], { peer: directPeer("urn:x1410:entity:operator:o") }).getNodeStatus(
    {},
  );
}

async function reaches(node: FixtureNode, height: bigint): Promise<void> {
  await expect.poll(async () => (await engineOf(node).head()).height, { interval: 5, timeout: 10_000 }).toBe(height);
}

async function refusedWith(work: Promise<unknown>): Promise<[string, string]> {
  const error = await work.then(() => expect.unreachable("it should be refused"), ConnectError.from);
  return [Code[error.code], reasonName(reasonOf(error))];
}

/** The block after `head`, signed by whoever, with one transaction. */
function blockAfter(head: ChainHead, proposer: Signer, change: Partial<Parameters<typeof formBlock>[0]> = {}): Block {
  const timeUnixMs = BigInt(Date.now());
  return formBlock({ networkId, previous: head, transactions: [sign().envelope], timeUnixMs, proposer, ...change })
    .block;
}

async function headOfNode(node: FixtureNode): Promise<ChainHead> {
  const { header } = await network.remote(node, node.identity).ledger.getHead({});
  const bytes = header?.payload ?? new Uint8Array();
  return headOf(decodeHeader(bytes), bytes);
}

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

describe("the quorum", () => {
  test("short of it the outcome is unknown, never a yes or a no; the identical bytes give the answer later", async () => {
    const [first, second] = create3();
    await first.start(settings);
    const signed = sign();
    expect(await refusedWith(engineOf(first).submit([signed.envelope]))).toEqual(["Unavailable", "OUTCOME_UNKNOWN"]);
    const { finalHeight, height } = await engineOf(first).head();
    expect([height, finalHeight]).toEqual([1n, 0n]);
    await second.start();
    await expect.poll(async () => (await engineOf(first).head()).finalHeight, { timeout: 10_000 }).toBe(1n);
    const [receipt] = await engineOf(first).submit([signed.envelope]);
    expect(receipt).toMatchObject({ outcome: TransactionOutcome.ACCEPTED, blockHeight: 1n });
  });

  test("without it the chain stops growing, and what is not written is refused plainly", async () => {
    const [first, second] = create3();
    await first.start(settings);
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

  test("final stays final over a restart of the proposer", async () => {
    const [first, second] = create3();
    await first.start();
    await second.start();
    await submit(first);
    await second.stop();
    await first.stop();
    await first.start(settings);
    expect((await engineOf(first).head()).finalHeight).toBe(1n);
  });
});

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
    expect(await refusedWith(engineOf(second).submit([sign().envelope]))).toEqual([
      "FailedPrecondition",
      "NOT_PROPOSER",
    ]);
    await remote.close();
  });

  test("a change of proposer is a transaction: the next node proposes, the former one follows, every node verifies", async () => {
    const [first, second, third] = create3();
    for (const node of network.nodes) await node.start();
    await submit(first);
    const next = { identity: second.identity, spki: second.signer.publicKey.spki };
    const receipt = await first.running?.changeProposer(next);
    expect(receipt?.outcome).toBe(TransactionOutcome.ACCEPTED);
    await reaches(second, 2n);
    expect((await statusOf(first)).proposer).toBe(false);
    expect((await statusOf(second)).proposer).toBe(true);
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual([
      "FailedPrecondition",
      "NOT_PROPOSER",
    ]);
    await submit(second);
    await reaches(first, 3n);
    await reaches(third, 3n);
    const { ledger } = network.remote(third, third.identity);
    const verdict = await verifyChain(blocksOf(ledger.streamBlocks({ fromHeight: 1n })), network);
    expect(verdict).toMatchObject({ intact: true, transactions: 3n });
  });

  test("a renewed key: the old one names the new one, and nothing else does", async () => {
    const [first, second] = create3();
    await first.start();
    await second.start();
    await submit(first);
    await first.stop();
    const renewed = identities.renewed("ledger", first.name);
    await first.start({ signer: renewed, ...settings });
    expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    await first.stop();
    await first.start({ signer: renewed, previousSigner: first.signer });
    const { receipt } = await submit(first);
    expect(receipt?.blockHeight).toBe(3n);
    await reaches(second, 3n);
  });

  test("only the proposer may hand over", async () => {
    const [first, second] = create3();
    for (const node of network.nodes) await node.start();
    await submit(first);
    const value = { proposer: second.identity, publicKeySha256: sha256(second.signer.publicKey.spki) };
    const signed = signTransaction(second.signer, networkId, { case: "changeProposer", value }, new Date());
    const [receipt] = await engineOf(first).submit([signed.envelope]);
    expect(receipt?.outcome).toBe(TransactionOutcome.REJECTED);
  });
});

async function* blocksOf(stream: AsyncIterable<{ block?: Block | undefined }>): AsyncGenerator<Block> {
  for await (const { block } of stream) if (block !== undefined) yield block;
}

describe("a follower", () => {
  async function following(): Promise<[FixtureNode, FixtureNode, ChainHead]> {
    const [first, second] = create3();
    await first.start();
    await second.start();
    await submit(first);
    await reaches(second, 1n);
    return [first, second, await headOfNode(first)];
  }
  const hand = (to: FixtureNode, block: Block, from: string) =>
    network.remote(to, from).ledger.distributeBlock({ block });
  const invalid = ["FailedPrecondition", "BLOCK_INVALID"];

  test("takes a good block, answers its receipt, and the same receipt's content again", async () => {
    const [first, second, head] = await following();
    const block = blockAfter(head, first.signer);
    const one = await hand(second, block, first.identity);
    const two = await hand(second, block, first.identity);
    expect(one.receipt?.payload).toEqual(two.receipt?.payload);
    expect(one.nextHeight).toBe(3n);
  });

  test("answers no receipt where it is behind, but what it needs", async () => {
    const [first, second, head] = await following();
    const ahead = blockAfter({ ...head, height: 5n }, first.signer);
    expect(await hand(second, ahead, first.identity)).toMatchObject({ nextHeight: 2n });
    expect((await hand(second, ahead, first.identity)).receipt).toBeUndefined();
  });

  const bad: [string, string, (head: ChainHead, first: FixtureNode, second: FixtureNode) => Block][] = [
    [
      "altered transaction",
      "transactions-root",
      (head, { signer }) => {
        const block = blockAfter(head, signer);
        return create(BlockSchema, { ...block, transactions: [sign().envelope] });
      },
    ],
    ["broken link", "link", (head, { signer }) => blockAfter({ ...head, hash: NO_BLOCK_HASH }, signer)],
    [
      "time that runs backwards",
      "time",
      (head, { signer }) => blockAfter(head, signer, { timeUnixMs: head.timeUnixMs - 1n }),
    ],
    ["another network", "network", (head, { signer }) => blockAfter(head, signer, { networkId: "other.net" })],
    [
      "a forbidden transaction",
      "transaction-rule",
      (head, { signer }) => {
        const value = { contractId: hexId() };
        const signed = signTransaction(network.management, networkId, { case: "withdrawContract", value }, new Date());
        return blockAfter(head, signer, { transactions: [signed.envelope] });
      },
    ],
    [
      "the same transaction twice",
      "duplicate-transaction",
      (head, { signer }) => {
        const { envelope } = sign();
        return blockAfter(head, signer, { transactions: [envelope, envelope] });
      },
    ],
    [
      "header that is not canonical",
      "header-encoding",
      (head, { signer }) => {
        const block = clone(BlockSchema, blockAfter(head, signer));
        const payload = Buffer.concat([block.header?.payload ?? new Uint8Array(), Buffer.from("4a0161", "hex")]);
        return create(BlockSchema, { ...block, header: signer.sign(payloadTypeOf(BlockHeaderSchema), payload) });
      },
    ],
    ["a fork", "fork", (head, { signer }) => blockAfter({ ...head, height: 0n, hash: NO_BLOCK_HASH }, signer)],
  ];

  test.each(bad)(
    "stops at a bad block of the proposer, says where and why, and goes on serving: %s",
    async (_, fault, make) => {
      const [first, second, head] = await following();
      expect(await refusedWith(hand(second, make(head, first, second), first.identity))).toEqual(invalid);
      const status = await statusOf(second);
      expect(status.accepting).toBe(false);
      expect(status.stoppedBecause).toContain(fault);
      expect(status.stoppedAtHeight).toBe(fault === "fork" ? 1n : 2n);
      expect(await refusedWith(hand(second, blockAfter(head, first.signer), first.identity))).toEqual([
        "Unavailable",
        "LEDGER_UNAVAILABLE",
      ]);
      expect(await engineOf(second).head()).toMatchObject({ height: 1n });
    },
  );

  test("refuses what another node made up, without stopping: it is no evidence against the proposer", async () => {
    const [first, second, head] = await following();
    const madeUp = blockAfter(head, identities.signer("ledger", "n3"));
    expect(await refusedWith(hand(second, madeUp, "urn:x1410:entity:ledger:n3"))).toEqual(invalid);
    expect((await statusOf(second)).accepting).toBe(true);
    await submit(first);
    await reaches(second, 2n);
  });

  test("refuses other transactions behind a genuine header, without stopping: anyone on the way may have exchanged them", async () => {
    const [first, second, head] = await following();
    const genuine = blockAfter(head, first.signer);
    const exchanged = [
      create(BlockSchema, { ...genuine, transactions: [sign().envelope] }),
      create(BlockSchema, { ...genuine, transactions: [] }),
      blockAfter(head, first.signer, { networkId: "other.net" }),
    ];
    for (const block of exchanged) {
      expect(await refusedWith(hand(second, block, "urn:x1410:entity:ledger:n3"))).toEqual(invalid);
      expect((await statusOf(second)).accepting).toBe(true);
    }
    await hand(second, genuine, "urn:x1410:entity:ledger:n3");
  });

  test("refuses a block from the future for now, without stopping", async () => {
    const [first, second, head] = await following();
    const ahead = blockAfter(head, first.signer, { timeUnixMs: BigInt(Date.now() + 600_000) });
    expect(await refusedWith(hand(second, ahead, first.identity))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
    expect((await statusOf(second)).accepting).toBe(true);
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
