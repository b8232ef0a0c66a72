// A data provider under test: how it takes wrong, lost and refusing answers, and how it manages its policies (P10; clauses 6.2.1, 7.3.1).
import { clone } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { PolicyUpdateSchema, PolicyWithdrawalSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  type ConfirmStorageResponse,
  ConfirmStorageResponseSchema,
  DataSharingPolicyService,
  type SubmitPolicyRequest,
  type UpdatePolicyRequest,
  type WithdrawPolicyRequest,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService, type RegisterKeyRequest } from "../../gen/x1410/v1/key_storage_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { expectAccepted, type Outcome } from "../clients/client-under-test.ts";
import type { ObservedCall } from "../clients/observation.ts";
import { providerTwin, publicationOf, publish, publishedBy } from "../clients/provider-scene.ts";
import { signedOffLedger } from "../clients/wrong-answers.ts";
import { type Alteration, unary } from "../mutants/mutant.ts";
import { expect } from "../procedures/procedure.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

const { registerKey, storeKey } = KeyStorageService.method;
const { storePackage } = DataStorageService.method;
const { submitPolicy, confirmStorage, updatePolicy, withdrawPolicy, getPolicy } = DataSharingPolicyService.method;

const common = {
  commands: ["publish"],
  initialState: "the kit's servers around the client",
  budgetSeconds: 90,
} as const;

interface WrongAnswer {
  readonly id: PurposeId;
  readonly title: string;
  readonly what: string;
  readonly clause: string;
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
  readonly requires?: readonly string[];
  readonly likelyMistake: string;
  readonly alterations: (t: TestCase) => readonly Alteration[];
  /** Methods that must not be called afterwards. */
  readonly never?: readonly ObservedCall["method"][];
}

/** The record of the policy in the answer to ConfirmStorage, changed. */
function confirmation(change: (answer: ConfirmStorageResponse) => Promise<void> | void): Alteration {
  return unary(confirmStorage, (original) => async (request, context) => {
    const answer = clone(ConfirmStorageResponseSchema, await original(request, context));
    await change(answer);
    return answer;
  });
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

const rows: readonly WrongAnswer[] = [
  {
    id: "TP/DP/DP/BI-01",
    title: "does not take a package for stored that was stored otherwise",
    what: "StorePackage confirms another SHA-256 than that of what was sent",
    clause: "7.2.1",
    steps: ["F3.7.4"],
    capabilities: ["P4", "W8"],
    likelyMistake: "any answer without an error is taken for success",
    alterations: () => [
      {
        method: storePackage,
        wrap: (original) => async (input, context) => {
          const answer = (await original(input, context)) as { sha256: Uint8Array };
          return { ...answer, sha256: flipped(answer.sha256, 3) };
        },
      },
    ],
    never: [confirmStorage],
  },
  {
    id: "TP/DP/DP/BI-02",
    title: "takes no contract that is not shown to be on the ledger",
    what: "ConfirmStorage answers without a proof of inclusion",
    clause: "6",
    steps: ["F3.9.1"],
    capabilities: ["P9"],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "a missing proof is taken for one that needs no check",
    alterations: () => [
      confirmation(({ policy }) => {
        if (policy !== undefined) delete policy.proof;
      }),
    ],
  },
  {
    id: "TP/DP/DP/BI-03",
    title: "takes no transaction that is in no block",
    what: "the proof's transaction is signed by the management and true, and not the one in the block",
    clause: "6",
    steps: ["F3.9.1"],
    capabilities: ["P9"],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "signatures are verified, and the path from the transaction to the block's root is not computed",
    alterations: (t) => [
      confirmation(async ({ policy }) => {
        if (policy?.proof !== undefined) policy.proof.transaction = await signedOffLedger(t, policy.proof.transaction);
      }),
    ],
  },
  {
    id: "TP/DP/DP/BI-04",
    title: "takes no contract at an address that is another one's",
    what: "ConfirmStorage names the address of another contract",
    clause: "7.3.1",
    steps: ["F3.9.1"],
    capabilities: ["P9"],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "the address is handed on to consumers without a look at the ledger's own",
    alterations: () => [
      confirmation(({ policy }) => {
        if (policy !== undefined) policy.contractAddress = policy.contractAddress.replace(/.{32}$/, "0".repeat(32));
      }),
    ],
  },
  {
    id: "TP/DP/DP/BI-05",
    title: "takes no contract whose ledger entry commits to other terms than it signed",
    what: "the opening of the signed policy is one of other bytes",
    clause: "6",
    steps: ["F3.9.1"],
    capabilities: ["P9"],
    requires: ["LEDGER-EVIDENCE"],
    likelyMistake: "that there is a transaction is checked, and not what it commits to",
    alterations: () => [
      confirmation(({ policy }) => {
        for (const opening of policy?.openings ?? [])
          if (opening.name === "signed-policy") opening.value = flipped(opening.value, opening.value.length - 1);
      }),
    ],
  },
  {
    id: "TP/DP/DP/BO-01",
    title: "asks for no confirmation of a policy that the management has refused",
    what: "SubmitPolicy is refused: the user may not publish",
    clause: "7.3.1",
    steps: ["F3.5"],
    capabilities: ["P8"],
    likelyMistake: "key and package are stored whatever becomes of the policy",
    alterations: () => [
      unary(submitPolicy, () => async () => {
        throw refusal(ErrorReason.RIGHT_MISSING);
      }),
    ],
    never: [confirmStorage],
  },
  {
    id: "TP/DP/DP/BO-02",
    title: "does not report data as shared where the key could not be stored",
    what: "StoreKey is refused: there is no such registration",
    clause: "7.3.1",
    steps: ["F3.7.2"],
    capabilities: ["P4", "W7"],
    likelyMistake: "the package alone decides whether the publication has succeeded",
    alterations: () => [
      unary(storeKey, () => async () => {
        throw refusal(ErrorReason.KEY_NOT_FOUND);
      }),
    ],
  },
  {
    id: "TP/DP/DP/BO-03",
    title: "does not report data as shared where the management does not find them stored",
    what: "ConfirmStorage is refused: what is stored is not what the policy says",
    clause: "7.3.1",
    steps: ["F3.7"],
    capabilities: ["P9"],
    likelyMistake: "the upload's own success is taken for the contract",
    alterations: () => [
      unary(confirmStorage, () => async () => {
        throw refusal(ErrorReason.STORAGE_MISMATCH);
      }),
    ],
  },
];

function wrongAnswer(row: WrongAnswer): Purpose {
  const { id, title, what, clause, steps, capabilities, requires = [], likelyMistake, alterations, never = [] } = row;
  const further = never.length === 0 ? "" : `, and no ${never.map(({ name }) => name).join(" and ")}`;
  return purpose({
    ...common,
    id,
    title,
    clause,
    steps,
    capabilities,
    requires,
    stimulus: what,
    expected: `another exit code than 0${further}`,
    twin: "a publication with the servers' own answers",
    diagram: [
      ["tester", "DP", "share {input}"],
      ["DP", "servers", "the steps of Figure 3"],
      ["servers", "DP", what],
      ["DP", "tester", "refused"],
    ],
    likelyMistake,
    async run(t) {
      await providerTwin(t);
      const scene = await publicationOf(t);
      scene.client.alter(...alterations(t));
      const outcome = await publish(scene);
      expect(outcome.code !== 0, `another exit code than 0 where ${what}`);
      const called = never.filter((method) => outcome.calls.some((call) => call.method === method));
      expect(called.length === 0, `no ${called.map(({ name }) => name).join(" and ")} where ${what}`);
      t.seen(`not taken for shared: ${what}`);
    },
  });
}

/** Carries the call out, and loses its first answer. */
function losing<M extends typeof submitPolicy | typeof registerKey>(method: M): Alteration {
  let lost = false;
  return {
    method,
    wrap: (original) => async (input, context) => {
      const answer = await original(input, context);
      if (lost) return answer;
      lost = true;
      throw new ConnectError("the answer is lost", Code.Unavailable);
    },
  };
}

function requestsOf<T>({ calls }: Outcome, method: ObservedCall["method"]): T[] {
  return calls.filter((call) => call.method === method).map(({ requests }) => requests[0] as T);
}

function samePayload(left: SignedEnvelope | undefined, right: SignedEnvelope | undefined): boolean {
  return left !== undefined && right !== undefined && same(left.payload, right.payload);
}

export const providerAnswerPurposes: readonly Purpose[] = [
  ...rows.map(wrongAnswer),
  purpose({
    ...common,
    id: "TP/DP/DP/BV-07",
    title: "sends the identical policy again where the answer is lost",
    clause: "7.3.1",
    steps: ["F3.5"],
    capabilities: ["P8"],
    stimulus: "the first SubmitPolicy is carried out, and its answer does not arrive",
    expected: "the identical signed bytes again, or an end with another exit code than 0; never a second policy",
    likelyMistake: "the policy is signed anew for each attempt: the same data are shared under two contracts",
    async run(t) {
      await providerTwin(t);
      const scene = await publicationOf(t);
      scene.client.alter(losing(submitPolicy));
      const outcome = await publish(scene);
      const [first, ...others] = requestsOf<SubmitPolicyRequest>(outcome, submitPolicy);
      expect(
        others.every(({ submission }) => samePayload(submission, first?.submission)),
        "the identical bytes in each attempt",
      );
      if (others.length > 0) publishedBy(t, outcome);
      else expect(outcome.code !== 0, "another exit code than 0 where the answer did not arrive");
      t.seen(`${others.length + 1} attempts with the same bytes`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DP/DP/BV-08",
    title: "registers again under the same request id where the answer is lost",
    clause: "7.2.1",
    steps: ["F3.2.2"],
    capabilities: ["W2"],
    stimulus: "the first RegisterKey is carried out, and its answer does not arrive",
    expected: "RegisterKey again with the same request id, or an end with another exit code than 0",
    likelyMistake: "each attempt draws a new request id and leaves a registration behind",
    async run(t) {
      await providerTwin(t);
      const scene = await publicationOf(t);
      scene.client.alter(losing(registerKey));
      const outcome = await publish(scene);
      const ids = requestsOf<RegisterKeyRequest>(outcome, registerKey).map(({ requestId }) =>
        Buffer.from(requestId).toString("hex"),
      );
      expect(new Set(ids).size === 1, `one request id in all attempts (there are ${new Set(ids).size})`);
      if (ids.length > 1) publishedBy(t, outcome);
      else expect(outcome.code !== 0, "another exit code than 0 where the answer did not arrive");
      t.seen(`${ids.length} attempts under one request id`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DP/DP/BV-09",
    title: "queries, updates and withdraws its policy",
    clause: "6.2.1",
    capabilities: ["P10"],
    commands: ["publish", "query", "update", "withdraw"],
    initialState: "a policy that the client has published",
    stimulus: "the commands query, update and withdraw, in this order",
    expected:
      "GetPolicy; an update signed by the provider, version 2, with the access times asked for and all else as it was; a withdrawal signed by the provider",
    diagram: [
      ["tester", "DP", "query, update, withdraw"],
      ["DP", "DSSM", "GetPolicy"],
      ["DP", "DSSM", "UpdatePolicy, signed"],
      ["DP", "DSSM", "WithdrawPolicy, signed"],
    ],
    likelyMistake: "the version is not counted up, or what is not changed is left out",
    async run(t) {
      const scene = await publicationOf(t);
      const { client, terms } = scene;
      const { submission, contractAddress } = publishedBy(t, await publish(scene));
      const policy = submission.policy?.policyId ?? "";
      const given = { policy, contract: contractAddress };
      const queried = await client.perform("query", given);
      expectAccepted(queried);
      expect(requestsOf(queried, getPolicy).length > 0, "a call of GetPolicy");
      expect(queried.stdout.includes(policy), "the policy on standard output");

      const accessTimes = terms.accessTimes + 1;
      const updated = await client.perform("update", { ...given, accessTimes: String(accessTimes) });
      expectAccepted(updated);
      const { update } = requestsOf<UpdatePolicyRequest>(updated, updatePolicy).at(-1) ?? {};
      expect(update !== undefined, "a signed update");
      const change = verifyEnvelope(update, PolicyUpdateSchema, t.trust);
      expect(change.signer.identity === client.identity, "an update signed by the provider");
      expect(
        change.message.policy?.policyId === policy && change.message.policy.version === 2n,
        "version 2 of the policy",
      );
      expect(change.message.accessPermission?.accessTimes === accessTimes, `${accessTimes} access times`);
      expect(
        change.message.information?.packageId === submission.information?.packageId &&
          change.message.accessPermission.readOnly === submission.accessPermission?.readOnly,
        "all else as it was",
      );

      const withdrawn = await client.perform("withdraw", given);
      expectAccepted(withdrawn);
      const { withdrawal } = requestsOf<WithdrawPolicyRequest>(withdrawn, withdrawPolicy).at(-1) ?? {};
      expect(withdrawal !== undefined, "a signed withdrawal");
      const end = verifyEnvelope(withdrawal, PolicyWithdrawalSchema, t.trust);
      expect(
        end.signer.identity === client.identity && end.message.policyId === policy,
        "a withdrawal of this policy, signed by the provider",
      );
      t.seen("queried, updated to version 2, withdrawn");
    },
  }),
];
