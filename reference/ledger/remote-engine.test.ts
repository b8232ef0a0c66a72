// A ledger behind a network that loses requests and answers: never a false yes or no.
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import {
  type FixtureNode,
  hexId,
  type LedgerFixture,
  ledgerFixture,
  ledgerIdentities,
  networkId,
} from "./ledger.fixture.ts";
import { RemoteEngine, type RemoteNode } from "./remote-engine.ts";
import { signTransaction } from "./transaction.ts";

const identities = ledgerIdentities();
afterAll(() => identities.remove());
let network: LedgerFixture;
let reached: RemoteNode;

beforeEach(async () => {
  network = ledgerFixture({ identities, count: 1, quorum: 1 });
  const node = network.nodes[0] as FixtureNode;
  await node.start();
  reached = network.remote(node, network.management.identity);
});
afterEach(() => network.close());

type Submit = RemoteNode["ledger"]["submitTransactions"];

/** The node behind a network that does `submit` to submissions. */
function behind(submit: Submit): RemoteEngine {
  const ledger = { ...reached.ledger, submitTransactions: submit };
  return new RemoteEngine({ networkId, nodes: [{ ledger, contracts: reached.contracts }], timeoutMs: 200, retryMs: 5 });
}

const lost = (): never => {
  throw new ConnectError("connection reset", Code.Unavailable);
};
const sign = () => {
  const action = { case: "createContract", value: { contractId: hexId() } } as const;
  return signTransaction(network.management, networkId, action, new Date());
};
const reasonFrom = (work: Promise<unknown>): Promise<ErrorReason> =>
  work.then(() => expect.unreachable("it should fail"), reasonOf);

test("the answer is lost: the ids are looked up, and the receipts are those of the ledger", async () => {
  const engine = behind(async (request, options) => {
    await reached.ledger.submitTransactions(request, options);
    return lost();
  });
  const signed = [sign(), sign()];
  const receipts = await engine.submit(signed.map(({ envelope }) => envelope));
  expect(receipts.map(({ transactionId }) => transactionId)).toEqual(signed.map(({ transactionId }) => transactionId));
  expect(receipts.every(({ outcome }) => outcome === TransactionOutcome.ACCEPTED)).toBe(true);
});

test("the request is lost: outcome unknown, and the identical bytes succeed later", async () => {
  let fails = true;
  const engine = behind(async (request, options) => {
    if (fails) lost();
    return reached.ledger.submitTransactions(request, options);
  });
  const { envelope, transactionId } = sign();
  expect(await reasonFrom(engine.submit([envelope]))).toBe(ErrorReason.OUTCOME_UNKNOWN);
  expect(await engine.get(transactionId)).toBeUndefined();
  fails = false;
  expect((await engine.submit([envelope]))[0]?.outcome).toBe(TransactionOutcome.ACCEPTED);
});

test("no answer in time: outcome unknown", async () => {
  const engine = behind((_, options) => {
    const late = new ConnectError("deadline exceeded", Code.DeadlineExceeded);
    return new Promise((_resolve, reject) => setTimeout(() => reject(late), options?.timeoutMs));
  });
  expect(await reasonFrom(engine.submit([sign().envelope]))).toBe(ErrorReason.OUTCOME_UNKNOWN);
});

test("a rejection whose answer is lost stays unknown: it is in no block to be found in", async () => {
  const engine = behind(async (request, options) => {
    await reached.ledger.submitTransactions(request, options);
    return lost();
  });
  const action = { case: "withdrawContract", value: { contractId: hexId() } } as const;
  const { envelope } = signTransaction(network.management, networkId, action, new Date());
  expect(await reasonFrom(engine.submit([envelope]))).toBe(ErrorReason.OUTCOME_UNKNOWN);
});

test("what the node itself says with a reason stands", async () => {
  await network.nodes[0]?.running?.engine.close();
  const engine = behind((request, options) => reached.ledger.submitTransactions(request, options));
  expect(await reasonFrom(engine.submit([sign().envelope]))).toBe(ErrorReason.LEDGER_UNAVAILABLE);
});

test("a subscription outlives the loss of its node", async () => {
  const node = network.nodes[0] as FixtureNode;
  const engine = new RemoteEngine({ networkId, nodes: [reached], retryMs: 5 });
  const first = sign();
  const second = sign();
  await engine.submit([first.envelope]);
  const enough = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { transactionId } of engine.subscribe({ signal: enough.signal })) {
      seen.push(transactionId);
      if (seen.length === 2) enough.abort();
    }
  })();
  await expect.poll(() => seen.length).toBe(1);
  await node.stop();
  await node.start();
  await engine.submit([second.envelope]);
  await reading;
  expect(seen).toEqual([first.transactionId, second.transactionId]);
});
