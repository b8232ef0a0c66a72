// A data consumer under test: what it signs, what it does with the permission, with the plaintext and with what it has found (C1, C3, C4,
// C6, C9, X7, X8, S5; clauses 6.2.1, 7.2.2 and 7.2.4).
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import {
  DataSharingAccessService,
  type ReportUsageRequest,
  type RequestAccessRequest,
  type RequestAccessResponse,
} from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { AccessRequestSchema, UsageKind, UsageReportSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { type GetKeyRequest, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { expectAccepted, expectRefused, type Outcome } from "../clients/client-under-test.ts";
import { access, type ConsumerScene, consumerScene, consumerTwin, expectPlaintext } from "../clients/consumer-scene.ts";
import type { ObservedCall } from "../clients/observation.ts";
import { unary } from "../mutants/mutant.ts";
import { expect, expectFirst } from "../procedures/procedure.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, purpose } from "./purpose.ts";

const { requestAccess, reportUsage, listAccessRecords } = DataSharingAccessService.method;
const { getKey } = KeyStorageService.method;
const { getPackage } = DataDistributionService.method;
const { subscribe } = InformationSubscriptionService.method;

const POLL_MS = 50;
/** Between publication and its arrival at a subscriber. */
const ARRIVAL_MS = 15_000;
/** So many bytes in a row are not there by chance. */
const TRACE_BYTES = 32;

const common = {
  commands: ["access"],
  initialState: "data shared with an access permission",
  budgetSeconds: 90,
} as const;

export const consumerUsagePurposes: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/DC/DC/BV-01",
    title: "signs its access request over itself, the shared data and the contract, fresh each time",
    clause: "7.3.2",
    steps: ["F4.3", "A2.3"],
    capabilities: ["C4"],
    stimulus: "two accesses to the same contract",
    expected:
      "two requests signed by the consumer, for this management, contract, provider, package and key, with two nonces",
    likelyMistake: "the nonce is constant, or the time is missing, so that a request can be sent again by others",
    async run(t) {
      const scene = await consumerScene(t);
      const nonces: string[] = [];
      for (const _ of [1, 2]) {
        const outcome = await access(scene);
        expectPlaintext(outcome, scene);
        nonces.push(signedRequest(t, scene, outcome));
      }
      expect(nonces[0] !== nonces[1], "another nonce in each request");
      t.seen("two signed requests, two nonces");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-02",
    title: "shows its token to the key storage server alone",
    clause: "7.3.2",
    steps: ["F4.12.2", "A2.9"],
    capabilities: ["C6"],
    stimulus: "the command access",
    expected: "the token as it was granted, in GetKey, and in no other call; a request id of 16 bytes or more",
    likelyMistake: "the token is sent along with every call, as bearer tokens often are",
    async run(t) {
      const scene = await consumerScene(t);
      const outcome = await access(scene);
      expectPlaintext(outcome, scene);
      const { accessToken } = grantIn(outcome);
      const [redeemed] = callsOf(outcome, getKey).map(({ requests }) => requests[0] as GetKeyRequest);
      expect(redeemed?.accessToken === accessToken && redeemed.keyId === scene.shared.key.id, "GetKey with this token");
      const bytes = Buffer.from(accessToken);
      const leaks = outcome.calls.filter(
        ({ method, requests, metadata }) =>
          method !== getKey &&
          (metadata.includes(accessToken) || requests.some((message) => encoded(method, message).includes(bytes))),
      );
      expect(
        leaks.length === 0,
        `the token nowhere else (it is in ${leaks.map(({ method }) => method.name).join(", ")})`,
      );
      t.seen("the token in GetKey alone");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-03",
    title: "asks again under the same request id where the answer with the key is lost",
    clause: "7.3.2",
    steps: ["F4.14", "A2.12"],
    capabilities: ["C6", "X3"],
    stimulus: "the first GetKey is carried out, and its answer does not arrive",
    expected: "GetKey again with the same token and request id, or an end without plaintext; never another request id",
    likelyMistake: "each attempt draws a new request id: the token is spent, and a paid access is lost",
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      let lost = false;
      scene.client.alter(
        unary(getKey, (original) => async (request, context) => {
          const answer = await original(request, context);
          if (lost) return answer;
          lost = true;
          throw new ConnectError("the answer is lost", Code.Unavailable);
        }),
      );
      const outcome = await access(scene);
      const ids = callsOf(outcome, getKey).map(({ requests }) =>
        Buffer.from((requests[0] as GetKeyRequest).requestId).toString("hex"),
      );
      expect(new Set(ids).size === 1, `one request id in all attempts (there are ${new Set(ids).size})`);
      if (ids.length > 1) expectPlaintext(outcome, scene);
      else expectRefused(outcome, "the key did not arrive");
      t.seen(`${ids.length} attempts under one request id`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-04",
    title: "reports how it has used the data",
    clause: "7.2.4",
    steps: ["F4.18"],
    capabilities: ["X7"],
    stimulus: "the command access",
    expected: "reports, signed by the consumer, that this access was opened and closed",
    likelyMistake: "usage is recorded by the management alone, which sees no opening",
    async run(t) {
      const scene = await consumerScene(t);
      const outcome = await access(scene);
      expectPlaintext(outcome, scene);
      const accessId = grantIn(outcome).record?.accessId;
      const reports = callsOf(outcome, reportUsage).map(({ requests }) => reported(t, scene, requests));
      const kinds = reports.filter((one) => one.accessId === accessId).map(({ kind }) => kind);
      expect(kinds.includes(UsageKind.OPENED), "a signed report that this access was opened");
      expect(kinds.includes(UsageKind.CLOSED), "a signed report that this access was closed");
      t.seen(`${reports.length} signed reports`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-05",
    title: "writes no plaintext of read-only data",
    clause: "7.2.2",
    steps: ["F4.18"],
    capabilities: ["X7"],
    initialState: "data shared read-only",
    stimulus: "the command access, with a file for the plaintext",
    expected: "another exit code than 0; the plaintext in no file",
    twin: "the same with data that may be exported",
    likelyMistake: "read-only is shown to people and enforced nowhere",
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t, { accessTimes: 2, readOnly: true });
      expectRefused(await access(scene), "the permission is read-only");
      await expectNoTrace(scene);
      t.seen("refused; no plaintext in any file");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-06",
    title: "shows read-only data, and keeps neither plaintext nor key",
    clause: "7.2.2",
    steps: ["F4.18"],
    capabilities: ["X7", "X8", "S5"],
    commands: ["present"],
    initialState: "data shared read-only",
    stimulus: "the command present",
    expected:
      "the plaintext on standard output; afterwards in no file, nor the key: what is left to be forwarded is ciphertext",
    likelyMistake: "the package is decrypted into a temporary file, which stays",
    async run(t) {
      const text = Buffer.from(t.seeded(1_500)).toString("base64");
      const scene = await consumerScene(t, { accessTimes: 2, readOnly: true }, Buffer.from(text));
      const outcome = await scene.client.perform("present", { contract: scene.shared.contractAddress });
      expectAccepted(outcome);
      expect(outcome.stdout.includes(text), "the plaintext on standard output");
      await expectNoTrace(scene);
      t.seen("shown; neither plaintext nor key in any file");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-07",
    title: "keeps neither key nor further plaintext after an export",
    clause: "7.2.2",
    steps: ["F4.18"],
    capabilities: ["X8", "S5"],
    stimulus: "the command access",
    expected: "the plaintext in {output}, and neither plaintext nor key in what the client keeps",
    likelyMistake: "the key is cached for the next access, which then needs no permission",
    async run(t) {
      const scene = await consumerScene(t);
      expectPlaintext(await access(scene), scene);
      await expectNoTrace(scene);
      t.seen("neither plaintext nor key in what is kept");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-08",
    title: "finds what is published",
    clause: "6.2.1",
    steps: ["F4.1", "A2.1"],
    capabilities: ["C3", "X1"],
    commands: ["search"],
    stimulus: "the command search with a word of the publication",
    expected: "the address of the contract on standard output",
    likelyMistake: "pages after the first are not asked for",
    async run(t) {
      const { client, shared } = await consumerScene(t);
      const outcome = await client.perform("search", { text: shared.stored.id });
      expectAccepted(outcome);
      expect(outcome.stdout.includes(shared.contractAddress), "the contract's address on standard output");
      t.seen(shared.contractAddress);
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-09",
    title: "subscribes, and learns of what is published",
    clause: "6.2.1",
    steps: ["F4.1", "A2.1"],
    capabilities: ["C1", "U5", "X1"],
    commands: ["subscribe"],
    initialState: "a consumer that has subscribed",
    stimulus: "data are published",
    expected: "the address of the contract on standard output, while the subscription goes on",
    likelyMistake: "the output is kept back until the command ends",
    async run(t) {
      const client = await t.client();
      const process = client.begin("subscribe");
      try {
        const subscribed = () => client.watch.of(subscribe).length > 0;
        await until(subscribed, process.ended, "a call of Subscribe");
        const { shared } = await consumerScene(t);
        await until(() => process.stdout.includes(shared.contractAddress), process.ended, "the contract's address");
        t.seen(shared.contractAddress);
      } finally {
        await process.stop();
      }
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BV-10",
    title: "shows its access records",
    clause: "6.2.1",
    steps: ["F4.11"],
    capabilities: ["C9"],
    commands: ["access", "records"],
    stimulus: "the command records after an access",
    expected: "ListAccessRecords, and the contract's address on standard output",
    likelyMistake: "records are kept by the client alone, and not asked of the management",
    async run(t) {
      const scene = await consumerScene(t);
      expectPlaintext(await access(scene), scene);
      const outcome = await scene.client.perform("records");
      expectAccepted(outcome);
      expectFirst(callsOf(outcome, listAccessRecords).length > 0, "a call of ListAccessRecords");
      expect(outcome.stdout.includes(scene.shared.contractAddress), "the contract's address on standard output");
      t.seen("the access is listed");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BO-01",
    title: "asks for neither key nor package where the management refuses the access",
    clause: "7.3.2",
    steps: ["F4.11", "F4.12.2", "F4.15.2"],
    capabilities: ["X2", "S3"],
    stimulus: "RequestAccess is refused as not allowed in this country",
    expected: "another exit code than 0; neither GetKey nor GetPackage",
    twin: "an access that is granted",
    likelyMistake: "the package is fetched before or beside the request, since the data storage server gives it anyway",
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      scene.client.alter(
        unary(requestAccess, () => async () => {
          throw refusal(ErrorReason.COUNTRY_NOT_ALLOWED);
        }),
      );
      const outcome = await access(scene);
      expectRefused(outcome, "the access is refused");
      const further = outcome.calls.filter(({ method }) => method === getKey || method === getPackage);
      expect(further.length === 0, "neither GetKey nor GetPackage after the refusal");
      t.seen("refused; no further call");
    },
  }),
];

function callsOf({ calls }: Outcome, method: ObservedCall["method"]): readonly ObservedCall[] {
  return calls.filter((call) => call.method === method);
}

function grantIn(outcome: Outcome): RequestAccessResponse {
  const granted = callsOf(outcome, requestAccess).findLast(({ code }) => code === "OK");
  expectFirst(granted !== undefined, "an access that was granted");
  return granted.responses[0] as RequestAccessResponse;
}

function encoded({ input }: ObservedCall["method"], message: ObservedCall["requests"][number]): Buffer {
  return Buffer.from(toBinary(input, create(input, message)));
}

/** Judges the request for access; answers its nonce. */
function signedRequest(t: TestCase, { client, shared }: ConsumerScene, outcome: Outcome): string {
  const [call] = callsOf(outcome, requestAccess);
  const { request } = (call?.requests[0] ?? {}) as Partial<RequestAccessRequest>;
  expectFirst(request !== undefined, "a signed request for access");
  const { message, signer } = verifyEnvelope(request, AccessRequestSchema, t.trust);
  const { context, consumer, sharedData: data } = message;
  expectFirst(
    signer.identity === client.identity && consumer?.identity === client.identity,
    "a request signed by the consumer that it names",
  );
  expectFirst(
    context?.signer === client.identity && context.audience === t.bench.counterparts.entity("dssm").identity,
    "a request of this consumer for this management",
  );
  const age = Math.abs(Date.now() - (context.issuedAt ? timestampDate(context.issuedAt).getTime() : 0));
  expect(context.nonce.length === 16 && age < 120_000, "a nonce of 16 bytes and the time of now");
  const { information } = shared.found;
  expectFirst(
    message.contractAddress === shared.contractAddress &&
      data?.providerIdentity === information.providerIdentity &&
      data.packageId === information.packageId &&
      data.keyId === information.keyId,
    "the contract, provider, package and key that were found",
  );
  return Buffer.from(context.nonce).toString("hex");
}

function reported(t: TestCase, { client }: ConsumerScene, requests: ObservedCall["requests"]) {
  const { report } = requests[0] as ReportUsageRequest;
  expectFirst(report !== undefined, "a signed report");
  const { message, signer } = verifyEnvelope(report, UsageReportSchema, t.trust);
  expectFirst(signer.identity === client.identity, "a report signed by the consumer");
  return message;
}

/** Neither a piece of the plaintext nor the key is in what the client keeps. */
async function expectNoTrace({ client, shared }: ConsumerScene): Promise<void> {
  const { plaintext, secret } = shared;
  const pieces = [0, plaintext.length >> 1, plaintext.length - TRACE_BYTES].map((at) =>
    Buffer.from(plaintext.subarray(at, at + TRACE_BYTES)),
  );
  const keys = [secret, Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("hex")].map((key) =>
    Buffer.from(key as Uint8Array),
  );
  for (const [path, content] of await client.leftFiles()) {
    const file = Buffer.from(content);
    expect(!pieces.some((piece) => file.includes(piece)), `no plaintext in what is kept (it is in ${path})`);
    expect(!keys.some((key) => file.includes(key)), `no key in what is kept (it is in ${path})`);
  }
}

/** Waits for what the client is to show. @throws Deviation where it ends before, or does not show it in time */
async function until(shown: () => boolean, ended: Promise<unknown>, what: string): Promise<void> {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  const from = performance.now();
  while (!shown()) {
    expect(!over, `${what} (the command has ended before)`);
    expect(performance.now() - from < ARRIVAL_MS, `${what} within ${ARRIVAL_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
