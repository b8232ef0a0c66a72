// What every LedgerEngine must do, whatever ledger is below: the conformance suite of the port. The test framework is passed in.
import assert from "node:assert/strict";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { Finality, RejectionReason, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import type { Signer } from "../envelope/signer.ts";
import type { Committed, LedgerEngine } from "./engine.ts";
import {
  all,
  assertAccepted,
  assertRejected,
  createContract,
  Ledger,
  reasonFrom,
  recordAccess,
  recordUsage,
  updateContract,
  withdrawContract,
} from "./ledger-under-test.ts";
import { signTransaction } from "./transaction.ts";

/** A ledger under test, empty. */
export interface EngineUnderTest {
  readonly engine: LedgerEngine;
  /** Two managements of the network. */
  readonly management: Signer;
  readonly otherManagement: Signer;
  /** An identity of the network that is no management. */
  readonly outsider: Signer;
  readonly now: () => Date;
  /** The engine's own verification of evidence, without connection. */
  verify(committed: Committed): boolean;
  /** Closes and opens the ledger again, where the engine can; answers the engine to go on with. */
  reopen?(): Promise<LedgerEngine>;
  /** Takes away from the ledger whatever makes its transactions final, where that can be; answers the engine to go on with. */
  shortOfQuorum?(): Promise<LedgerEngine>;
  close(): Promise<void>;
}

export interface EngineSuiteOptions {
  readonly test: (name: string, body: () => Promise<void>) => void;
  /** A fresh ledger for each test. */
  readonly factory: () => Promise<EngineUnderTest>;
}

export function engineSuite({ test, factory }: EngineSuiteOptions): void {
  const check = (name: string, body: (ledger: Ledger) => Promise<void>): void => {
    test(name, async () => {
      const under = await factory();
      try {
        await body(new Ledger(under));
      } finally {
        await under.close();
      }
    });
  };

  check("an empty ledger has a head before its first block and nothing to find", async ({ engine }) => {
    const { height, finalHeight } = await engine.head();
    assert.equal(height, 0n);
    assert.equal(finalHeight, 0n);
    assert.equal(await engine.get("0".repeat(64)), undefined);
    assert.equal(await engine.contract("0".repeat(32)), undefined);
  });

  check("an accepted transaction is final, can be found, and its evidence holds", async (ledger) => {
    const { engine } = ledger;
    const contractId = ledger.id();
    const signed = ledger.sign(createContract(contractId, { accessTimes: 3 }));
    const [receipt] = await engine.submit([signed.envelope]);
    assertAccepted(receipt);
    assert.equal(receipt.transactionId, signed.transactionId);
    assert.equal(receipt.finality, Finality.FINAL);
    const committed = await engine.get(signed.transactionId);
    assert.ok(committed);
    assert.deepEqual(Buffer.from(committed.envelope), Buffer.from(signed.envelope));
    assert.equal(committed.receipt.blockHeight, receipt.blockHeight);
    assert.ok(ledger.under.verify(committed));
    const contract = await engine.contract(contractId);
    assert.equal(contract?.managementIdentity, ledger.under.management.identity);
    assert.equal(contract.accessTimes, 3);
    assert.equal(contract.version, 1n);
    assert.equal(contract.createdBy, signed.transactionId);
    assert.equal(contract.contractAddress, `x1410://dlt.${engine.info.networkId}/contracts/${contractId}`);
    const head = await engine.head();
    assert.ok(head.finalHeight >= receipt.blockHeight);
  });

  check("altered evidence does not hold", async (ledger) => {
    const signed = ledger.sign(createContract(ledger.id()));
    await ledger.engine.submit([signed.envelope]);
    const committed = await ledger.engine.get(signed.transactionId);
    assert.ok(committed);
    const other = ledger.sign(createContract(ledger.id()));
    assert.equal(ledger.under.verify({ ...committed, transactionId: "0".repeat(64) }), false);
    assert.equal(ledger.under.verify({ ...committed, ...other }), false);
    const proof = { ...committed.proof, transaction: other.envelope };
    assert.equal(ledger.under.verify({ ...committed, ...other, proof }), false);
  });

  check("a duplicate gets the first receipt and has no second effect", async (ledger) => {
    const { engine } = ledger;
    const contractId = await ledger.contract();
    const access = ledger.sign(recordAccess(ledger.id(), contractId, 1));
    const [first] = await engine.submit([access.envelope]);
    const [again] = await engine.submit([access.envelope]);
    assertAccepted(first);
    assertAccepted(again);
    assert.deepEqual([again.blockHeight, again.index], [first.blockHeight, first.index]);
    assert.equal((await engine.contract(contractId))?.accessCount, 1n);
  });

  check("duplicates at the same time, also within one submission, are one transaction", async (ledger) => {
    const { engine } = ledger;
    const { envelope } = ledger.sign(createContract(ledger.id()));
    const answers = await Promise.all(Array.from({ length: 20 }, () => engine.submit([envelope, envelope])));
    const places = answers.flat().map((receipt) => {
      assertAccepted(receipt);
      return `${receipt.blockHeight}.${receipt.index}`;
    });
    assert.equal(places.length, 40);
    assert.equal(new Set(places).size, 1);
  });

  check("the same payload under somebody else's signature spoils nothing, whichever comes first", async (ledger) => {
    const { engine } = ledger;
    for (const inOneSubmission of [true, false]) {
      const { envelope } = ledger.sign(createContract(ledger.id()));
      const { payloadType, payload } = fromBinary(SignedEnvelopeSchema, envelope);
      const forged = toBinary(SignedEnvelopeSchema, ledger.under.otherManagement.sign(payloadType, payload));
      const [refused, good] = inOneSubmission
        ? await engine.submit([forged, envelope])
        : (await Promise.all([forged, envelope].map((bytes) => engine.submit([bytes])))).flat();
      if (inOneSubmission) assertRejected(refused, RejectionReason.SIGNER_NOT_ALLOWED);
      assertAccepted(good);
    }
  });

  check("a batch answers in its order, and a rejected one does not hold up the others", async (ledger) => {
    const contractId = ledger.id();
    const receipts = await ledger.engine.submit([
      ledger.sign(createContract(contractId)).envelope,
      ledger.sign(createContract(contractId)).envelope,
      ledger.sign(recordAccess(ledger.id(), contractId, 1)).envelope,
    ]);
    assert.equal(receipts.length, 3);
    assertAccepted(receipts[0]);
    assertRejected(receipts[1], RejectionReason.DUPLICATE_ID);
    assertAccepted(receipts[2]);
  });

  check("the rules: unknown, duplicate, stale, withdrawn, and whose contract it is", async (ledger) => {
    const { otherManagement, outsider } = ledger.under;
    const contractId = await ledger.contract();
    const accessId = ledger.id();
    const usageId = ledger.id();
    await ledger.accepts(recordAccess(accessId, contractId, 1));
    await ledger.accepts(recordUsage(usageId, accessId));
    await ledger.rejects(createContract(contractId), RejectionReason.DUPLICATE_ID);
    await ledger.rejects(recordAccess(accessId, contractId, 2), RejectionReason.DUPLICATE_ID);
    await ledger.rejects(recordUsage(usageId, accessId), RejectionReason.DUPLICATE_ID);
    await ledger.rejects(recordAccess(ledger.id(), ledger.id(), 1), RejectionReason.UNKNOWN_CONTRACT);
    await ledger.rejects(updateContract(ledger.id(), 2n), RejectionReason.UNKNOWN_CONTRACT);
    await ledger.rejects(withdrawContract(ledger.id()), RejectionReason.UNKNOWN_CONTRACT);
    await ledger.rejects(recordUsage(ledger.id(), ledger.id()), RejectionReason.UNKNOWN_ACCESS);
    await ledger.rejects(updateContract(contractId, 3n), RejectionReason.VERSION_STALE);
    const notAllowed = RejectionReason.SIGNER_NOT_ALLOWED;
    await ledger.rejects(updateContract(contractId, 2n), notAllowed, otherManagement);
    await ledger.rejects(recordAccess(ledger.id(), contractId, 1), notAllowed, otherManagement);
    await ledger.rejects(recordUsage(ledger.id(), accessId), notAllowed, otherManagement);
    await ledger.rejects(withdrawContract(contractId), notAllowed, otherManagement);
    await ledger.rejects(createContract(ledger.id()), notAllowed, outsider);
    await ledger.accepts(updateContract(contractId, 2n, 5));
    await ledger.rejects(updateContract(contractId, 2n), RejectionReason.VERSION_STALE);
    assert.equal((await ledger.engine.contract(contractId))?.accessTimes, 5);
    await ledger.accepts(withdrawContract(contractId));
    await ledger.rejects(withdrawContract(contractId), RejectionReason.WITHDRAWN);
    await ledger.rejects(updateContract(contractId, 3n), RejectionReason.WITHDRAWN);
    await ledger.rejects(recordAccess(ledger.id(), contractId, 1), RejectionReason.WITHDRAWN);
    await ledger.accepts(recordUsage(ledger.id(), accessId));
    assert.equal((await ledger.engine.contract(contractId))?.withdrawn, true);
  });

  check("accesses end at the expiration, by the time of the block", async (ledger) => {
    const now = ledger.under.now().getTime();
    const over = await ledger.contract({ expiration: new Date(now - 1000) });
    const valid = await ledger.contract({ expiration: new Date(now + 3_600_000) });
    await ledger.rejects(recordAccess(ledger.id(), over, 1), RejectionReason.EXPIRED);
    await ledger.accepts(recordAccess(ledger.id(), valid, 1));
  });

  check("the access limit holds for each consumer pseudonym", async (ledger) => {
    const contractId = await ledger.contract({ accessTimes: 2 });
    await ledger.accepts(recordAccess(ledger.id(), contractId, 1));
    await ledger.accepts(recordAccess(ledger.id(), contractId, 1));
    await ledger.rejects(recordAccess(ledger.id(), contractId, 1), RejectionReason.ACCESS_TIMES_EXHAUSTED);
    await ledger.accepts(recordAccess(ledger.id(), contractId, 2));
  });

  check("many at once with one access left: exactly one is accepted", async (ledger) => {
    const contractId = await ledger.contract({ accessTimes: 1 });
    const receipts = await Promise.all(
      Array.from({ length: 20 }, () => ledger.submit(recordAccess(ledger.id(), contractId, 1))),
    );
    const accepted = receipts.filter(({ outcome }) => outcome === TransactionOutcome.ACCEPTED);
    assert.equal(accepted.length, 1);
    assert.equal((await ledger.engine.contract(contractId))?.accessCount, 1n);
  });

  check("what is no transaction of this network is rejected and in no block", async (ledger) => {
    const { engine } = ledger;
    const before = await engine.head();
    const elsewhere = signTransaction(
      ledger.under.management,
      "other.net",
      createContract(ledger.id()),
      ledger.under.now(),
    );
    const signed = fromBinary(SignedEnvelopeSchema, ledger.sign(createContract(ledger.id())).envelope);
    const stripped = toBinary(SignedEnvelopeSchema, { ...signed, signatures: [] });
    const payload = Uint8Array.from(signed.payload);
    payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
    const altered = toBinary(SignedEnvelopeSchema, { ...signed, payload });
    const junk = new Uint8Array([0xff, 0x01]);
    const receipts = await engine.submit([elsewhere.envelope, stripped, altered, junk]);
    const reasons = [
      RejectionReason.MALFORMED,
      RejectionReason.SIGNATURE_INVALID,
      RejectionReason.SIGNATURE_INVALID,
      RejectionReason.MALFORMED,
    ];
    for (const [index, reason] of reasons.entries()) assertRejected(receipts[index], reason);
    assert.equal((await engine.head()).height, before.height);
    assert.equal(await engine.get(elsewhere.transactionId), undefined);
  });

  check("concurrent submissions all find their place, each once", async (ledger) => {
    const { engine } = ledger;
    const signed = Array.from({ length: 200 }, () => ledger.sign(createContract(ledger.id())));
    const receipts = (await Promise.all(signed.map(({ envelope }) => engine.submit([envelope])))).flat();
    for (const receipt of receipts) assertAccepted(receipt);
    assert.equal(new Set(receipts.map(({ blockHeight, index }) => `${blockHeight}.${index}`)).size, signed.length);
    const seen = await ledger.read(signed.length);
    assert.deepEqual(
      new Set(seen.map(({ transactionId }) => transactionId)),
      new Set(signed.map(({ transactionId }) => transactionId)),
    );
  });

  check("a subscription gives the total order, resumes after a cursor, follows, and ends when told", async (ledger) => {
    const ids: string[] = [];
    for (let turn = 0; turn < 5; turn++) ids.push(await ledger.accepts(createContract(ledger.id())));
    const seen = await ledger.read(5);
    assert.deepEqual(
      seen.map(({ transactionId }) => transactionId),
      ids,
    );
    assert.ok(seen.every((committed) => ledger.under.verify(committed)));
    const rest = await ledger.read(2, seen[2]?.cursor);
    assert.deepEqual(
      rest.map(({ transactionId }) => transactionId),
      ids.slice(3),
    );
    const { cursor } = await ledger.engine.head();
    const following = ledger.read(1, cursor);
    const next = await ledger.accepts(createContract(ledger.id()));
    assert.deepEqual(
      (await following).map(({ transactionId }) => transactionId),
      [next],
    );
    const ended = new AbortController();
    const waiting = all(ledger.engine.subscribe({ after: (await ledger.engine.head()).cursor, signal: ended.signal }));
    ended.abort();
    assert.deepEqual(await waiting, []);
  });

  check("an aborted signal means that nothing was recorded, where nothing was sent", async (ledger) => {
    const signed = ledger.sign(createContract(ledger.id()));
    const failure = ledger.engine.submit([signed.envelope], { signal: AbortSignal.abort() });
    assert.equal(await reasonFrom(failure), ErrorReason.LEDGER_UNAVAILABLE);
    assert.equal(await ledger.engine.get(signed.transactionId), undefined);
  });

  check("what was acknowledged outlives a restart", async (ledger) => {
    const { reopen } = ledger.under;
    if (reopen === undefined) return;
    const contractId = await ledger.contract({ accessTimes: 1 });
    const access = ledger.sign(recordAccess(ledger.id(), contractId, 1));
    await ledger.engine.submit([access.envelope]);
    const before = await ledger.engine.head();
    const engine = await reopen();
    const after = await engine.head();
    assert.deepEqual([after.height, after.cursor], [before.height, before.cursor]);
    assert.ok(await engine.get(access.transactionId));
    assert.equal((await engine.contract(contractId))?.accessCount, 1n);
    const [again] = await engine.submit([access.envelope]);
    assertAccepted(again);
    const exhausted = await engine.submit([ledger.sign(recordAccess(ledger.id(), contractId, 1)).envelope]);
    assertRejected(exhausted[0], RejectionReason.ACCESS_TIMES_EXHAUSTED);
  });

  check("short of its quorum it says neither yes nor no, but to what is none by itself", async (ledger) => {
    const { shortOfQuorum } = ledger.under;
    if (shortOfQuorum === undefined) return;
    const contractId = await ledger.contract({ accessTimes: 1 });
    const engine = await shortOfQuorum();
    const submit = (envelope: Uint8Array) => engine.submit([envelope]);
    const only = ledger.sign(recordAccess(ledger.id(), contractId, 1));
    assert.equal(await reasonFrom(submit(only.envelope)), ErrorReason.OUTCOME_UNKNOWN);
    // Against the block that is not final this would be one too many: it may still be dropped, and this one be right.
    const next = ledger.sign(recordAccess(ledger.id(), contractId, 1));
    assert.equal(await reasonFrom(submit(next.envelope)), ErrorReason.OUTCOME_UNKNOWN);
    const signed = fromBinary(SignedEnvelopeSchema, next.envelope);
    const stripped = toBinary(SignedEnvelopeSchema, { ...signed, signatures: [] });
    assertRejected((await submit(stripped))[0], RejectionReason.SIGNATURE_INVALID);
    assertRejected((await submit(new Uint8Array([0xff, 0x01])))[0], RejectionReason.MALFORMED);
  });

  check("a closed engine refuses and ends its subscriptions", async (ledger) => {
    const reading = all(ledger.engine.subscribe({ signal: new AbortController().signal }));
    await ledger.engine.close();
    assert.deepEqual(await reading, []);
    const { envelope } = ledger.sign(createContract(ledger.id()));
    assert.equal(await reasonFrom(ledger.engine.submit([envelope])), ErrorReason.LEDGER_UNAVAILABLE);
  });
}
