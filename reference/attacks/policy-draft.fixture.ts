// A policy about to be submitted to the running management, to be spoilt before or after it is signed.
import { clone } from "@bufbuild/protobuf";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { DataProvider, Registered } from "../../conformance/roles/data-provider.ts";
import {
  type DataSharingInformation,
  type DataSharingPolicy,
  type PolicySubmission,
  PolicySubmissionSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";

const silent = () => {};
export const nobodyElse = { accessTimes: 1, readOnly: true };

export interface Draft {
  readonly provider: DataProvider;
  readonly key: Registered;
  readonly stored: Registered;
  readonly submission: PolicySubmission;
}

/** A provider put in session, with key and package registered and a submission that is right; `edit` spoils it before it is signed. */
export async function draftOf(
  provider: DataProvider,
  edit: (submission: PolicySubmission) => void = silent,
): Promise<Draft> {
  await provider.authenticate(silent);
  const key = await provider.registerKey(silent);
  const stored = await provider.registerPackage(silent);
  const submission = provider.submission(
    provider.information(key, stored),
    provider.permission(key, stored, nobodyElse),
  );
  edit(submission);
  return { provider, key, stored, submission };
}

export const informationOf = ({ information }: PolicySubmission): DataSharingInformation => {
  if (information === undefined) throw new Error("no information");
  return information;
};
export const policyOf = ({ policy }: PolicySubmission): DataSharingPolicy => {
  if (policy === undefined) throw new Error("no policy");
  return policy;
};

/** Refused with this edit; accepted without it. */
export async function refusedWith(
  { provider, submission }: Draft,
  edit: (submission: PolicySubmission) => void,
  reason: ErrorReason,
): Promise<void> {
  const spoilt = clone(PolicySubmissionSchema, submission);
  edit(spoilt);
  await expectRefusal(() => provider.submit(provider.sign(spoilt)), reason);
  await provider.submit(provider.sign(submission));
}

/** Makes a part of a message wrong. */
export function change<T extends object>(part: T | undefined, changes: { [K in keyof T]?: T[K] | undefined }): void {
  if (part === undefined) throw new Error("there is nothing to change");
  Object.assign(part, changes);
}
