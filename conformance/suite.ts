// The suite: every test purpose of the kit, its version, and a hash over what the purposes ask, so that two reports can be compared.
import { createHash } from "node:crypto";
import { brokenRequestPurposes } from "./purposes/broken-requests.ts";
import { clientAuthenticationPurposes } from "./purposes/client-authentication.ts";
import { consumerAccessPurposes } from "./purposes/dc-access.ts";
import { consumerGrantPurposes } from "./purposes/dc-grants.ts";
import { consumerPackagePurposes } from "./purposes/dc-packages.ts";
import { consumerUsagePurposes } from "./purposes/dc-usage.ts";
import { providerAnswerPurposes } from "./purposes/dp-answers.ts";
import { providerEncryptionPurposes } from "./purposes/dp-encryption.ts";
import { providerPublicationPurposes } from "./purposes/dp-publication.ts";
import { dataDistributionPurposes } from "./purposes/dss-data-distribution.ts";
import { dataStoragePurposes } from "./purposes/dss-data-storage.ts";
import { dataStorageCallerPurposes } from "./purposes/dss-data-storage-callers.ts";
import { invalidDataStoragePurposes } from "./purposes/dss-data-storage-invalid.ts";
import { dataStorageOrderPurposes } from "./purposes/dss-data-storage-order.ts";
import { accessRecordPurposes } from "./purposes/dssm-access-records.ts";
import { accessRulePurposes } from "./purposes/dssm-access-rules.ts";
import { componentPurposes } from "./purposes/dssm-components.ts";
import { dataSharingAccessPurposes } from "./purposes/dssm-data-sharing-access.ts";
import { ledgerPurposes } from "./purposes/dssm-ledger.ts";
import { policyInopportunePurposes } from "./purposes/dssm-policy-inopportune.ts";
import { policyOrderPurposes } from "./purposes/dssm-policy-order.ts";
import { policyRulePurposes } from "./purposes/dssm-policy-rules.ts";
import { publicationPurposes } from "./purposes/dssm-publication.ts";
import { sessionOverPurposes } from "./purposes/dssm-session-over.ts";
import { sessionPurposes } from "./purposes/dssm-sessions.ts";
import { signatureAlgorithmPurposes } from "./purposes/dssm-signature-algorithms.ts";
import { signedRequestsPurposes } from "./purposes/dssm-signed-requests.ts";
import { subscriptionPurposes } from "./purposes/dssm-subscription.ts";
import { tokenIntrospectionPurposes } from "./purposes/dssm-token-introspection.ts";
import { userAccountPurposes } from "./purposes/dssm-user-account.ts";
import { userAccountRulePurposes } from "./purposes/dssm-user-account-rules.ts";
import { userAuthenticationPurposes } from "./purposes/dssm-user-authentication.ts";
import { exposurePurposes } from "./purposes/exposure.ts";
import { communicationsPurposes } from "./purposes/handshakes.ts";
import { keyStoragePurposes } from "./purposes/kss-key-storage.ts";
import { invalidKeyStoragePurposes } from "./purposes/kss-key-storage-invalid.ts";
import { keyStorageOrderPurposes } from "./purposes/kss-key-storage-order.ts";
import { tokenRedemptionPurposes } from "./purposes/kss-token-redemption.ts";
import { tokenVerificationPurposes } from "./purposes/kss-token-verification.ts";
import { preSharedKeyPurposes } from "./purposes/pre-shared-keys.ts";
import { procedurePurposes } from "./purposes/procedures.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { standardServicesPurposes } from "./purposes/standard-services.ts";
import { expectationText } from "./refusal.ts";

/** Of the suite, apart from that of the package: it changes when a purpose is added, removed, or asks something else (frozen-suite.ts). */
export const suiteVersion = "0.3.0";
export const recommendation = "ITU-T X.1410 (03/2023)";
export const profile = "x1410.v1";

/** One list for each component, in the order of the catalogue; the procedures, which need them all and take longest, last. */
export const purposes: readonly Purpose[] = [
  communicationsPurposes,
  preSharedKeyPurposes,
  standardServicesPurposes,
  exposurePurposes,
  brokenRequestPurposes,
  userAccountPurposes,
  userAccountRulePurposes,
  userAuthenticationPurposes,
  sessionPurposes,
  sessionOverPurposes,
  signedRequestsPurposes,
  signatureAlgorithmPurposes,
  policyRulePurposes,
  policyOrderPurposes,
  policyInopportunePurposes,
  dataSharingAccessPurposes,
  accessRulePurposes,
  accessRecordPurposes,
  publicationPurposes,
  subscriptionPurposes,
  componentPurposes,
  tokenIntrospectionPurposes,
  ledgerPurposes,
  keyStoragePurposes,
  keyStorageOrderPurposes,
  invalidKeyStoragePurposes,
  tokenVerificationPurposes,
  tokenRedemptionPurposes,
  dataStoragePurposes,
  dataStorageOrderPurposes,
  invalidDataStoragePurposes,
  dataStorageCallerPurposes,
  dataDistributionPurposes,
  procedurePurposes,
  clientAuthenticationPurposes,
  providerPublicationPurposes,
  providerEncryptionPurposes,
  providerAnswerPurposes,
  consumerAccessPurposes,
  consumerPackagePurposes,
  consumerGrantPurposes,
  consumerUsagePurposes,
].flat();

/** SHA-256 over id, clause and expectation of each purpose, one a line, sorted by id; lower-case hexadecimal. */
export function suiteHash(list: readonly Purpose[] = purposes): string {
  const lines = list.map(({ id, clause, expected }) => `${id}\t${clause}\t${expectationText(expected)}\n`);
  return createHash("sha256").update(lines.sort().join("")).digest("hex");
}
