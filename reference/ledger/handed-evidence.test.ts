// Evidence as a management hands it out, and what may have been done to it since.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary, toJson, toJsonString } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GetAccessRecordResponseSchema } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  AccessRecordSchema,
  PolicyState,
  type PolicySubmission,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PolicyRecordSchema } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { contractAddress, keyAddress, packageAddress } from "../communications/address.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { ledgerCommand } from "./cli.ts";
import { commit } from "./commitment.ts";
import type { Committed, LedgerEngine } from "./engine.ts";
import { hexId, ledgerFixture, ledgerIdentities, networkId } from "./ledger.fixture.ts";
import { signTransaction, type TransactionAction } from "./transaction.ts";

const identities = ledgerIdentities();
const data = mkdtempSync(join(tmpdir(), "x1410-handed-"));
const network = ledgerFixture({ identities, count: 3, quorum: 2 });
const policyId = hexId();
const address = contractAddress(networkId, policyId);
const revokedId = hexId();
const bob = identities.signer("user", "bob");
const carol = identities.signer("user", "carol");
const submission = submissionOf(bob);
const signedPolicy = signMessage(bob, PolicySubmissionSchema, submission);
const terms = commit("signed-policy", signedPolicy.payload);
const update = signMessage(bob, PolicyUpdateSchema, {
  ...submissionOf(bob, 2n),
  $typeName: "x1410.v1.PolicyUpdate",
});
const newTerms = commit("signed-policy", update.payload);
const withdrawal = commit("withdrawal", Buffer.from("what the provider signed in the end"));
const record = create(AccessRecordSchema, {
  accessId: hexId(),
  contractAddress: address,
  consumerIdentity: "urn:x1410:user:alice",
  accessNumber: 3,
  accessedAt: timestampFromDate(new Date(0)),
  purpose: "billing",
});
const recorded = commit("record", toBinary(AccessRecordSchema, record));
const revokedPolicy = signMessage(carol, PolicySubmissionSchema, submissionOf(carol));
const revokedTerms = commit("signed-policy", revokedPolicy.payload);
let created: Committed;
let updated: Committed;
let accessed: Committed;
let withdrawn: Committed;
let createdAfterRevocation: Committed;

beforeAll(async () => {
  identities.revoke(carol);
  cpSync(identities.pkiDirectory, join(data, "pki"), { recursive: true });
  const parameters = create(NetworkParametersSchema, { networkId, quorum: 2 });
  writeFileSync(join(data, "network.json"), toJsonString(NetworkParametersSchema, parameters));
  const engines: LedgerEngine[] = [];
  for (const node of network.nodes) engines.push((await node.start()).engine);
  const [engine] = engines as [LedgerEngine];
  const submit = async (action: TransactionAction): Promise<Committed> => {
    const { envelope, transactionId } = signTransaction(network.management, networkId, action, new Date());
    await engine.submit([envelope]);
    return (await engine.get(transactionId)) as Committed;
  };
  const contractId = policyId;
  created = await submit({ case: "createContract", value: { contractId, commitments: [terms.commitment] } });
  const { accessId } = record;
  const consumerPseudonym = new Uint8Array(32);
  const commitments = [recorded.commitment];
  accessed = await submit({ case: "recordAccess", value: { accessId, contractId, consumerPseudonym, commitments } });
  updated = await submit({
    case: "updateContract",
    value: { contractId, version: 2n, commitments: [newTerms.commitment] },
  });
  withdrawn = await submit({
    case: "withdrawContract",
    value: { contractId, commitments: [withdrawal.commitment] },
  });
  createdAfterRevocation = await submit({
    case: "createContract",
    value: { contractId: revokedId, commitments: [revokedTerms.commitment] },
  });
});
afterAll(async () => {
  await network.close();
  rmSync(data, { recursive: true });
  identities.remove();
});

/** Without an access permission, and signed by nobody yet. */
function submissionOf(provider: Signer, version = 1n): PolicySubmission {
  const [kss, dss] = ["urn:x1410:entity:kss:one", "urn:x1410:entity:dss:one"] as const;
  const [keyId, packageId] = [hexId(), hexId()];
  return create(PolicySubmissionSchema, {
    context: newContext(provider, "urn:x1410:entity:dssm:m", new Date()),
    information: {
      providerIdentity: provider.identity,
      providerPublicKey: provider.publicKey,
      keyId,
      keyAddress: keyAddress(kss, keyId),
      packageId,
      packageAddress: packageAddress(dss, packageId),
      attributes: { category: "subscriber-records" },
      encryptedData: { sha256: Buffer.alloc(32), size: 72n, commitment: Buffer.alloc(32) },
    },
    policy: {
      policyId: provider === carol ? revokedId : policyId,
      version,
      managementIdentity: "urn:x1410:entity:dssm:m",
    },
  });
}

/** What is handed out, as a forger edits it. */
interface Edited {
  readonly record: { readonly receipt: { readonly distribution: readonly { readonly signatures: unknown }[] } };
  readonly receipt: object;
  readonly signedPolicy: object;
  readonly openings: readonly object[];
}

async function check(handedOut: object): Promise<string> {
  const file = join(data, "evidence.json");
  writeFileSync(file, JSON.stringify(handedOut));
  let out = "";
  const command = ledgerCommand();
  for (const one of command.commands) {
    one.exitOverride().configureOutput({
      writeOut: (text) => {
        out += text;
      },
    });
  }
  await command.parseAsync(["check", file, "--data", data], { from: "user" });
  return out;
}

function access(edit: (handedOut: Edited) => void = () => undefined): Edited {
  const { receipt, proof } = accessed;
  const response = { record: { ...record, receipt }, proof, openings: [recorded.opening] };
  const message = create(GetAccessRecordResponseSchema, response);
  const handedOut = toJson(GetAccessRecordResponseSchema, message) as unknown as Edited;
  edit(handedOut);
  return handedOut;
}

function policy(
  { receipt, proof }: Committed,
  state: PolicyState,
  edit: (handedOut: Edited) => void = () => undefined,
) {
  const openings = state === PolicyState.WITHDRAWN ? [terms.opening, withdrawal.opening] : [terms.opening];
  const one = { policyId, state, version: 1n, signedPolicy, contractAddress: address, receipt, openings, proof };
  const handedOut = toJson(PolicyRecordSchema, create(PolicyRecordSchema, one)) as unknown as Edited;
  edit(handedOut);
  return handedOut;
}

test("an access record holds: it is the one that the ledger commits to, and the nodes that signed for it are counted", async () => {
  const printed = await check(access());
  expect(printed).toMatch(/^holds: recordAccess by urn:x1410:entity:dssm:m\nblock {3}2 of test.net/);
  expect(printed).toMatch(/\nnodes {3}[23] of a quorum of 2: urn:x1410:entity:ledger:n1 urn:x1410:entity:ledger:n[23]/);
  expect(printed).toContain("\nrecord  is the one that the ledger commits to\n");
  const own = await check(access(({ record }) => Object.assign(record, { note: "mine", archived: true })));
  expect(own).toContain("\nnot on the ledger in this transaction: note, archived\n");
});

test.each<[string, (handedOut: Edited) => void, string]>([
  ["the number of the access", ({ record }) => Object.assign(record, { accessNumber: 1 }), "is not the one that"],
  ["the purpose", ({ record }) => Object.assign(record, { purpose: "resale" }), "is not the one that"],
  ["the time", ({ record }) => Object.assign(record, { accessedAt: "2026-01-01T00:00:00Z" }), "is not the one that"],
  ["the access", ({ record }) => Object.assign(record, { accessId: hexId() }), "is not that of the access record"],
  [
    "the contract",
    ({ record }) => Object.assign(record, { contractAddress: contractAddress(networkId, hexId()) }),
    "is not that of the access record",
  ],
  ["the opening, taken away", (handedOut) => Object.assign(handedOut, { openings: [] }), 'nothing opens "record"'],
  [
    "the block's height in its receipt",
    ({ record }) => Object.assign(record.receipt, { blockHeight: "3" }),
    "receipt:",
  ],
  ["the place in its receipt", ({ record }) => Object.assign(record.receipt, { index: 1 }), "receipt:"],
  [
    "the hash in its receipt",
    ({ record }) => Object.assign(record.receipt, { blockHash: Buffer.alloc(32).toString("base64") }),
    "receipt:",
  ],
  [
    "the outcome in its receipt",
    ({ record }) => Object.assign(record.receipt, { outcome: "TRANSACTION_OUTCOME_REJECTED" }),
    "receipt:",
  ],
  [
    "the rule in its receipt",
    ({ record }) => Object.assign(record.receipt, { rejection: "REJECTION_REASON_EXPIRED" }),
    "receipt:",
  ],
  [
    "the transaction in its receipt",
    ({ record }) => Object.assign(record.receipt, { transactionId: created.transactionId }),
    "transaction-id:",
  ],
  [
    "a node's word in its receipt",
    ({ record }) => {
      Object.assign(record.receipt, {
        distribution: created.receipt.distribution.map((one) => ({
          payload: Buffer.from(one.payload).toString("base64"),
          payloadType: one.payloadType,
          signatures: record.receipt.distribution[0]?.signatures,
        })),
      });
    },
    "distribution: SIGNATURE_INVALID",
  ],
])("an access record in which somebody altered %s does not hold", async (_, edit, why) => {
  await expect(check(access())).resolves.toMatch(/^holds/);
  await expect(check(access(edit))).rejects.toThrow(/^the evidence does not hold: /);
  await expect(check(access(edit))).rejects.toThrow(why);
});

test("a policy holds as it was signed, and an altered one does not", async () => {
  const published = (edit?: (handedOut: Edited) => void) => policy(created, PolicyState.PUBLISHED, edit);
  expect(await check(published())).toMatch(
    /\nopens {3}signed-policy: \d+ bytes, SHA-256 [0-9a-f]{64}\nnot on the ledger in this transaction: state, submittedAt\n$/,
  );
  const refused = async (edit: (handedOut: Edited) => void, why: string) =>
    expect(check(published(edit))).rejects.toThrow(`the evidence does not hold: ${why}`);
  const payload = Buffer.from("something else").toString("base64");
  await refused((one) => Object.assign(one.signedPolicy, { payload }), "the policy is not the one that");
  await refused((one) => Object.assign(one, { policyId: hexId() }), "the transaction is not that of the policy");
  await refused((one) => Object.assign(one, { state: "POLICY_STATE_WITHDRAWN" }), "the state of the policy is not");
  await refused((one) => Object.assign(one, { openings: [] }), 'nothing opens "signed-policy"');
  await refused((one) => Object.assign(one.receipt, { blockHeight: "9" }), "receipt:");
});

test("a policy's signature is that of the provider which it names, over the words on the ledger", async () => {
  const published = (edit?: (handedOut: Edited) => void) => policy(created, PolicyState.PUBLISHED, edit);
  const mallory = identities.signer("user", "mallory");
  const json = (envelope: SignedEnvelope) => toJson(SignedEnvelopeSchema, envelope) as object;
  const other = json(signMessage(bob, PolicySubmissionSchema, submissionOf(bob))) as { signatures: object };
  const refused = async (edit: (handedOut: Edited) => void, why: RegExp) =>
    expect(check(published(edit))).rejects.toThrow(why);
  await expect(check(published())).resolves.toMatch(/^holds/);
  await refused(
    (one) => Object.assign(one, { signedPolicy: json(signMessage(mallory, PolicySubmissionSchema, submission)) }),
    /the policy is signed by urn:x1410:user:mallory, who is not the provider that it names$/,
  );
  await refused(
    ({ signedPolicy }) => Object.assign(signedPolicy, { signatures: other.signatures }),
    /signature of the policy does not verify: SIGNATURE_INVALID/,
  );
  await refused(
    ({ signedPolicy }) => Object.assign(signedPolicy, { signatures: [] }),
    /signature of the policy does not verify: SIGNATURE_MISSING/,
  );
  await refused(
    ({ signedPolicy }) => Object.assign(signedPolicy, { payloadType: update.payloadType }),
    /signature of the policy does not verify: PAYLOAD_TYPE_MISMATCH/,
  );
  await refused((one) => Object.assign(one, { version: "2" }), /id and version of the policy are not those that/);
  const pending = await check(published((one) => Object.assign(one, { pending: ["PENDING_STORAGE_KEY"] })));
  expect(pending).toContain("\nnot on the ledger in this transaction: state, submittedAt, pending\n");
});

test("a provider that was revoked before the block signs nothing in it: what it signed had to be taken by no node, and has no grace", async () => {
  const { receipt, proof } = createdAfterRevocation;
  const handedOut = create(PolicyRecordSchema, {
    policyId: revokedId,
    state: PolicyState.PUBLISHED,
    version: 1n,
    signedPolicy: revokedPolicy,
    contractAddress: contractAddress(networkId, revokedId),
    receipt,
    openings: [revokedTerms.opening],
    proof,
  });
  await expect(check(toJson(PolicyRecordSchema, handedOut) as object)).rejects.toThrow(
    /signature of the policy does not verify: SIGNER_UNTRUSTED .*revoked/,
  );
});

test("an updated policy holds as the update that its provider signed", async () => {
  const { receipt, proof } = updated;
  const one = { policyId, state: PolicyState.PUBLISHED, version: 2n, contractAddress: address, receipt, proof };
  const handedOut = (version: bigint) =>
    toJson(
      PolicyRecordSchema,
      create(PolicyRecordSchema, { ...one, version, signedPolicy: update, openings: [newTerms.opening] }),
    ) as object;
  expect(await check(handedOut(2n))).toMatch(/^holds: updateContract by /);
  await expect(check(handedOut(1n))).rejects.toThrow("id and version of the policy are not those that");
});

test("two receipts are one, or the evidence is none", async () => {
  const { receipt } = access().record;
  expect(await check({ ...access(), receipt })).toMatch(/^holds/);
  for (const two of [
    access(({ record }) => Object.assign(record.receipt, { blockHeight: "9" })),
    access(({ record }) => Object.assign(record.receipt, { distribution: [] })),
  ])
    await expect(check({ ...two, receipt })).rejects.toThrow("is no evidence: its two receipts differ");
});

test("a withdrawn policy: the withdrawal is checked, and it is said what an earlier transaction commits to", async () => {
  const printed = await check(policy(withdrawn, PolicyState.WITHDRAWN));
  expect(printed).toMatch(/^holds: withdrawContract by /);
  expect(printed).toMatch(/\nopens {3}withdrawal: /);
  expect(printed).toContain(
    "\nnot checked: the opening of signed-policy, which an earlier transaction of the policy commits to\n",
  );
  expect(printed).toContain("\nnot on the ledger in this transaction: version, submittedAt, signedPolicy\n");
  const bare = policy(withdrawn, PolicyState.WITHDRAWN, (one) => Object.assign(one, { openings: [] }));
  expect(await check(bare)).toContain("\nnot on the ledger in this transaction: version, submittedAt, signedPolicy\n");
  const salt = Buffer.alloc(32).toString("base64");
  await expect(
    check(policy(withdrawn, PolicyState.WITHDRAWN, ({ openings }) => Object.assign(openings[1] ?? {}, { salt }))),
  ).rejects.toThrow('the opening of "withdrawal" does not open what is on the ledger');
  await expect(
    check(policy(withdrawn, PolicyState.WITHDRAWN, (one) => Object.assign(one, { state: "POLICY_STATE_PUBLISHED" }))),
  ).rejects.toThrow("the state of the policy is not what withdrawContract makes of it");
});

test("parts of no known kind are named", async () => {
  expect(await check({ ...access(), remark: "trust me" })).toContain("\nnot looked at: remark\n");
});
