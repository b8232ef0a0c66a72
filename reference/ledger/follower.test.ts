// What a node takes from others: full verification, a receipt for what it holds, and when it stops.
import { clone, create } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, test } from "vitest";
import { type Block, BlockHeaderSchema, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { type ChainHead, NO_BLOCK_HASH } from "./block.ts";
import { type FixtureNode, hexId, networkId } from "./ledger.fixture.ts";
import {
  blockAfter,
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
import { signTransaction } from "./transaction.ts";

networksOfFile();

/** What anyone on the way can do to a block without breaking a signature or a hash. */
function certificatesOf(block: Block): Uint8Array[] {
  return block.header?.signatures[0]?.certificate?.certificates ?? [];
}

function withoutAuthority(head: ChainHead, signer: Signer): Block {
  const block = clone(BlockSchema, blockAfter(head, signer));
  certificatesOf(block).pop();
  return block;
}

function withAuthorityTwice(head: ChainHead, signer: Signer): Block {
  const block = clone(BlockSchema, blockAfter(head, signer));
  certificatesOf(block).push(...certificatesOf(block).slice(1));
  return block;
}

function withUnknown(head: ChainHead, signer: Signer): Block {
  const block = clone(BlockSchema, blockAfter(head, signer));
  for (const signature of block.header?.signatures ?? [])
    signature.$unknown = [{ no: 15, wireType: WireType.Varint, data: Uint8Array.of(1) }];
  return block;
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
    [
      "an altered byte in a certificate that came along",
      "header-signature",
      (head, { signer }) => {
        const block = clone(BlockSchema, blockAfter(head, signer));
        const [, intermediate] = block.header?.signatures[0]?.certificate?.certificates ?? [];
        if (intermediate !== undefined) intermediate[intermediate.length - 1] = (intermediate.at(-1) ?? 0) ^ 1;
        return block;
      },
    ],
    ["a certificate of the path left out", "header-signature", (head, { signer }) => withoutAuthority(head, signer)],
    ["a certificate too many", "header-signature", (head, { signer }) => withAuthorityTwice(head, signer)],
    ["a field around the header that nobody knows", "block-encoding", (head, { signer }) => withUnknown(head, signer)],
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

  test("refuses other transactions behind a genuine header, and other bytes around it, without stopping: anyone on the way may have exchanged them", async () => {
    const [first, second, head] = await following();
    const genuine = blockAfter(head, first.signer);
    const exchanged = [
      create(BlockSchema, { ...genuine, transactions: [sign().envelope] }),
      create(BlockSchema, { ...genuine, transactions: [] }),
      blockAfter(head, first.signer, { networkId: "other.net" }),
      withoutAuthority(head, first.signer),
      withAuthorityTwice(head, first.signer),
      withUnknown(head, first.signer),
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
