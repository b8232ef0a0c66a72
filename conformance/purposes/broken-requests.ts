// Requests that break gRPC or HTTP/2, sent by somebody with a good certificate: they are refused with the code that gRPC has for them, and
// nobody else notices (clause 7.2.5: whom a server has let in may still not harm it).
import { constants } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { type DescMethod, fromBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { asked } from "../any-request.ts";
import { expect } from "../procedures/procedure.ts";
import { servedBy } from "../protocol.ts";
import { framed, RawConnection } from "../raw-call.ts";
import { codeName } from "../refusal.ts";
import { type EntityRole, entityRoles } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { byCertificate } from "../tls-probe.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

/** What an entity says to a right request of the kit's provider: yes, or that there is nothing of that name. */
const answers = new Set<number | undefined>([0, Code.NotFound]);
const BODIES = 6;
const RESETS = 500;
const STALLED = 20;

async function connected(t: TestCase, role: EntityRole): Promise<RawConnection> {
  const { endpoint } = t.target.entities[role];
  const { trustAnchorsPem } = t.target;
  const timeoutMs = t.ixit.callTimeoutSeconds * 1000;
  const { tls } = byCertificate({ endpoint, timeoutMs, trustAnchorsPem, credential: t.credential("provider") });
  // The server's name is a URI, which the preflight has compared.
  const verified = { ...tls, rejectUnauthorized: true, checkServerIdentity: () => undefined };
  const connection = await RawConnection.open({ endpoint, timeoutMs, tls: verified });
  t.cleanUp(async () => connection.close());
  return connection;
}

/** The status of a call. @throws Inconclusive where there is none, and a fresh connection does not come about either */
async function statusOf(
  t: TestCase,
  role: EntityRole,
  connection: RawConnection,
  call: { readonly path: string; readonly body: Uint8Array; readonly timeoutMs?: number },
): Promise<number | undefined> {
  const { code } = await connection.call(call.path, call.body, call.timeoutMs);
  if (code === undefined) await connected(t, role);
  return code;
}

async function expectAnswered(t: TestCase, role: EntityRole, connection: RawConnection): Promise<void> {
  const { path, message } = asked[role];
  const code = await statusOf(t, role, connection, { path, body: framed(message()) });
  expect(answers.has(code), `an answer to a right request (got ${nameOf(code)})`);
}

function nameOf(code: number | undefined): string {
  return code === undefined ? "none" : code === 0 ? "OK" : codeName(code);
}

interface Broken {
  readonly number: string;
  readonly title: string;
  readonly stimulus: string;
  readonly codes: readonly Code[];
  readonly likelyMistake: string;
  readonly requests: (
    t: TestCase,
    right: (typeof asked)[EntityRole],
  ) => readonly { readonly path: string; readonly body: Uint8Array }[];
}

const broken: readonly Broken[] = [
  {
    number: "31",
    title: "refuses methods and services that there are not",
    stimulus: "an unknown method; an unknown service; a path that leads elsewhere",
    codes: [Code.Unimplemented],
    likelyMistake: "unknown paths end in an exception, or the connection is cut",
    requests: (_, { path, message }) =>
      [`${path}ToEverybody`, "x1410.v1.NothingService/GetEverything", "../../etc/passwd"].map((one) => ({
        path: one,
        body: framed(message()),
      })),
  },
  {
    number: "32",
    title: "refuses messages of a declared length that nobody has memory for",
    stimulus: "ten bytes in a frame of declared 1 GiB; of 4 GiB less one",
    codes: [Code.ResourceExhausted],
    likelyMistake: "the declared length is allocated before it is compared with a limit",
    requests: (_, { path }) =>
      [1 << 30, 0xffff_ffff].map((length) => ({ path, body: framed(new Uint8Array(10), length) })),
  },
  {
    number: "33",
    title: "refuses bytes that do not parse as the message",
    stimulus: "a length that goes beyond the end; nothing but set bits",
    codes: [Code.InvalidArgument, Code.Internal],
    likelyMistake: "the parser's exception ends the process or comes out as UNKNOWN",
    requests: (_, { path }) =>
      [Buffer.from("0affffffff7f", "hex"), Buffer.alloc(64, 0xff)].map((body) => ({ path, body: framed(body) })),
  },
];

function brokenRequestsOf(role: EntityRole): readonly Purpose[] {
  const of = `TP/${role.toUpperCase() as Uppercase<EntityRole>}/API` as const;
  const { method } = asked[role];
  const shared = {
    clause: "7.2.5",
    capabilities: ["AAC3"],
    methods: [method],
    initialState: "a user with a good certificate, on a connection of its own",
  } as const;
  return [
    ...broken.map(({ number, codes, requests, ...rest }) =>
      purpose({
        ...shared,
        ...rest,
        id: `${of}/BI-${number}` as PurposeId,
        expected: `${codes.map((code) => codeName(code)).join(" or ")}, and an answer to the next right request`,
        twin: "a right request",
        async run(t) {
          const connection = await connected(t, role);
          await t.positiveTwin("a right request", () => expectAnswered(t, role, connection));
          for (const request of requests(t, asked[role])) {
            const code = await statusOf(t, role, connection, request);
            const names = codes.map((one) => codeName(one)).join(" or ");
            expect(code !== undefined && codes.includes(code), `${names} (got ${nameOf(code)})`);
          }
          await expectAnswered(t, role, await connected(t, role));
        },
      }),
    ),
    purpose({
      ...shared,
      id: `${of}/BI-34`,
      title: "takes random bodies to every method for what they are",
      stimulus: `${BODIES} bodies of random bytes to each method`,
      expected: "a status to each; INTERNAL only where the bytes do not parse; never UNKNOWN; and it goes on",
      twin: "a right request",
      likelyMistake: "a value that parses and makes no sense reaches code that throws",
      async run(t) {
        const connection = await connected(t, role);
        await t.positiveTwin("a right request", () => expectAnswered(t, role, connection));
        const methods = servedBy[role].flatMap((service) => service.methods);
        const calls = methods.flatMap((one) =>
          Array.from({ length: BODIES }, () => randomCall(t, role, connection, one)),
        );
        const wrong = (await Promise.all(calls)).filter((text) => text !== "");
        expect(wrong.length === 0, `a status that fits to each body (${wrong.slice(0, 3).join("; ")})`);
        t.seen(`${calls.length} bodies to ${methods.length} methods`);
        await expectAnswered(t, role, connection);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-35`,
      title: "goes on for everybody while one connection opens calls and resets them at once",
      stimulus: `${RESETS} calls on one connection, each reset before its body`,
      expected: "answers to another connection, during and after",
      twin: "a right request",
      likelyMistake: "each reset leaves work behind (CVE-2023-44487)",
      async run(t) {
        const connection = await connected(t, role);
        const other = await connected(t, role);
        await t.positiveTwin("a right request", () => expectAnswered(t, role, other));
        for (let count = 0; count < RESETS && !connection.session.closed; count++)
          connection.begin(asked[role].path, 5_000).close(constants.NGHTTP2_CANCEL);
        await expectAnswered(t, role, other);
        await expectAnswered(t, role, await connected(t, role));
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-36`,
      title: "goes on for everybody while handshakes and requests stall",
      stimulus: `${STALLED} connections that never say a word, ${STALLED} calls that stop in the middle of a frame`,
      expected: "answers to another connection",
      twin: "a right request",
      likelyMistake: "each handshake or call holds a thread, and there are so many",
      async run(t) {
        const other = await connected(t, role);
        await t.positiveTwin("a right request", () => expectAnswered(t, role, other));
        const { endpoint } = t.target.entities[role];
        for (let count = 0; count < STALLED; count++) {
          const socket = silentSocket(endpoint);
          t.cleanUp(async () => void socket.destroy());
        }
        const stalling = await connected(t, role);
        for (let count = 0; count < STALLED; count++)
          stalling.begin(asked[role].path, 60_000).write(Buffer.from([0, 0]));
        await expectAnswered(t, role, other);
        await expectAnswered(t, role, await connected(t, role));
      },
    }),
  ];
}

/** Answers "" where the status fits the body. */
async function randomCall(
  t: TestCase,
  role: EntityRole,
  connection: RawConnection,
  method: DescMethod,
): Promise<string> {
  const body = t.seeded(t.seededNumber(48));
  const path = `${method.parent.typeName}/${method.name}`;
  const code = await statusOf(t, role, connection, { path, body: framed(body), timeoutMs: 1_000 });
  const fits = code !== undefined && code !== Code.Unknown && (code !== Code.Internal || !parses(method, body));
  return fits
    ? ""
    : `${method.parent.name}/${method.name} answers ${nameOf(code)} to ${Buffer.from(body).toString("hex")}`;
}

function parses(method: DescMethod, body: Uint8Array): boolean {
  try {
    fromBinary(method.input, body);
    return true;
  } catch {
    return false;
  }
}

function silentSocket(endpoint: string): Socket {
  const at = endpoint.lastIndexOf(":");
  const host = endpoint.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  const socket = connectTcp(Number(endpoint.slice(at + 1)), host);
  socket.on("error", () => {});
  return socket;
}

export const brokenRequestPurposes: readonly Purpose[] = entityRoles.flatMap(brokenRequestsOf);
