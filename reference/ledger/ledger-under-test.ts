// A ledger under the suite of the port, and what the suite does with it again and again.
import assert from "node:assert/strict";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type RejectionReason, TransactionOutcome, type TransactionReceipt } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import type { Committed, LedgerEngine } from "./engine.ts";
import type { EngineUnderTest } from "./engine-suite.ts";
import { type SignedTransaction, signTransaction, type TransactionAction } from "./transaction.ts";

const pseudonym = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const commitments = [{ name: "terms", digest: new Uint8Array(32).fill(7) }];

export class Ledger {
  readonly under: EngineUnderTest;
  #ids = 0;

  constructor(under: EngineUnderTest) {
    this.under = under;
  }

  get engine(): LedgerEngine {
    return this.under.engine;
  }

  id(): string {
    this.#ids += 1;
    return this.#ids.toString(16).padStart(32, "0");
  }

  sign(action: TransactionAction, signer = this.under.management): SignedTransaction {
    return signTransaction(signer, this.engine.info.networkId, action, this.under.now());
  }

  async submit(action: TransactionAction, signer?: Signer): Promise<TransactionReceipt> {
    const [receipt] = await this.engine.submit([this.sign(action, signer).envelope]);
    assert.ok(receipt);
    return receipt;
  }

  async accepts(action: TransactionAction): Promise<string> {
    const receipt = await this.submit(action);
    assertAccepted(receipt);
    return receipt.transactionId;
  }

  async rejects(action: TransactionAction, reason: RejectionReason, signer?: Signer): Promise<void> {
    assertRejected(await this.submit(action, signer), reason);
  }

  async contract(terms: Terms = {}): Promise<string> {
    const contractId = this.id();
    await this.accepts(createContract(contractId, terms));
    return contractId;
  }

  /** The first `count` transactions after a cursor. */
  async read(count: number, after?: string): Promise<Committed[]> {
    const enough = new AbortController();
    const seen: Committed[] = [];
    const from = after === undefined ? {} : { after };
    for await (const committed of this.engine.subscribe({ ...from, signal: enough.signal })) {
      seen.push(committed);
      if (seen.length === count) enough.abort();
    }
    return seen;
  }
}

interface Terms {
  readonly accessTimes?: number;
  readonly expiration?: Date;
}

export function createContract(contractId: string, { accessTimes = 0, expiration }: Terms = {}): TransactionAction {
  const until = expiration === undefined ? {} : { expiration: timestampFromDate(expiration) };
  const value = { contractId, withAccessPermission: true, accessTimes, commitments, ...until };
  return { case: "createContract", value };
}

export function updateContract(contractId: string, version: bigint, accessTimes = 0): TransactionAction {
  return { case: "updateContract", value: { contractId, version, accessTimes, commitments } };
}

export function withdrawContract(contractId: string): TransactionAction {
  return { case: "withdrawContract", value: { contractId, commitments } };
}

export function recordAccess(accessId: string, contractId: string, consumer: number): TransactionAction {
  const consumerPseudonym = pseudonym(consumer);
  return { case: "recordAccess", value: { accessId, contractId, consumerPseudonym, commitments } };
}

export function recordUsage(usageId: string, accessId: string): TransactionAction {
  return { case: "recordUsage", value: { usageId, accessId, commitments } };
}

export function assertAccepted(receipt: TransactionReceipt | undefined): asserts receipt {
  assert.equal(receipt?.outcome, TransactionOutcome.ACCEPTED, `not accepted, rule ${receipt?.rejection}`);
}

export function assertRejected(receipt: TransactionReceipt | undefined, reason: RejectionReason): void {
  assert.deepEqual([receipt?.outcome, receipt?.rejection], [TransactionOutcome.REJECTED, reason]);
}

export async function all(stream: AsyncIterable<Committed>): Promise<Committed[]> {
  const seen: Committed[] = [];
  for await (const committed of stream) seen.push(committed);
  return seen;
}

export async function reasonFrom(work: Promise<unknown>): Promise<ErrorReason> {
  return work.then(
    () => assert.fail("it should be refused"),
    (cause: unknown) => reasonOf(cause),
  );
}
