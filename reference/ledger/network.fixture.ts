// Three nodes of a ledger and what tests of them do again and again.
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, expect } from "vitest";
import type { Block, TransactionReceipt } from "../../gen/x1410/v1/ledger_pb.ts";
import type { GetNodeStatusResponse } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { type ChainHead, decodeHeader, formBlock, headOf } from "./block.ts";
import type { LedgerEngine } from "./engine.ts";
import {
  type FixtureNode,
  hexId,
  type LedgerFixture,
  ledgerFixture,
  ledgerIdentities,
  networkId,
} from "./ledger.fixture.ts";
import { type SignedTransaction, signTransaction } from "./transaction.ts";

export let identities: ReturnType<typeof ledgerIdentities>;

/** Of the test that runs; closed after it. */
export let network: LedgerFixture;

/** Makes identities, and closes what the tests of a file open: to be called by each file, since files of one worker share this module. */
export function networksOfFile(): void {
  identities = ledgerIdentities();
  afterEach(() => network.close());
  afterAll(() => identities.remove());
}

/** For a node that is to miss its quorum, and for no other: on a busy machine a node that has its quorum may need longer than this. */
export const shortOfQuorum = { finalityTimeoutMs: 300 };

/** Three nodes, none of them started. */
export function create3(quorum = 2): [FixtureNode, FixtureNode, FixtureNode] {
  network = ledgerFixture({ identities, count: 3, quorum });
  return network.nodes as unknown as [FixtureNode, FixtureNode, FixtureNode];
}

/** A new contract of the management, or of somebody who says to be one. */
export function sign(signer: Signer = network.management): SignedTransaction {
  return signTransaction(signer, networkId, { case: "createContract", value: { contractId: hexId() } }, new Date());
}

export async function submit(
  node: FixtureNode,
): Promise<SignedTransaction & { readonly receipt: TransactionReceipt | undefined }> {
  const signed = sign();
  const receipts = await engineOf(node).submit([signed.envelope]);
  return { ...signed, receipt: receipts[0] };
}

export function engineOf({ running, name }: FixtureNode): LedgerEngine {
  if (running === undefined) throw new TypeError(`${name} is down`);
  return running.engine;
}

export function statusOf(node: FixtureNode): Promise<GetNodeStatusResponse> {
  if (node.running === undefined) throw new TypeError(`${node.name} is down`);
  const peer = directPeer("urn:x1410:entity:operator:o");
  return bindDirect(node.running.registrations[2], { peer }).getNodeStatus({});
}

export async function reaches(node: FixtureNode, height: bigint): Promise<void> {
  await expect.poll(async () => (await engineOf(node).head()).height, { interval: 5, timeout: 10_000 }).toBe(height);
}

/** Code and reason. */
export async function refusedWith(work: Promise<unknown>): Promise<[string, string]> {
  const error = await work.then(() => expect.unreachable("it should be refused"), ConnectError.from);
  return [Code[error.code], reasonName(reasonOf(error))];
}

/** The block after `head`, signed by whoever, with one transaction. */
export function blockAfter(
  head: ChainHead,
  proposer: Signer,
  change: Partial<Parameters<typeof formBlock>[0]> = {},
): Block {
  const timeUnixMs = BigInt(Date.now());
  return formBlock({ networkId, previous: head, transactions: [sign().envelope], timeUnixMs, proposer, ...change })
    .block;
}

export async function headOfNode(node: FixtureNode): Promise<ChainHead> {
  const { header } = await network.remote(node, node.identity).ledger.getHead({});
  const bytes = header?.payload ?? new Uint8Array();
  return headOf(decodeHeader(bytes), bytes);
}

export async function* blocksOf(stream: AsyncIterable<{ block?: Block | undefined }>): AsyncGenerator<Block> {
  for await (const { block } of stream) if (block !== undefined) yield block;
}

/** Hands a block to a node as another node does. */
export function hand(to: FixtureNode, block: Block, from: string) {
  return network.remote(to, from).ledger.distributeBlock({ block });
}
