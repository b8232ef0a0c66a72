// S1, clause 6: what a report shows of messages has no secret in it, field by field and as a whole.
import { createPrivateKey } from "node:crypto";
import {
  create,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  getOption,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createRouterTransport, type HandlerContext, type Transport } from "@connectrpc/connect";
import { beforeAll, describe, expect, test } from "vitest";
import { field as fieldOption } from "../gen/x1410/v1/annotations_pb.ts";
import { file_x1410_v1_certification_authority } from "../gen/x1410/v1/certification_authority_pb.ts";
import { peerKey } from "../reference/communications/peer.ts";
import type { Registration } from "../reference/communications/service.ts";
import { campaign } from "./campaign.ts";
import { valuesIn } from "./canary-scan.ts";
import { observed, Watch } from "./clients/observation.ts";
import { decoded } from "./decoded-message.ts";
import { MessageLog, recorded } from "./message-log.ts";
import { servedBy } from "./protocol.ts";
import { referenceSubset } from "./reference-subsets.ts";
import { failureText } from "./report/failure-text.ts";
import { junitXml } from "./report/junit.ts";
import { htmlReport } from "./report/page/page.ts";
import type { Report } from "./report/report.ts";
import { reportJson } from "./report/report-json.ts";
import { Stage } from "./stage.ts";
import { purposes } from "./suite.ts";
import { entityRoles, partyNames } from "./target.ts";

const services = [...Object.values(servedBy).flat(), ...file_x1410_v1_certification_authority.services];
const files = new Set<DescFile>(services.map(({ file }) => file));
const nested = (message: DescMessage): DescMessage[] => [message, ...message.nestedMessages.flatMap(nested)];
const messages = [...files].flatMap((file) => file.messages.flatMap(nested));
const secretFields = messages.flatMap(({ fields }) => fields.filter((one) => getOption(one, fieldOption).secret));
const nameOf = ({ parent, name }: DescField) => `${parent.name}.${name}`;

/** The bytes of a secret in every form in which a text could have them. */
function forms(value: Uint8Array | string): string[] {
  const bytes = Buffer.from(value);
  const texts = (["hex", "base64", "base64url"] as const).map((form) => bytes.toString(form));
  return typeof value === "string" ? [value, ...texts] : texts;
}

const canary = Buffer.alloc(32, 0xa5);
const canaries = [...forms(canary), ...forms(canary.toString("hex"))];
const leaks = (shown: unknown) => valuesIn(Buffer.from(JSON.stringify(shown)), canaries);

/** A message with everything set, and the canary wherever a secret belongs. */
function full<M extends DescMessage>(schema: M, depth = 5): MessageShape<M> {
  const message = reflect(schema, create(schema));
  for (const one of schema.fields) {
    const secret = getOption(one, fieldOption).secret;
    if (one.fieldKind === "message" && depth > 0) message.set(one, reflect(one.message, full(one.message, depth - 1)));
    if (one.fieldKind === "list" && one.listKind === "message" && depth > 0)
      message.get(one).add(reflect(one.message, full(one.message, depth - 1)));
    if (!secret) continue;
    if (one.fieldKind !== "scalar") throw new Error(`${nameOf(one)} is a secret of a kind that this test does not set`);
    message.set(one, one.scalar === ScalarType.BYTES ? new Uint8Array(canary) : canary.toString("hex"));
  }
  return message.message as MessageShape<M>;
}

test("the secrets of the protocol are these: one that loses its option would be shown", () => {
  expect(secretFields.map(nameOf).sort()).toEqual([
    "CompleteAuthenticationResponse.session",
    "CreateEnrolmentResponse.secret",
    "CreateTokenResponse.access_token",
    "GetKeyRequest.access_token",
    "GetKeyResponse.key",
    "IssueCertificateRequest.secret",
    "RequestAccessResponse.access_token",
    "StoreKeyRequest.key",
    "ValidateSessionRequest.session",
    "VerifyTokenRequest.access_token",
  ]);
});

describe.each(secretFields.map((one) => [nameOf(one), one] as const))("%s", (_, secret) => {
  test("is not shown, and that it was there is", () => {
    const shown = decoded(secret.parent, full(secret.parent));
    expect(shown).toMatchObject({ [secret.name]: "[redacted]" });
    expect(leaks(shown)).toEqual([]);
  });
});

const unaries = services.flatMap(({ methods }) => methods.filter(({ methodKind }) => methodKind === "unary"));

test.each(unaries.map((method) => [`${method.parent.name}/${method.name}`, method] as const))(
  "no secret of %s, or of what is in its messages, gets into a log of calls, the kit's own or a client's",
  async (_, method) => {
    const answer = () => Promise.resolve(full(method.output));
    const log = new MessageLog();
    await unaryCall(recordedTransport(method, answer, log), method);
    await watchedCall(method, answer, log);
    expect(log.calls.map(({ requests, responses }) => [requests.length, responses.length])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(leaks(log.calls)).toEqual([]);
  },
);

function recordedTransport(method: DescMethod, answer: () => Promise<Message>, log: MessageLog): Transport {
  const transport = createRouterTransport(({ rpc }) => rpc(method as never, answer as never));
  const signal = new AbortController().signal;
  return recorded(transport, { log, from: "urn:x1410:user:a", to: "kss", signal: () => signal, timeoutMs: 5_000 });
}

async function unaryCall(transport: Transport, method: DescMethod): Promise<void> {
  await transport.unary(method as never, undefined, undefined, undefined, full(method.input) as never);
}

async function watchedCall(method: DescMethod, answer: () => Promise<Message>, log: MessageLog): Promise<void> {
  const identity = "urn:x1410:user:a";
  const registration = { service: method.parent, implementation: { [method.localName]: answer } } as never;
  const [one] = observed([registration], "kss", new Map([[identity, new Watch(log)]]));
  const handlers = one?.implementation as unknown as Record<
    string,
    (request: Message, context: HandlerContext) => unknown
  >;
  const values = { get: (key: unknown) => (key === peerKey ? { identity } : undefined) };
  const context = { values, requestHeader: new Headers() } as unknown as HandlerContext;
  await handlers[method.localName]?.(full(method.input), context);
}

describe("the reports of a run with every message in them", () => {
  const kept = new Map<string, Set<string>>();
  let report: Report;

  /** By name, not by the option that is on trial. */
  const secretNames = new Set(["accessToken", "key", "session", "secret"]);
  const keep = (message: object) => {
    for (const [name, value] of Object.entries(message)) {
      if (value instanceof Uint8Array || typeof value === "string") {
        if (!secretNames.has(name) || value.length < 16) continue;
        const values = kept.get(name) ?? new Set();
        for (const form of forms(value)) values.add(form);
        kept.set(name, values);
      } else if (typeof value === "object" && value !== null) keep(value);
    }
  };
  type Handler = (request: object, context: unknown) => unknown;
  const tapped = (registrations: readonly Registration[]) =>
    registrations.map(({ service, implementation }) => {
      const handlers = Object.entries(implementation as unknown as Record<string, Handler>).map(([name, handler]) => {
        if (service.method[name]?.methodKind !== "unary") return [name, handler] as const;
        const tap: Handler = async (request, context) => {
          keep(request);
          const answer = (await handler(request, context)) as object;
          keep(answer);
          return answer;
        };
        return [name, tap] as const;
      });
      return { service, implementation: Object.fromEntries(handlers) } as unknown as Registration;
    });

  beforeAll(async () => {
    const reference = await referenceSubset(entityRoles, { alter: tapped });
    try {
      const stage = new Stage(reference.settings, reference.harness, {
        client: "grpc",
        seed: "1",
        recordBytes: 20_000,
      });
      const own = partyNames.map((party) => reference.harness.credential(party));
      for (const credential of own) {
        if (credential === undefined) continue;
        const { d = "" } = createPrivateKey(credential.privateKeyPem).export({ format: "jwk" });
        kept.set("private key", new Set([...(kept.get("private key") ?? []), ...forms(Buffer.from(d, "base64url"))]));
      }
      const ids = [
        "TP/ALL/F3/*",
        "TP/ALL/F4/*",
        "TP/KSS/TV/BV-0*",
        "TP/KSS/KSM/B*-0*",
        "TP/DSSM/AAU/B*",
        "TP/DSSM/TM/*",
      ];
      report = await campaign(stage, {
        purposes,
        filters: { ids },
        pics: reference.pics,
        expectedFailures: new Map(),
        parallel: 4,
        budgetMs: 120_000,
        reproduce: (id) => id,
      });
    } finally {
      await reference.close();
    }
  }, 120_000);

  test("have no key, token, session or secret in them, in no form", () => {
    expect([...kept.keys()].sort()).toEqual(["accessToken", "key", "private key", "session"]);
    expect(report.results.flatMap(({ messages: calls }) => calls).length).toBeGreaterThan(100);
    // What passes is told in a line by some reports: all of it is told where everything fails.
    const failed: Report = {
      ...report,
      results: report.results.map((one) => ({ ...one, verdict: "FAIL", actual: one.seen.join("; ") })),
    };
    const told = failed.results.map((one) => failureText(one, failed)).join("\n");
    const values = [...kept.values()].flatMap((some) => [...some]);
    for (const text of [reportJson(report), htmlReport(report), junitXml(failed), told]) {
      expect(text).toContain("[redacted]");
      expect(valuesIn(Buffer.from(text), values)).toEqual([]);
    }
  });
});
