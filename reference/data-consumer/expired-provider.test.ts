// What a provider has signed stays readable after its certificate has expired, and is believed no more than it was when it was recorded.
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fingerprintOf } from "../../certs/identity.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { parseContractAddress } from "../communications/address.ts";
import { reasonOf, refusal, subjectOf } from "../communications/refusal.ts";
import { DataProvider } from "../data-provider/provider.ts";
import { EvidenceError } from "../user/evidence.ts";
import { Sharing } from "../user/sharing.fixture.ts";
import { failureOf, impatient, type UserFixture, userFixture } from "../user/user.fixture.ts";
import { DataConsumer } from "./consumer.ts";

const MINUTE = 60_000;
const plaintext = randomBytes(20_000);
const offer = {
  attributes: { category: "records", introduction: "for tests" },
  permission: { accessTimes: 5, expiration: new Date(Date.now() + 60 * MINUTE), readOnly: true },
};

let fixture: UserFixture;
beforeEach(() => {
  fixture = userFixture();
  fixture.signer("user", "provider", 10 * MINUTE);
});
afterEach(() => fixture.remove());

async function publish(services: ReturnType<Sharing["services"]>): Promise<string> {
  async function* data() {
    yield plaintext;
  }
  const user = fixture.user("provider", services);
  const provider = new DataProvider({ user, state: fixture.state(), patience: impatient });
  return (await provider.publish(data(), offer)).contractAddress;
}

async function published() {
  const sharing = new Sharing(fixture);
  const services = sharing.services();
  return { sharing, services, contractAddress: await publish(services) };
}

/** A consumer who comes after the provider's certificate has expired; everybody else's is valid still. */
function lateConsumer(services: ReturnType<Sharing["services"]>): DataConsumer {
  const verifier = fixture.pki.verifier();
  const later = new Date(Date.now() + 20 * MINUTE);
  const trust = {
    verify: (leaf: Uint8Array) => verifier.verifyAt(leaf, later),
    verifyAt: (leaf: Uint8Array, at: Date, graceMs?: number) => verifier.verifyAt(leaf, at, graceMs),
  };
  const user = { ...fixture.user("consumer", services), trust };
  return new DataConsumer({ user, state: fixture.state(), patience: impatient });
}

test("is found and read: its signatures are judged at the time of the contract's block", async () => {
  const { sharing, services, contractAddress } = await published();
  const consumer = lateConsumer(services);
  const found: string[] = [];
  for await (const one of consumer.search()) found.push(one.contractAddress);
  expect(found).toEqual([contractAddress]);
  const session = await consumer.access(contractAddress);
  const parts: Buffer[] = [];
  await session.present((bytes) => void parts.push(Buffer.from(bytes)));
  await session.close();
  expect(Buffer.compare(Buffer.concat(parts), plaintext)).toBe(0);
  expect(sharing.calls).toContain("GetTransaction");
});

test("a certificate that is valid still needs no ledger node", async () => {
  const { sharing, services, contractAddress } = await published();
  const user = fixture.user("consumer", services);
  const session = await new DataConsumer({ user, state: fixture.state(), patience: impatient }).access(contractAddress);
  await session.close();
  expect(sharing.calls).not.toContain("GetTransaction");
});

test("refused where it was revoked before it was recorded", async () => {
  const [leaf = new Uint8Array()] = fixture.signer("user", "provider").certificate.certificates;
  fixture.pki.intermediate.revoke(fingerprintOf(leaf), "keyCompromise");
  const { services, contractAddress } = await published();
  const cause = await failureOf(lateConsumer(services).access(contractAddress));
  expect([reasonOf(cause), subjectOf(cause)]).toEqual([ErrorReason.SIGNER_UNTRUSTED, "certificate: revoked"]);
});

test("refused where no ledger node shows when it was recorded, or one shows another contract", async () => {
  const { sharing, services, contractAddress } = await published();
  const consumer = lateConsumer(services);
  sharing.fail("GetTransaction", refusal(ErrorReason.TRANSACTION_NOT_FOUND));
  expect(reasonOf(await failureOf(consumer.lookUp(contractAddress)))).toBe(ErrorReason.TRANSACTION_NOT_FOUND);
  const other = await publish(services);
  sharing.shown = () => parseContractAddress(other).contractId;
  expect(await failureOf(consumer.lookUp(contractAddress))).toBeInstanceOf(EvidenceError);
});
