// Data-sharing policy management (DSPM, clause 6.2.2; F3.5 to F3.9, A1.5 to A1.9): takes what a provider has signed, has it recorded and
// published once key and package are stored, and lets the provider manage it (DSPM5).
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  PolicySubmissionSchema,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  ConfirmStorageResponseSchema,
  DataSharingPolicyService,
  GetPolicyResponseSchema,
  ListPoliciesResponseSchema,
  type PolicyRecord,
  SubmitPolicyResponseSchema,
  UpdatePolicyResponseSchema,
  WithdrawPolicyResponseSchema,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Log } from "../communications/log.ts";
import { peerKey } from "../communications/peer.ts";
import { reasonName, reasonOf, refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { AnswerStore, type SignedAnswerKey } from "../envelope/answer-store.ts";
import { openSignedRequest } from "../envelope/signed-request.ts";
import type { Signer } from "../envelope/signer.ts";
import type { Trust } from "../envelope/verify.ts";
import { messageTable, type Store } from "../store/durable-batch.ts";
import type { Contracts } from "./contracts.ts";
import { orderedKey } from "./event-log.ts";
import { PolicyLife, type PolicyLifeDependencies } from "./policy-life.ts";
import { PolicyNotifications } from "./policy-notifications.ts";
import { policyRecord } from "./policy-record.ts";
import { requireAgreement } from "./policy-rules.ts";
import { PolicyStore } from "./policy-store.ts";
import type { SessionGate } from "./session-gate.ts";

const DEFAULT_PAGE_SIZE = 100;

/** A page ends early at this size: the answer stays below what gRPC libraries receive by default, 4 MiB. */
const PAGE_BYTES = 2 << 20;

export interface DataSharingPolicyDependencies
  extends Omit<PolicyLifeDependencies, "policies" | "notifications" | "management"> {
  /** Of policy management alone. */
  readonly store: Store;
  readonly gate: SessionGate;
  /** The management, who signs the DLT transactions. */
  readonly signer: Signer;
  readonly trust: Trust;
  readonly now: () => Date;
  readonly log: Log;
  /** Notifications kept for each provider, 10,000 unless told. */
  readonly keep?: number;
  /** Streams of one provider, 16 unless told. */
  readonly streamsPerIdentity?: number;
}

export interface DataSharingPolicyManagement {
  readonly registration: Registration<typeof DataSharingPolicyService>;
  readonly contracts: Contracts;
  /** Goes on with everything that was broken off: at start, and again after a failure. Never throws for a policy's sake. */
  reconcile(): Promise<void>;
}

export function createDataSharingPolicy(dependencies: DataSharingPolicyDependencies): DataSharingPolicyManagement {
  const { store, gate, signer, trust, now, log, keep, streamsPerIdentity } = dependencies;
  const management = signer.identity;
  const policies = new PolicyStore(store.sublevel("policy"));
  const notifications = new PolicyNotifications({
    store: store.sublevel("notifications"),
    gate,
    now,
    ...(keep === undefined ? {} : { keep }),
    ...(streamsPerIdentity === undefined ? {} : { streamsPerIdentity }),
  });
  const answers = new AnswerStore(messageTable(store, "answers"), now);
  const life = new PolicyLife({ ...dependencies, management, policies, notifications });

  const rules = (context: HandlerContext) => ({
    caller: context.values.get(peerKey),
    audience: management,
    now,
    trust,
  });

  /** The first answer to these signed bytes. */
  const once = async <S extends DescMessage>(
    schema: S,
    key: SignedAnswerKey,
    produce: () => Promise<MessageShape<S>>,
  ): Promise<MessageShape<S>> =>
    fromBinary(schema, await answers.once(key, async () => toBinary(schema, await produce())));

  const owned = async (policyId: string, provider: string) => {
    const entry = await policies.get(policyId);
    if (entry === undefined || entry.provider !== provider) throw refusal(ErrorReason.POLICY_NOT_FOUND);
    return entry;
  };

  const registration = implement(DataSharingPolicyService, {
    async submitPolicy({ submission }, context) {
      await gate.require(context, "publish");
      const {
        message,
        signer: provider,
        answerKey,
      } = openSignedRequest(submission, PolicySubmissionSchema, {
        ...rules(context),
        party: ({ information }) => [information?.providerIdentity ?? ""],
      });
      const parts = requireAgreement(message, provider.publicKey, management);
      if (parts.policy.version !== 1n) throw refusal(ErrorReason.PAYLOAD_MALFORMED, "policy.version");
      return once(SubmitPolicyResponseSchema, answerKey, async () => {
        const entry = await life.submit(provider.identity, parts, signedIn(submission));
        return create(SubmitPolicyResponseSchema, { policy: policyRecord(entry) });
      });
    },

    async confirmStorage({ policyId }, context) {
      const { identity } = await gate.require(context, "publish");
      const entry = await life.confirm(policyId, identity);
      return create(ConfirmStorageResponseSchema, { policy: policyRecord(entry) });
    },

    watchNotifications({ afterPosition }, context) {
      return notifications.watch(afterPosition, context);
    },

    async getPolicy({ policyId }, context) {
      const { identity } = await gate.require(context);
      return create(GetPolicyResponseSchema, { policy: policyRecord(await owned(policyId, identity)) });
    },

    async listPolicies({ pageSize, pageToken }, context) {
      const { identity } = await gate.require(context);
      const limit = pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
      const page: PolicyRecord[] = [];
      let last = numberOf(pageToken);
      let bytes = 0;
      for await (const entry of policies.ofProvider(identity, last)) {
        if (page.length === limit || bytes >= PAGE_BYTES) {
          return create(ListPoliciesResponseSchema, { policies: page, nextPageToken: orderedKey(last) });
        }
        page.push(policyRecord(entry, "without evidence"));
        bytes += entry.terms.signedPolicy.payload.byteLength;
        last = entry.number;
      }
      return create(ListPoliciesResponseSchema, { policies: page });
    },

    async updatePolicy({ update }, context) {
      await gate.require(context, "publish");
      const {
        message,
        signer: provider,
        answerKey,
      } = openSignedRequest(update, PolicyUpdateSchema, {
        ...rules(context),
        party: ({ information }) => [information?.providerIdentity ?? ""],
      });
      const parts = requireAgreement(message, provider.publicKey, management);
      return once(UpdatePolicyResponseSchema, answerKey, async () => {
        const entry = await life.update(provider.identity, parts, signedIn(update));
        return create(UpdatePolicyResponseSchema, { policy: policyRecord(entry) });
      });
    },

    async withdrawPolicy({ withdrawal }, context) {
      await gate.require(context);
      const {
        message,
        signer: provider,
        answerKey,
      } = openSignedRequest(withdrawal, PolicyWithdrawalSchema, {
        ...rules(context),
        party: () => [],
      });
      return once(WithdrawPolicyResponseSchema, answerKey, async () => {
        const entry = await life.withdraw(provider.identity, message, signedIn(withdrawal));
        return create(WithdrawPolicyResponseSchema, { policy: policyRecord(entry) });
      });
    },
  });

  const contracts: Contracts = {
    async get(contractId) {
      const entry = await policies.get(contractId);
      if (entry?.receipt === undefined) return undefined;
      const { contractAddress, state, salt, terms } = entry;
      return { contractId, contractAddress, state, salt, version: terms.policy.version, ...terms };
    },
  };

  return {
    registration,
    contracts,
    async reconcile() {
      for (const policyId of await policies.unfinished()) {
        try {
          await life.resume(policyId);
        } catch (error) {
          log.warn("policy not finished yet", { policyId, reason: reasonName(reasonOf(error)) });
        }
      }
    },
  };
}

/** openSignedRequest has refused a request without its envelope. */
function signedIn(envelope: SignedEnvelope | undefined): SignedEnvelope {
  if (envelope === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING);
  return envelope;
}

function numberOf(pageToken: string): bigint {
  if (pageToken === "") return 0n;
  if (!/^[0-9a-f]{16}$/.test(pageToken)) throw refusal(ErrorReason.REQUEST_INVALID, "page_token");
  return BigInt(`0x${pageToken}`);
}
