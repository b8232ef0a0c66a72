import { afterAll, describe, test as it } from "vitest";
import type { LedgerEngine } from "./engine.ts";
import { type EngineUnderTest, engineSuite } from "./engine-suite.ts";
import { type LedgerFixture, ledgerFixture, ledgerIdentities, networkId } from "./ledger.fixture.ts";
import { shortOfQuorum } from "./network.fixture.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { verifyCommitted } from "./verify.ts";

const identities = ledgerIdentities();
afterAll(() => identities.remove());

const test = (name: string, body: () => Promise<void>): void => it(name, body);

function underTest(fixture: LedgerFixture): Omit<EngineUnderTest, "engine"> {
  return {
    management: fixture.management,
    otherManagement: identities.signer("dssm", "other"),
    outsider: identities.signer("ledger", "outsider"),
    now: () => new Date(),
    verify: (committed) => verifyCommitted(committed, fixture.trust, networkId).valid,
    close: () => fixture.close(),
  };
}

/** Leaves the first node alone. */
async function aloneIn({ nodes: [first, ...others] }: LedgerFixture): Promise<void> {
  await first?.stop();
  for (const node of others) await node.stop();
  await first?.start(shortOfQuorum);
}

async function embedded(count: number, quorum: number): Promise<EngineUnderTest> {
  const fixture = ledgerFixture({ identities, count, quorum });
  for (const node of fixture.nodes) await node.start();
  const first = fixture.nodes[0] as (typeof fixture.nodes)[0];
  const engine = (): LedgerEngine => {
    if (first.running === undefined) throw new TypeError("the node is down");
    return first.running.engine;
  };
  return {
    ...underTest(fixture),
    engine: engine(),
    async reopen() {
      for (const node of fixture.nodes) await node.stop();
      for (const node of fixture.nodes) await node.start();
      return engine();
    },
    ...(quorum > 1 && {
      async shortOfQuorum() {
        await aloneIn(fixture);
        return engine();
      },
    }),
  };
}

describe("one node", () => engineSuite({ test, factory: () => embedded(1, 1) }));
describe("three nodes, quorum of two", () => engineSuite({ test, factory: () => embedded(3, 2) }));
describe("three nodes, quorum of three", () => engineSuite({ test, factory: () => embedded(3, 3) }));
describe("three nodes from another process", () =>
  engineSuite({
    test,
    async factory() {
      const fixture = ledgerFixture({ identities, count: 3, quorum: 2 });
      for (const node of fixture.nodes) await node.start();
      // The proposer last, so that it has to be found.
      const nodes = [...fixture.nodes].reverse().map((node) => fixture.remote(node, fixture.management.identity));
      const engine = new RemoteEngine({ networkId, nodes, retryMs: 10 });
      return {
        ...underTest(fixture),
        engine,
        async shortOfQuorum() {
          await aloneIn(fixture);
          return engine;
        },
      };
    },
  }));
