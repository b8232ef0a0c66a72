// Attacks on the ledger (clause 6, S4), judged by an auditor with the trust anchors alone: the chain is taken from the running stack over
// the wire and altered; what was altered is found, and the place named.
import { clone, create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { beforeAll, expect, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Block, BlockHeaderSchema, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import { createSigner } from "../envelope/signer.ts";
import { type ChainHead, decodeHeader, encodeHeader } from "../ledger/block.ts";
import { verifyChain } from "../ledger/verify.ts";
import { grantFor, openers, rigForFile } from "./attack-rig.fixture.ts";

const rig = rigForFile({ ledgerNodes: 3 });
let chain: Block[];
let head: ChainHead;

async function blocksOf(node: number): Promise<Block[]> {
  const entity = rig().stack.entities.find(({ name }) => name === `ledger-${node}`);
  const blocks: Block[] = [];
  const transport = openers.gRPC({
    address: entity?.endpoint ?? "",
    serverIdentity: entity?.identity ?? "",
    credentials: rig().tlsCredentials(rig().target.consumer),
  });
  rig().keep(transport);
  for await (const { block } of createClient(LedgerService, transport).streamBlocks({ fromHeight: 1n }))
    if (block !== undefined) blocks.push(block);
  return blocks;
}

const audit = (blocks: readonly Block[], remembered?: ChainHead) =>
  verifyChain(blocks, { trust: rig().trust as never, ...(remembered && { remembered }) });

beforeAll(async () => {
  await grantFor(await rig().scene());
  await grantFor(await rig().scene());
  chain = await blocksOf(1);
  const verdict = await audit(chain);
  expect(verdict).toMatchObject({ intact: true });
  head = verdict.head;
});

const copy = () => chain.map((block) => clone(BlockSchema, block));
const at = (blocks: Block[], index: number): Block => blocks[index] ?? create(BlockSchema);

const alterations: [string, (blocks: Block[]) => void, { fault: string; height: bigint }][] = [
  [
    "an altered header",
    (blocks) => {
      const { header } = at(blocks, 2);
      if (header === undefined) return;
      const changed = { ...decodeHeader(header.payload), timeUnixMs: decodeHeader(header.payload).timeUnixMs + 1n };
      header.payload = encodeHeader(changed) as typeof header.payload;
    },
    { fault: "header-signature", height: 3n },
  ],
  [
    "an altered transaction",
    (blocks) => {
      const [transaction] = at(blocks, 1).transactions;
      if (transaction !== undefined) transaction[transaction.length - 1] = (transaction.at(-1) ?? 0) ^ 1;
    },
    { fault: "transactions-root", height: 2n },
  ],
  [
    "a transaction taken out",
    (blocks) => void at(blocks, 1).transactions.pop(),
    { fault: "transaction-count", height: 2n },
  ],
  ["a removed block", (blocks) => void blocks.splice(1, 1), { fault: "height", height: 2n }],
  [
    "a header signed anew by somebody else",
    (blocks) => {
      const block = at(blocks, 1);
      const signer = createSigner(rig().issue("ledger", "rogue"));
      block.header = signer.sign(payloadTypeOf(BlockHeaderSchema), block.header?.payload ?? new Uint8Array());
    },
    { fault: "header-signature", height: 2n },
  ],
];

test.each(alterations)("found, with its place: %s", async (_, alter, place) => {
  const blocks = copy();
  alter(blocks);
  expect(await audit(blocks)).toMatchObject({ intact: false, ...place });
});

test("found: a rollback to an older head, and another chain under a remembered head", async () => {
  expect(await audit(chain, head)).toMatchObject({ intact: true });
  expect(await audit(copy().slice(0, -1), head)).toMatchObject({
    intact: false,
    fault: "rollback",
    height: head.height,
  });
  const other = { ...head, hash: new Uint8Array(32) };
  expect(await audit(chain, other)).toMatchObject({ intact: false, fault: "fork", height: head.height });
});

test("all nodes serve the same chain: a fork between two of them would show", async () => {
  const [second, third] = await Promise.all([blocksOf(2), blocksOf(3)]);
  for (const blocks of [second, third]) {
    const verdict = await audit(blocks);
    expect(verdict.intact).toBe(true);
    expect(await audit(chain, verdict.head)).toMatchObject({ intact: true });
  }
});

test("only the management submits, only nodes distribute, and a stranger's block stops nobody", async () => {
  const submit = (who: "dssm" | "provider") =>
    rig()
      .client(LedgerService, "ledger", who === "dssm" ? rig().credentialOf("dssm") : rig().target.provider)
      .submitTransactions({ transactions: [] });
  await expectRefusal(() => submit("provider"), ErrorReason.CALLER_NOT_ALLOWED);
  const distribute = (credential = rig().target.provider) =>
    rig()
      .client(LedgerService, "ledger", credential)
      .distributeBlock({ block: at(chain, 0) });
  await expectRefusal(() => distribute(), ErrorReason.CALLER_NOT_ALLOWED);
  await expectRefusal(() => distribute(rig().credentialOf("dssm")), ErrorReason.CALLER_NOT_ALLOWED);
  const stranger = rig().client(LedgerService, "ledger", rig().issue("ledger", "stranger"));
  const block = create(BlockSchema, { ...at(chain, 0), transactions: [] });
  await stranger.distributeBlock({ block }).catch(() => undefined);
  const status = await rig().client(SystemManagementService, "ledger", rig().target.provider).getNodeStatus({});
  expect(status.accepting).toBe(true);
  await grantFor(await rig().scene());
});
