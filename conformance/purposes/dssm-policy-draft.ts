// A policy on its way: key and package registered, a submission that is right, and what can be done with it.
import { create } from "@bufbuild/protobuf";
import {
  type DataSharingInformation,
  type DataSharingPolicy,
  type PolicySubmission,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { newContext, signMessage } from "../../reference/envelope/sign.ts";
import { expect } from "../procedures/procedure.ts";
import type { DataProvider, Registered, Terms } from "../roles/data-provider.ts";
import type { TestCase } from "../test-case.ts";

export interface Draft {
  readonly provider: DataProvider;
  readonly key: Registered;
  readonly stored: Registered;
  /** Undefined in Annex A.1. */
  readonly terms: Terms | undefined;
  readonly submission: PolicySubmission;
}

const silent = () => {};

export const oneAccess: Terms = { accessTimes: 1, readOnly: true };

export function policies(user: DataProvider) {
  return user.client(DataSharingPolicyService, "dssm");
}

/** Registers key and package, and puts a submission together. All of it is taken away afterwards. */
export async function draft(t: TestCase, terms: Terms = oneAccess, provider = t.provider): Promise<Draft> {
  if (provider.session === "") await t.inSession(provider);
  const [key, stored] = await Promise.all([provider.registerKey(silent), provider.registerPackage(silent)]);
  t.cleanUp(() => provider.client(KeyStorageService, "kss").deleteKey({ keyId: key.id }));
  t.cleanUp(() => provider.client(DataStorageService, "dss").deletePackage({ packageId: stored.id }));
  const submission = provider.submission(provider.information(key, stored), provider.permission(key, stored, terms));
  endAfterwards(t, provider, policyOf(submission).policyId);
  return { provider, key, stored, terms, submission };
}

/** Another submission for the same key and package, under a policy id of its own. */
export function anotherSubmission(t: TestCase, { provider, key, stored, terms }: Draft): PolicySubmission {
  const submission = provider.submission(
    provider.information(key, stored),
    terms && provider.permission(key, stored, terms),
  );
  endAfterwards(t, provider, policyOf(submission).policyId);
  return submission;
}

export function submit({ provider, submission }: Draft): Promise<PolicyRecord> {
  return provider.submit(provider.sign(submission));
}

/** F3.7.1 to F3.7.4: stores key and package. */
export async function fill(t: TestCase, { provider, key, stored }: Draft): Promise<void> {
  const secret = t.random(32);
  const encrypted = provider.encrypt(t.seeded(300), secret, key);
  const wrapped = provider.package(provider.metadata(key, stored, encrypted.encryptedData), encrypted);
  await Promise.all([provider.storeKey(key, secret, silent), provider.storePackage(stored, wrapped, silent)]);
}

/** Submits where all is stored, which records and publishes at once. */
export async function published(t: TestCase, made: Draft): Promise<PolicyRecord> {
  await fill(t, made);
  return submit(made);
}

/** The next version of a policy, its terms in prose changed. */
export function signedUpdate(
  made: Draft,
  version: bigint,
  edit: (parts: { information: DataSharingInformation; policy: DataSharingPolicy }) => void = silent,
): SignedEnvelope {
  return signMessage(made.provider.signer, PolicyUpdateSchema, updateOf(made, version, edit));
}

export function updateOf(
  { provider, key, stored, terms, submission }: Draft,
  version: bigint,
  edit: (parts: { information: DataSharingInformation; policy: DataSharingPolicy }) => void = silent,
) {
  const information = provider.information(key, stored);
  const { context, policy, accessPermission } = provider.submission(
    information,
    terms && provider.permission(key, stored, terms),
  );
  if (context === undefined || policy === undefined) throw new Error("a submission without context or policy");
  const next = { ...policy, policyId: policyOf(submission).policyId, version, terms: `Version ${version}` };
  edit({ information, policy: next });
  return create(PolicyUpdateSchema, {
    context,
    information,
    policy: next,
    ...(accessPermission && { accessPermission }),
  });
}

export function withdrawalOf(provider: DataProvider, policyId: string, version = 1n) {
  return create(PolicyWithdrawalSchema, {
    context: newContext(provider.signer, provider.management, new Date()),
    policyId,
    version,
    reason: "the purpose is over",
  });
}

export function signedWithdrawal(provider: DataProvider, policyId: string, version = 1n): SignedEnvelope {
  return signMessage(provider.signer, PolicyWithdrawalSchema, withdrawalOf(provider, policyId, version));
}

export async function currentPolicy(provider: DataProvider, policyId: string): Promise<PolicyRecord> {
  const { policy } = await policies(provider).getPolicy({ policyId }, provider.inSession);
  expect(policy !== undefined, "the policy's state");
  return policy;
}

/** Ends the policy afterwards, whatever its version, if it was ever submitted. */
export function endAfterwards(t: TestCase, provider: DataProvider, policyId: string): void {
  t.cleanUp(async () => {
    const { version } = await currentPolicy(provider, policyId);
    const withdrawal = signedWithdrawal(provider, policyId, version);
    await policies(provider).withdrawPolicy({ withdrawal }, provider.inSession);
  });
}

export function policyOf({ policy }: PolicySubmission): DataSharingPolicy {
  if (policy === undefined) throw new Error("a submission without a policy");
  return policy;
}

export function informationOf({ information }: PolicySubmission): DataSharingInformation {
  if (information === undefined) throw new Error("a submission without information");
  return information;
}
