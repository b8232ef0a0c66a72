// Random and mutated bodies to every method of every entity, through both doors: nothing crashes, INTERNAL comes only where the body does
// not parse, nothing is logged as a fault, memory does not grow, and the entities go on. 60 bodies a method by default; with
// X1410_CAMPAIGN set, 10,000.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type DescMethod,
  type DescService,
  fromBinary,
  getOption,
  type Message,
  toJsonString,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { beforeAll, describe, expect, test } from "vitest";
import type { Credential } from "../../conformance/target.ts";
import { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { Caller, method as methodRequirement } from "../../gen/x1410/v1/annotations_pb.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { LedgerService, SmartContractService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { TokenVerificationService } from "../../gen/x1410/v1/token_verification_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import type { ServerKind } from "../stack/plan.ts";
import { type Door, grantFor, rigForFile } from "./attack-rig.fixture.ts";
import { body, Chance, type Corpus, plausible } from "./message-mutation.fixture.ts";
import { framed, type RawAnswer, RawConnection } from "./raw-call.fixture.ts";

const campaign = process.env["X1410_CAMPAIGN"] !== undefined;
const bodiesPerMethod = campaign ? 10_000 : 30;
const atOnce = 20;
const streamMs = 60;
const seed = 1410;
const silent = () => {};

const services: Record<ServerKind, readonly DescService[]> = {
  dssm: [
    AccessPermissionService,
    DataSharingAccessService,
    DataSharingPolicyService,
    InformationPublicationService,
    InformationSubscriptionService,
    TokenService,
    UserAccountService,
    UserAuthenticationService,
    SystemManagementService,
  ],
  kss: [KeyStorageService, TokenVerificationService],
  dss: [DataStorageService, DataDistributionService],
  ledger: [LedgerService, SmartContractService, SystemManagementService],
  ca: [CertificationAuthorityService],
};

const rig = rigForFile();
let corpus: Corpus;

beforeAll(async () => {
  const scene = await rig().scene();
  const { found, request, grant } = await grantFor(scene);
  const { provider, consumer, shared } = scene;
  const key = await provider.registerKey(silent);
  const stored = await provider.registerPackage(silent);
  const submission = provider.submission(
    provider.information(key, stored),
    provider.permission(key, stored, { accessTimes: 3, readOnly: true }),
  );
  const published = await consumer.lookUp(shared.contractAddress);
  const messages: Message[] = [
    provider.sign(submission),
    request,
    consumer.signRequest(consumer.accessRequest(found)),
    submission,
    found.information,
    published,
    ...(submission.context === undefined ? [] : [submission.context]),
  ];
  corpus = {
    texts: [
      shared.contractAddress,
      key.id,
      key.address,
      stored.id,
      stored.address,
      shared.key.id,
      shared.stored.id,
      grant.accessToken,
      grant.record?.accessId ?? "",
      "urn:x1410:user:nobody",
      "urn:x1410:user:somebody",
      rig().identity("dssm"),
      rig().identity("kss"),
      "isic:j61",
      "CH",
      "EUR",
      "text",
    ],
    bytes: [new Uint8Array(), new Uint8Array(16), new Uint8Array(32), new Uint8Array(1_000)],
    messages: Map.groupBy(messages, ({ $typeName }) => $typeName),
  };
});

const callerOf: Partial<Record<Caller, () => Credential>> = {
  [Caller.USER]: () => rig().target.provider,
  [Caller.OPERATOR]: () => rig().credentialOf("operator"),
  [Caller.DSSM]: () => rig().credentialOf("dssm"),
  [Caller.KSS]: () => rig().credentialOf("kss"),
  [Caller.DSS]: () => rig().credentialOf("dss"),
  // Another node than the proposer, at whose bad block the nodes stop by intention.
  [Caller.LEDGER_NODE]: () => rig().issue("ledger", "stranger"),
};

/** Somebody whom the method answers, in session where that is a user. */
async function caller(method: DescMethod): Promise<{ credential: Credential; headers: Record<string, string> }> {
  const { callers } = getOption(method, methodRequirement);
  const kind = callers.includes(Caller.USER) ? Caller.USER : callers.find((each) => callerOf[each] !== undefined);
  const credential = (kind === undefined ? undefined : callerOf[kind])?.() ?? rig().target.provider;
  if (kind !== Caller.USER) return { credential, headers: {} };
  const user = rig().provider("gRPC", credential);
  await user.authenticate(silent);
  return { credential, headers: user.inSession.headers as Record<string, string> };
}

const entries = (Object.entries(services) as [ServerKind, readonly DescService[]][]).flatMap(([kind, described]) =>
  described.flatMap(({ methods }) => methods.map((method): [ServerKind, DescMethod] => [kind, method])),
);
const table = entries.flatMap(([kind, method]) => {
  const doors: Door[] = kind === "ledger" || kind === "ca" ? ["gRPC"] : ["gRPC", "exposure API"];
  return doors.map((door): [string, Door, ServerKind, DescMethod] => [method.name, door, kind, method]);
});

describe("mutated bodies", () => {
  test.each(table)("%s, %s", { timeout: campaign ? 600_000 : 30_000 }, async (_, door, kind, method) => {
    const { credential, headers } = await caller(method);
    const connection = await RawConnection.open(rig().endpoint(kind, door), rig().tlsCredentials(credential), door);
    const chance = new Chance(seed + method.name.length);
    const surprises: string[] = [];
    const before = rig().logged.length;
    try {
      for (let sent = 0; sent < bodiesPerMethod; sent += atOnce) {
        const calls = Array.from({ length: atOnce }, () => callOf(method, door, chance));
        const answers = await Promise.all(
          calls.map((call) => connection.call({ ...call, headers: { ...headers, ...call.headers } })),
        );
        for (const [index, answer] of answers.entries()) {
          const surprise = surpriseIn(answer, calls[index]?.parses ?? false);
          if (surprise !== undefined) surprises.push(`${surprise}: ${calls[index]?.shown}`);
        }
      }
    } finally {
      connection.close();
    }
    expect(surprises).toEqual([]);
    expect(
      rig()
        .logged.slice(before)
        .filter(({ level }) => level === "error"),
    ).toEqual([]);
  });
});

test("after all of it every entity answers as before", async () => {
  const scene = await rig().scene();
  const { grant } = await grantFor(scene);
  const key = await scene.consumer.getKey(grant.accessToken, scene.shared.key.id, silent);
  expect(Buffer.compare(key, scene.shared.secret)).toBe(0);
});

test.runIf(campaign)("memory does not grow", { timeout: 600_000 }, async () => {
  const connection = await RawConnection.open(
    rig().endpoint("kss"),
    rig().tlsCredentials(rig().target.provider),
    "gRPC",
  );
  const chance = new Chance(seed);
  const round = async () => {
    for (let sent = 0; sent < bodiesPerMethod; sent += atOnce)
      await Promise.all(
        Array.from({ length: atOnce }, () => connection.call(callOf(KeyStorageService.method.getKey, "gRPC", chance))),
      );
    return heapBytes();
  };
  const first = await round();
  const second = await round();
  connection.close();
  expect(second - first).toBeLessThan(20 << 20);
});

interface MutatedCall {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Record<string, string>;
  readonly timeoutMs: number;
  readonly parses: boolean;
  /** To repeat it. */
  readonly shown: string;
}

function callOf(method: DescMethod, door: Door, chance: Chance): MutatedCall {
  const stream = method.methodKind !== "unary";
  const path = `${method.parent.typeName}/${method.name}`;
  const timeoutMs = stream ? streamMs : 5_000;
  if (door === "exposure API" && !stream && chance.below(2) === 0) {
    const text = damaged(asJson(method, chance), chance);
    return {
      path,
      body: Buffer.from(text),
      headers: { "content-type": "application/json" },
      timeoutMs,
      parses: false,
      shown: text.slice(0, 400),
    };
  }
  const bytes = body(method.input, corpus, chance);
  const framing = door === "gRPC" || stream;
  return {
    path,
    body: framing ? framed(bytes) : bytes,
    headers: door === "gRPC" ? {} : { "content-type": stream ? "application/connect+proto" : "application/proto" },
    timeoutMs,
    parses: parses(method, bytes),
    shown: Buffer.from(bytes.subarray(0, 400)).toString("hex"),
  };
}

/** Codes that tell of a fault of the server, or of nothing. */
function surpriseIn({ code, status }: RawAnswer, wellFormed: boolean): string | undefined {
  if (code === undefined) return `no status (HTTP ${status})`;
  if (code === Code.Unknown) return "UNKNOWN";
  return code === Code.Internal && wellFormed ? "INTERNAL" : undefined;
}

function parses(method: DescMethod, bytes: Uint8Array): boolean {
  try {
    fromBinary(method.input, bytes);
    return true;
  } catch {
    return false;
  }
}

/** Some messages have no JSON, such as one with a time beyond the year 9999. */
function asJson(method: DescMethod, chance: Chance): string {
  for (;;) {
    try {
      return toJsonString(method.input, plausible(method.input, corpus, chance) as never);
    } catch {
      // Another one.
    }
  }
}

function damaged(text: string, chance: Chance): string {
  const at = chance.below(text.length + 1);
  switch (chance.below(6)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return `${text.slice(0, at)}${chance.one(['"', "{", "null", "\u0000", "1e999", '{"__proto__":{}}'])}${text.slice(at)}`;
    case 2:
      return "[".repeat(10_000);
    case 3:
      return text.replace(/"[^"]*"/, '{"a":1}');
    default:
      return text;
  }
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
