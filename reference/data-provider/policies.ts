// Managing what is shared already (P9, P10, DSPM5): list, read, change, end; what the management notifies of; removing what is left.
import { clone, create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client } from "@connectrpc/connect";
import {
  AccessPermissionSchema,
  AllowedPartiesSchema,
  type ContractNotification,
  DataAttributesSchema,
  DataSharingInformationSchema,
  DataSharingPolicySchema,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { parseStorageAddress } from "../communications/address.ts";
import { refusal } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { follow } from "../user/followed-stream.ts";
import { defaultPatience, type Patience, repeat } from "../user/repetition.ts";
import { openSignedPolicy, type SignedPolicy } from "../user/signed-policy.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import type { PermissionTerms } from "./offer.ts";
import { checkRecordedPolicy } from "./recorded-policy.ts";

/** What to change; what is left out stays as it is. Provider, key and package of a policy never change. */
export interface PolicyChange {
  readonly attributes?: MessageInitShape<typeof DataAttributesSchema>;
  readonly allowed?: MessageInitShape<typeof AllowedPartiesSchema>;
  /** Only where the policy has an access permission. */
  readonly permission?: Partial<PermissionTerms>;
  readonly policy?: Pick<MessageInitShape<typeof DataSharingPolicySchema>, "validUntil" | "terms">;
}

export interface PoliciesDependencies {
  readonly user: ConnectedUser;
  readonly state: StateDirectory;
  readonly now?: () => Date;
  readonly patience?: Patience;
}

/** A policy with what was signed last. */
export interface OwnPolicy {
  readonly record: PolicyRecord;
  readonly signed: SignedPolicy;
}

export class Policies {
  readonly #user: ConnectedUser;
  readonly #state: StateDirectory;
  readonly #now: () => Date;
  readonly #patience: Patience;

  constructor({ user, state, now = () => new Date(), patience = defaultPatience }: PoliciesDependencies) {
    this.#user = user;
    this.#state = state;
    this.#now = now;
    this.#patience = patience;
  }

  /** In the order of their submission, without evidence. */
  async *list(): AsyncGenerator<OwnPolicy, void> {
    let pageToken = "";
    do {
      const page = await this.#call((client, options) => client.listPolicies({ pageSize: 100, pageToken }, options));
      for (const record of page.policies) yield this.#opened(record);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** @throws ConnectError POLICY_NOT_FOUND */
  async get(policyId: string): Promise<OwnPolicy> {
    const { policy } = await this.#call((client, options) => client.getPolicy({ policyId }, options));
    return this.#opened(policy ?? missing(policyId));
  }

  /**
   * Signs the next version of the policy, all of it again.
   * @throws ConnectError POLICY_VERSION_STALE where it was changed meanwhile, INFORMATION_MISMATCH, POLICY_STATE_INVALID
   */
  async update(policyId: string, change: PolicyChange): Promise<PolicyRecord> {
    const { signed } = await this.get(policyId);
    const { information, policy, accessPermission } = signed;
    if (change.permission !== undefined && accessPermission === undefined)
      throw refusal(ErrorReason.POLICY_STATE_INVALID, "the policy has no access permission");
    const { allowed, attributes } = information;
    const nextInformation = changed(DataSharingInformationSchema, information, {
      attributes: changed(DataAttributesSchema, attributes, change.attributes),
      ...(change.allowed && { allowed: changed(AllowedPartiesSchema, allowed, change.allowed) }),
    });
    const message = create(PolicyUpdateSchema, {
      context: newContext(this.#user, this.#user.managementIdentity, this.#now()),
      information: nextInformation,
      policy: changed(DataSharingPolicySchema, policy, { ...change.policy, version: policy.version + 1n }),
      ...(accessPermission && {
        accessPermission: changed(AccessPermissionSchema, accessPermission, changedTerms(change.permission)),
      }),
    });
    const update = signMessage(this.#user.signer, PolicyUpdateSchema, message);
    const { policy: record = missing(policyId) } = await this.#call((client, options) =>
      client.updatePolicy({ update }, options),
    );
    checkRecordedPolicy(record, update, this.#user);
    return record;
  }

  /** No more accesses from now on. @throws ConnectError POLICY_NOT_FOUND, POLICY_VERSION_STALE */
  async withdraw(policyId: string, reason = ""): Promise<PolicyRecord> {
    const { record } = await this.get(policyId);
    const message = create(PolicyWithdrawalSchema, {
      context: newContext(this.#user, this.#user.managementIdentity, this.#now()),
      policyId,
      version: record.version,
      reason,
    });
    const withdrawal = signMessage(this.#user.signer, PolicyWithdrawalSchema, message);
    const { policy = missing(policyId) } = await this.#call((client, options) =>
      client.withdrawPolicy({ withdrawal }, options),
    );
    return policy;
  }

  /** Deletes key and package of a withdrawn policy. @throws ConnectError OBJECT_IN_USE while a live contract uses them */
  async deleteObjects(policyId: string): Promise<void> {
    const { information } = (await this.get(policyId)).signed;
    const { keyId, packageId } = information;
    const key = this.#user.client(KeyStorageService, parseStorageAddress(information.keyAddress).entity);
    const stored = this.#user.client(DataStorageService, parseStorageAddress(information.packageAddress).entity);
    await repeat(this.#patience, () => key.deleteKey({ keyId }));
    await repeat(this.#patience, () => stored.deletePackage({ packageId }));
  }

  /** P9, F3.9.1: what the provider has not been told of yet, then what comes, until `signal` aborts. */
  notifications(signal?: AbortSignal): AsyncGenerator<ContractNotification, void> {
    const client = this.#user.management(DataSharingPolicyService);
    return follow({
      user: this.#user,
      state: this.#state,
      name: "notifications.json",
      patience: this.#patience,
      ...(signal === undefined ? {} : { signal }),
      open: (afterPosition, options) => client.watchNotifications({ afterPosition }, options),
      content: ({ notification }) => notification,
    });
  }

  #call<T>(call: (client: Client<typeof DataSharingPolicyService>, options: CallOptions) => Promise<T>): Promise<T> {
    const client = this.#user.management(DataSharingPolicyService);
    return repeat(this.#patience, () => this.#user.inSession((options) => call(client, options)));
  }

  #opened(record: PolicyRecord): OwnPolicy {
    if (record.signedPolicy === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING, record.policyId);
    return { record, signed: openSignedPolicy(record.signedPolicy, this.#user.trust) };
  }
}

/** A copy with the fields of `change` in place of its own. */
function changed<D extends DescMessage>(
  schema: D,
  message: MessageShape<D> | undefined,
  change: MessageInitShape<D> | undefined,
): MessageShape<D> {
  const copy = message === undefined ? create(schema) : clone(schema, message);
  if (change === undefined) return copy;
  const made = create(schema, change);
  for (const { localName } of schema.fields)
    if (localName in change) Reflect.set(copy, localName, Reflect.get(made, localName));
  return copy;
}

function changedTerms(terms: Partial<PermissionTerms> = {}): MessageInitShape<typeof AccessPermissionSchema> {
  const { expiration, ...others } = terms;
  return { ...others, ...(expiration === undefined ? {} : { expiration: timestampFromDate(expiration) }) };
}

function missing(policyId: string): never {
  throw refusal(ErrorReason.POLICY_NOT_FOUND, policyId);
}
