// Calls under way when their caller may begin no more of them: each ends with what a new call on the same connection gets, and those of
// others go on.
import { once } from "node:events";
import { connect } from "node:http2";
import { Code, ConnectError, createClient, type HandlerContext } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { readAuthority } from "../../certs/authority-directory.ts";
import { buildCertificate, parseCertificate, randomSerialNumber } from "../../certs/certificate.ts";
import { toPem } from "../../certs/der.ts";
import { generateKeyPair, privateKeyPem } from "../../certs/key-pair.ts";
import { buildRevocationList } from "../../certs/revocation-list.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessControl } from "./access-control.ts";
import { connectTransport } from "./connect-transport.ts";
import { EchoService, type EchoServiceType } from "./echo.fixture.ts";
import { startExposure } from "./exposure-host.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { peerKey } from "./peer.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { reasonOf } from "./refusal.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";
import { secureContextOptions, type TlsCredentials } from "./tls-credentials.ts";

let fixture: PkiFixture;
let kss: ReturnType<PkiFixture["issue"]>;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

const day = 24 * 60 * 60_000;

/** A second issuing authority under the same root, with a user of its own. */
function branchOf(name: string) {
  const root = readAuthority(fixture.pki.root.directory);
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + day) };
  const keys = generateKeyPair();
  const serialNumber = randomSerialNumber();
  const der = buildCertificate({
    ...validity,
    serialNumber,
    subject: { commonName: "another issuing authority" },
    issuer: { certificate: root.certificate.der, privateKey: root.privateKey },
    publicKey: keys.publicKey,
    basicConstraints: { ca: true, pathLength: 0 },
    keyUsage: ["keyCertSign", "cRLSign"],
  });
  const user = generateKeyPair();
  const leaf = buildCertificate({
    ...validity,
    subject: { commonName: name },
    issuer: { certificate: der, privateKey: keys.privateKey },
    publicKey: user.publicKey,
    basicConstraints: { ca: false },
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: ["clientAuth"],
    subjectAltNames: [{ type: "uri", value: `urn:x1410:user:${name}` }],
  });
  const list = (issuer: { der: Uint8Array; privateKey: typeof keys.privateKey }, nextUpdate: Date, revoked: string[]) =>
    toPem(
      "X509 CRL",
      buildRevocationList({
        issuer: parseCertificate(issuer.der),
        privateKey: issuer.privateKey,
        number: 1000 + revoked.length,
        // After that of the fixture: the newer list of an issuer counts.
        thisUpdate: new Date(Date.now() - 1000),
        nextUpdate,
        entries: revoked.map((serial) => ({
          serialNumber: serial,
          reason: "unspecified",
          revokedAt: new Date(Date.now() - 1000),
        })),
      }),
    );
  const credentials: TlsCredentials = {
    privateKey: privateKeyPem(user.privateKey),
    certificateChain: toPem("CERTIFICATE", leaf) + toPem("CERTIFICATE", der),
    authorities: [fixture.pki.caPem],
    revocationLists: fixture.pki.crlPems,
  };
  return {
    credentials,
    /** What a server trusts that knows this authority beforehand. */
    authorities: [fixture.pki.caPem, toPem("CERTIFICATE", der)],
    /** Of this authority. */
    list: (nextUpdate: Date) => list({ der, privateKey: keys.privateKey }, nextUpdate, []),
    /** Of the root, which revokes this authority. */
    rootList: () =>
      list({ der: root.certificate.der, privateKey: root.privateKey }, new Date(Date.now() + day), [serialNumber]),
  };
}

const kinds = ["unary", "server stream", "client stream", "bidirectional stream"] as const;

/** A server whose calls last until they are ended, or until `finish`. */
async function start(door: "gRPC" | "exposure API", changed: Partial<TlsCredentials>) {
  const finish = Promise.withResolvers<void>();
  const begun = new Map<string, number>();
  const ended: string[] = [];
  const stored: string[] = [];
  const accessControl = new AccessControl();
  const name = ({ values }: HandlerContext) => values.get(peerKey).identity.replace("urn:x1410:user:", "");
  const lasting = async (kind: (typeof kinds)[number], context: HandlerContext) => {
    begun.set(name(context), (begun.get(name(context)) ?? 0) + 1);
    context.signal.addEventListener("abort", () => ended.push(`${name(context)} ${kind}`));
    await Promise.race([
      finish.promise,
      new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason))),
    ]);
  };
  const echo = implement(EchoService, {
    async say({ text }, context) {
      if (text === "at once") return { text };
      await lasting("unary", context);
      return { text };
    },
    async *count({ text }, context) {
      yield { text };
      await lasting("server stream", context);
      yield { text };
    },
    async join(requests, context) {
      begun.set(name(context), (begun.get(name(context)) ?? 0) + 1);
      context.signal.addEventListener("abort", () => ended.push(`${name(context)} client stream`));
      // As an upload: reads to the end, and does not look at the signal.
      for await (const _ of requests);
      stored.push(name(context));
      return {};
    },
    async *chat(requests, context) {
      begun.set(name(context), (begun.get(name(context)) ?? 0) + 1);
      context.signal.addEventListener("abort", () => ended.push(`${name(context)} bidirectional stream`));
      for await (const request of requests) yield request;
      stored.push(name(context));
    },
  });
  const credentials = { ...kss.credentials, ...changed };
  const options = { name: "test", credentials, registrations: [echo], accessControl };
  const server = door === "gRPC" ? await startServer(options) : await startExposure(options);
  open.push({ close: () => server.close(0) });

  async function* requests() {
    yield { text: "one" };
    await finish.promise;
  }
  const through = (caller: TlsCredentials) => {
    const channel = { address: server.address, credentials: caller, serverIdentity: kss.identity };
    const transport =
      door === "gRPC" ? grpcTransport(channel) : connectTransport({ ...channel, protocol: "connect", json: true });
    open.push(transport);
    const client = createClient<EchoServiceType>(EchoService, transport);
    const drained = async (messages: AsyncIterable<unknown>) => {
      for await (const _ of messages);
    };
    return {
      once: () => outcome(client.say({ text: "at once" })),
      outcomes: Promise.all([
        outcome(client.say({})),
        outcome(drained(client.count({}))),
        outcome(client.join(requests())),
        outcome(drained(client.chat(requests()))),
      ]),
    };
  };
  return { ...server, accessControl, begun, ended, stored, finish: finish.resolve, through };
}

async function outcome(call: Promise<unknown>): Promise<readonly [Code, ErrorReason] | "OK"> {
  try {
    await call;
    return "OK";
  } catch (cause) {
    return [ConnectError.from(cause).code, reasonOf(cause)];
  }
}

interface Scene {
  readonly caller: TlsCredentials;
  /** Of the server at its start, where they differ. */
  readonly credentials?: Partial<TlsCredentials>;
  /** What an operator does while the calls are under way; nothing where time does it. */
  happens(server: Awaited<ReturnType<typeof start>>): void;
}

const revoked = [Code.Unauthenticated, ErrorReason.CERTIFICATE_REVOKED] as const;
const causes: readonly [string, readonly [Code, ErrorReason], () => Scene][] = [
  [
    "whose certificate is revoked",
    revoked,
    () => {
      const { credentials, serialNumber } = fixture.issue("user", "alice");
      return {
        caller: credentials,
        happens(server) {
          fixture.pki.intermediate.revoke(serialNumber);
          server.reload({ ...kss.credentials, revocationLists: fixture.pki.crlPems });
        },
      };
    },
  ],
  [
    "whose issuing authority is revoked",
    revoked,
    () => {
      const branch = branchOf("alice");
      const issuing = [fixture.pki.intermediate.crlPem, branch.list(new Date(Date.now() + day))];
      const { authorities } = branch;
      return {
        caller: branch.credentials,
        credentials: { authorities, revocationLists: [fixture.pki.root.crlPem, ...issuing] },
        happens: (server) =>
          server.reload({ ...kss.credentials, authorities, revocationLists: [branch.rootList(), ...issuing] }),
      };
    },
  ],
  [
    "whose certificate expires",
    [Code.Unauthenticated, ErrorReason.CERTIFICATE_EXPIRED],
    () => ({
      caller: fixture.issue("user", "alice", 3000).credentials,
      happens: () => {},
    }),
  ],
  [
    "for whom the revocation list goes out of date",
    revoked,
    () => {
      const branch = branchOf("alice");
      return {
        caller: branch.credentials,
        credentials: { revocationLists: [...fixture.pki.crlPems, branch.list(new Date(Date.now() + 3000))] },
        happens: () => {},
      };
    },
  ],
  [
    "who is put on the deny list",
    [Code.PermissionDenied, ErrorReason.DENY_LISTED],
    () => ({
      caller: fixture.issue("user", "alice").credentials,
      happens: ({ accessControl }) => accessControl.replace({ deny: [{ identity: "urn:x1410:user:alice" }] }),
    }),
  ],
  [
    "who is left out of a new allow list",
    [Code.PermissionDenied, ErrorReason.NOT_ALLOW_LISTED],
    () => ({
      caller: fixture.issue("user", "alice").credentials,
      happens: ({ accessControl }) => accessControl.replace({ allow: [{ identity: "urn:x1410:user:bob" }] }),
    }),
  ],
];

describe.each(["gRPC", "exposure API"] as const)("calls under way at the %s port", (door) => {
  test.each(causes)("of one %s end as a new call would; those of another go on", async (_cause, refusal, sceneOf) => {
    const scene = sceneOf();
    const server = await start(door, scene.credentials ?? {});
    const [alice, bob] = [server.through(scene.caller), server.through(fixture.issue("user", "bob").credentials)];
    await expect.poll(() => [server.begun.get("alice"), server.begun.get("bob")]).toEqual([4, 4]);
    expect(server.ended).toEqual([]);

    scene.happens(server);
    expect(Object.fromEntries((await alice.outcomes).map((each, index) => [kinds[index], each]))).toEqual(
      Object.fromEntries(kinds.map((kind) => [kind, refusal])),
    );
    expect(await alice.once()).toEqual(refusal);
    await expect.poll(() => [...server.ended].sort()).toEqual(kinds.map((kind) => `alice ${kind}`).sort());

    expect(await bob.once()).toBe("OK");
    server.finish();
    expect(await bob.outcomes).toEqual(["OK", "OK", "OK", "OK"]);
    expect(server.stored).toEqual(["bob", "bob"]);
  });
});

test.each([
  [
    "gRPC",
    { "content-type": "application/grpc", te: "trailers" },
    Buffer.alloc(5),
    ["200", String(Code.PermissionDenied)],
  ],
  ["exposure API", { "content-type": "application/json" }, Buffer.from("{}"), ["403", undefined]],
] as const)(
  "a request at the %s port whose caller is denied while it arrives is not served",
  async (door, headers, body, told) => {
    const admitted = Promise.withResolvers<void>();
    let served = 0;
    const accessControl = new AccessControl();
    const options = {
      name: "test",
      credentials: kss.credentials,
      registrations: [implement(EchoService, { say: () => ({ text: String(++served) }) })],
      accessControl,
      guards: [{ admit: () => void admitted.resolve() }],
    };
    const server = door === "gRPC" ? await startServer(options) : await startExposure(options);
    open.push({ close: () => server.close(0) });
    const session = connect(`https://${server.address}`, {
      ...secureContextOptions(fixture.issue("user", "alice").credentials),
      checkServerIdentity: () => undefined,
    });
    open.push({ close: () => session.destroy() });
    const stream = session.request({ ":method": "POST", ":path": "/x1410.test.EchoService/Say", ...headers });
    const answer = once(stream, "response");
    await admitted.promise;
    accessControl.replace({ deny: [{ identity: "urn:x1410:user:alice" }] });
    stream.end(body);
    const [response] = await answer;
    expect([String(response[":status"]), response["grpc-status"]]).toEqual(told);
    expect(served).toBe(0);
    accessControl.replace({});
    const again = session.request({ ":method": "POST", ":path": "/x1410.test.EchoService/Say", ...headers });
    again.end(body).resume();
    await once(again, "end");
    expect(served).toBe(1);
  },
);

test("a connection whose authorities came with its handshake only is cut when lists change: a new handshake judges them", async () => {
  const branch = branchOf("alice");
  const issuing = [fixture.pki.intermediate.crlPem, branch.list(new Date(Date.now() + day))];
  const server = await start("gRPC", { revocationLists: [fixture.pki.root.crlPem, ...issuing] });
  const [alice, bob] = [server.through(branch.credentials), server.through(fixture.issue("user", "bob").credentials)];
  await expect.poll(() => [server.begun.get("alice"), server.begun.get("bob")]).toEqual([4, 4]);
  server.reload({ ...kss.credentials, revocationLists: [branch.rootList(), ...issuing] });
  const cut = [Code.Unavailable, ErrorReason.UNSPECIFIED];
  expect(await alice.outcomes).toEqual([cut, cut, cut, cut]);
  expect(await alice.once()).toEqual(cut);
  expect(await bob.once()).toBe("OK");
  server.finish();
  expect(await bob.outcomes).toEqual(["OK", "OK", "OK", "OK"]);
});
