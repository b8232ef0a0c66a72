// What an operator is told, and what is checked, before another node proposes.
import { expect, test } from "vitest";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { type FixtureNode, networkId } from "../ledger/ledger.fixture.ts";
import {
  create3,
  engineOf,
  identities,
  network,
  networksOfFile,
  reaches,
  refusedWith,
  sign,
  submit,
} from "../ledger/network.fixture.ts";
import { ProposerChange } from "./proposer-change.ts";

networksOfFile();

const signer = identities.signer("operator", "o");
const peer = directPeer(signer.identity);

function change(): ProposerChange {
  const nodes = network.nodes.map((node) => ({
    identity: node.identity,
    certificate: node.signer.certificate.certificates[0] ?? new Uint8Array(),
    get ledger() {
      return network.remote(node, signer.identity).ledger;
    },
    get system() {
      if (node.running === undefined) throw new TypeError(`${node.name} is down`);
      return bindDirect(node.running.registrations[2], { peer });
    },
  }));
  return new ProposerChange({ networkId, quorum: 2, signer, nodes, now: () => new Date() });
}

async function running(): Promise<[FixtureNode, FixtureNode, FixtureNode]> {
  const nodes = create3();
  for (const node of nodes) await node.start();
  await submit(nodes[0]);
  for (const node of nodes) await reaches(node, 1n);
  return nodes;
}

const proposing = async () =>
  (await change().states()).filter(({ proposer }) => proposer).map(({ identity }) => identity);

test("hands over; not to a node that proposes already, is away or is none", async () => {
  const [first, second, third] = await running();
  expect(await change().handOver(second.identity)).toMatchObject({ blockHeight: 2n });
  await reaches(second, 2n);
  expect(await proposing()).toEqual([second.identity]);
  await expect(change().handOver(second.identity)).rejects.toThrow("proposes already");
  await third.stop();
  await expect(change().handOver(third.identity)).rejects.toThrow("does not answer");
  await expect(change().handOver("urn:x1410:entity:ledger:n4")).rejects.toThrow(`there are ${first.identity}, `);
  await second.stop();
  await expect(change().handOver(first.identity)).rejects.toThrow("--take-over");
});

test("takes over from the newest block; not while a node proposes, and not with too few nodes", async () => {
  const [first, second, third] = await running();
  await expect(change().takeOver(second.identity)).rejects.toThrow(`${first.identity} proposes; leave out --take-over`);
  await expect(change().takeOver(first.identity)).rejects.toThrow("nothing is to be done");
  await third.stop();
  await submit(first);
  await reaches(second, 2n);
  await second.stop();
  await first.stop();
  await third.start();
  await expect(change().takeOver(third.identity)).rejects.toThrow(
    "1 of 3 nodes answer and accept blocks; start them until 2 do",
  );
  await third.stop();
  await second.start();
  await third.start({ peers: [], quorum: 1 });
  await expect(change().takeOver(third.identity)).rejects.toThrow(`${second.identity} holds 2; name that one`);
  expect(await change().takeOver(second.identity)).toMatchObject({ blockHeight: 3n });
  expect(await proposing()).toEqual([second.identity]);
  expect(await refusedWith(engineOf(third).submit([sign().envelope]))).toEqual(["FailedPrecondition", "NOT_PROPOSER"]);
});
