import { randomBytes } from "node:crypto";
import { type ConnectionOptions, connect, createServer, type TLSSocket } from "node:tls";
import { Code, ConnectError, createClient, type HandlerContext } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { IdentityMaterial } from "../../certs/pki.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  ServerAuthenticationService,
  ServerAuthenticationStatementSchema,
} from "../../gen/x1410/v1/server_authentication_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { AccessControl } from "./access-control.ts";
import { EchoService } from "./echo.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { peerKey } from "./peer.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { PreSharedKeys } from "./pre-shared-keys.ts";
import { pskClientOptions, pskServerOptions } from "./psk-handshake.ts";
import { type PskChannelOptions, pskTransport } from "./psk-transport.ts";
import { reasonOf } from "./refusal.ts";
import { offerSession } from "./resumption.fixture.ts";
import { type RunningServer, type ServerOptions, startServer } from "./server.ts";
import { createServerAuthentication } from "./server-authentication.ts";
import { implement, type Registration } from "./service.ts";
import { secureContextOptions, type TlsCredentials } from "./tls-credentials.ts";

const alice = { identity: "urn:x1410:user:alice", key: randomBytes(32) };
const bob = { identity: "urn:x1410:user:bob", key: randomBytes(48) };

type Issued = IdentityMaterial & { credentials: TlsCredentials };

let fixture: PkiFixture;
let kss: Issued;
let dss: Issued;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  dss = fixture.issue("dss", "one");
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

function signerOf({ privateKeyPem, chainPem }: IdentityMaterial): Signer {
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
}

let caller: HandlerContext | undefined;
const echo = implement(EchoService, {
  say(request, context) {
    caller = context;
    return { text: request.text };
  },
});

async function start(
  keys: PreSharedKeys,
  options: Partial<ServerOptions> = {},
  proof: Registration = createServerAuthentication(signerOf(kss)),
): Promise<RunningServer> {
  const { credentials } = kss;
  const registrations = [echo, proof];
  const server = await startServer({ name: "psk", credentials, clients: keys, registrations, ...options });
  open.push({ close: () => server.close(0) });
  return server;
}

function clientTo(address: string, options: Partial<PskChannelOptions> = {}) {
  const transport = pskTransport({
    address,
    preSharedKey: alice,
    serverIdentity: kss.identity,
    trust: fixture.pki.verifier(),
    ...options,
  });
  open.push(transport);
  return createClient(EchoService, transport);
}

async function refused(call: Promise<unknown>): Promise<[Code, ErrorReason]> {
  try {
    await call;
  } catch (cause) {
    return [ConnectError.from(cause).code, reasonOf(cause)];
  }
  throw new Error("the call succeeded");
}

/** One handshake: "open" once the server has answered on HTTP/2, else the alert and whether anything came before it. */
function probe(server: { host: string; port: number }, options: ConnectionOptions) {
  return new Promise<{ outcome: string; socket: TLSSocket; read: number }>((resolve) => {
    const socket = connect({ host: server.host, port: server.port, ALPNProtocols: ["h2"], ...options });
    open.push({ close: () => socket.destroy() });
    const end = (outcome: string) => resolve({ outcome, socket, read: socket.bytesRead });
    socket.once("secureConnect", () => socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1"));
    socket.once("data", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("close", () => end("closed"));
  });
}

describe("the handshake by pre-shared key (AAC1)", () => {
  test("lets the user of the key in, over TLS 1.3, without any certificate", async () => {
    const server = await start(new PreSharedKeys([alice]));
    const { outcome, socket } = await probe(server, pskClientOptions(alice.identity, alice.key));
    expect([outcome, socket.getProtocol(), socket.alpnProtocol]).toEqual(["open", "TLSv1.3", "h2"]);
    expect(["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]).toContain(socket.getCipher().name);
    expect(socket.getPeerX509Certificate()).toBeUndefined();
    await clientTo(server.address).say({});
    expect(caller?.values.get(peerKey)).toMatchObject({
      identity: alice.identity,
      fingerprint: "",
      certificate: undefined,
      transport: "psk",
    });
  });

  test("takes the two suites whose hash is SHA-256, and no other", async () => {
    const server = await start(new PreSharedKeys([alice]));
    const withSuite = (ciphers: string) => probe(server, { ...pskClientOptions(alice.identity, alice.key), ciphers });
    for (const suite of ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]) {
      const { outcome, socket } = await withSuite(suite);
      expect([outcome, socket.getCipher().name]).toEqual(["open", suite]);
    }
    expect((await withSuite("TLS_AES_256_GCM_SHA384")).outcome).toMatch(/^ERR_SSL_/);
  });

  test("refuses an unknown and a wrong key in the same way", async () => {
    const server = await start(new PreSharedKeys([alice]));
    const refusals = [];
    for (const [identity, key] of [
      [alice.identity, bob.key],
      [bob.identity, bob.key],
      ["urn:x1410:user:nobody", alice.key],
    ] as const) {
      const { outcome, read } = await probe(server, pskClientOptions(identity, key));
      refusals.push({ outcome, read });
    }
    expect(refusals[0]?.outcome).toMatch(/^ERR_SSL_/);
    expect(refusals).toEqual([refusals[0], refusals[0], refusals[0]]);
    expect((await probe(server, pskClientOptions(alice.identity, alice.key))).outcome).toBe("open");
    expect(await refused(clientTo(server.address, { preSharedKey: bob }).say({}))).toEqual([Code.Unavailable, 0]);
  });

  test("refuses whoever comes with a certificate instead, and older versions of TLS", async () => {
    const server = await start(new PreSharedKeys([alice]));
    const user = fixture.issue("user", "alice");
    const certificate = { ...secureContextOptions(user.credentials), checkServerIdentity: () => undefined };
    expect((await probe(server, certificate)).outcome).toBe("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
    const old = { ...pskClientOptions(alice.identity, alice.key), ciphers: "PSK" } as const;
    expect((await probe(server, { ...old, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" })).outcome).toMatch(/ALERT/);
  });

  test("has no use on a port for certificates", async () => {
    const server = await startServer({ name: "mtls", credentials: kss.credentials, registrations: [echo] });
    open.push({ close: () => server.close(0) });
    expect(await refused(clientTo(server.address).say({}))).toEqual([Code.Unavailable, 0]);
  });

  test("is aborted by a client that is offered a certificate, however good", async () => {
    const accepted = Promise.withResolvers<string>();
    const impostor = createServer({ ...secureContextOptions(kss.credentials), ALPNProtocols: ["h2"] }, (socket) => {
      // The client's half of the handshake comes after the server's: data or the abort tells.
      socket.once("data", () => accepted.resolve("data"));
      socket.once("error", () => accepted.resolve("aborted"));
      socket.once("close", () => accepted.resolve("aborted"));
    });
    impostor.on("tlsClientError", () => accepted.resolve("aborted"));
    await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
    open.push(impostor);
    const { port } = impostor.address() as { port: number };
    expect(await refused(clientTo(`127.0.0.1:${port}`).say({}))).toEqual([Code.Unavailable, 0]);
    expect(await accepted.promise).toBe("aborted");
    // Even where the machine trusts whoever issued it.
    const options = { ...pskClientOptions(alice.identity, alice.key), ca: fixture.pki.caPem };
    expect((await probe({ host: "127.0.0.1", port }, options)).outcome).toMatch(/instead of the pre-shared key/);
  });

  test("resumes no session that is offered", async () => {
    const keys = new PreSharedKeys([alice]);
    const server = await start(keys);
    const first = pskClientOptions(alice.identity, alice.key);
    // The session alone, without the key.
    const { pskCallback: _key, ...second } = first;
    const { outcome, resumed } = await offerSession(server.port, first, second);
    expect([outcome, resumed]).toEqual([expect.stringMatching(/^ERR_SSL_/), false]);
    // The same client, and a server that lets it.
    const lenient = createServer({ ...pskServerOptions(keys, () => undefined), secureOptions: 0 });
    lenient.on("secureConnection", (socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => lenient.listen(0, "127.0.0.1", resolve));
    open.push(lenient);
    const { port } = lenient.address() as { port: number };
    expect(await offerSession(port, first, second)).toMatchObject({ resumed: true });
  });

  test("gives every connection keys of its own (AAC4)", async () => {
    const server = await start(new PreSharedKeys([alice]));
    const exported = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const { outcome, socket } = await probe(server, pskClientOptions(alice.identity, alice.key));
      expect(outcome).toBe("open");
      exported.add(socket.exportKeyingMaterial(32, "EXPORTER-x1410-test", Buffer.alloc(0)).toString("hex"));
    }
    expect(exported.size).toBe(3);
  });
});

describe("a key that is withdrawn or changed", () => {
  test("ends its connections and lets nobody in; those of others go on", async () => {
    const keys = new PreSharedKeys([alice, bob]);
    const server = await start(keys);
    const [one, other] = [clientTo(server.address), clientTo(server.address, { preSharedKey: bob })];
    await Promise.all([one.say({}), other.say({})]);
    const connection = caller?.values.get(peerKey).connectionId;
    keys.replace([bob]);
    expect(await refused(one.say({}))).toEqual([Code.Unavailable, 0]);
    await other.say({});
    const renewed = { ...alice, key: randomBytes(32) };
    keys.replace([renewed, bob]);
    expect(await refused(one.say({}))).toEqual([Code.Unavailable, 0]);
    await clientTo(server.address, { preSharedKey: renewed }).say({});
    expect(caller?.values.get(peerKey).connectionId).not.toBe(connection);
  });

  test("lets nobody in who is amid the handshake", async () => {
    const keys = new PreSharedKeys([alice, bob]);
    const server = await start(keys);
    const { keyOf } = keys;
    keys.keyOf = (identity) => {
      // After the server has looked it up, before the client's half of the handshake.
      if (identity === alice.identity) queueMicrotask(() => keys.replace([bob]));
      return keyOf.call(keys, identity);
    };
    expect((await probe(server, pskClientOptions(bob.identity, bob.key))).outcome).toBe("open");
    expect((await probe(server, pskClientOptions(alice.identity, alice.key))).outcome).not.toBe("open");
  });

  test("is refused where it is too short, not a user's, or named twice; the former keys hold", () => {
    const keys = new PreSharedKeys([alice]);
    for (const [wrong, message] of [
      [[{ ...alice, key: randomBytes(31) }], "31 bytes"],
      [[{ ...alice, key: randomBytes(65) }], "65 bytes"],
      [[{ ...alice, identity: "urn:x1410:entity:kss:one" }], "no user's identity"],
      [[alice, alice], "two pre-shared keys"],
    ] as const) {
      expect(() => keys.replace(wrong)).toThrow(message);
      expect(keys.keyOf(alice.identity)).toEqual(alice.key);
    }
  });
});

describe("the server's proof by certificate (AAC2)", () => {
  /** A server that signs what it likes. */
  const proving = (
    signer: Signer,
    change: { userNonce?: Uint8Array; userIdentity?: string; serverIdentity?: string } = {},
  ): Registration =>
    implement(ServerAuthenticationService, {
      proveIdentity: ({ userNonce }) => ({
        statement: signMessage(signer, ServerAuthenticationStatementSchema, {
          $typeName: ServerAuthenticationStatementSchema.typeName,
          userNonce,
          serverNonce: randomBytes(32),
          serverIdentity: kss.identity,
          userIdentity: alice.identity,
          ...change,
        }),
      }),
    });

  test.each([
    ["another nonce", { userNonce: new Uint8Array(32) }],
    ["another user", { userIdentity: bob.identity }],
    ["another server's name", { serverIdentity: "urn:x1410:entity:kss:two" }],
  ])("over %s is no proof, and nothing is sent", async (_what, change) => {
    caller = undefined;
    const server = await start(new PreSharedKeys([alice]), {}, proving(signerOf(kss), change));
    const call = clientTo(server.address).say({ text: "for the key storage server only" });
    expect(await refused(call)).toEqual([Code.Unauthenticated, ErrorReason.RESPONSE_INVALID]);
    expect(caller).toBeUndefined();
  });

  test("by another entity that knows the key, or by the user itself, is no proof", async () => {
    const user = fixture.issue("user", "alice");
    for (const impostor of [dss, user]) {
      const server = await start(new PreSharedKeys([alice]), {}, proving(signerOf(impostor)));
      expect(await refused(clientTo(server.address).say({}))).toEqual([
        Code.Unauthenticated,
        ErrorReason.RESPONSE_INVALID,
      ]);
    }
  });

  test("by a revoked certificate is no proof", async () => {
    const former = fixture.issue("kss", "one");
    fixture.pki.intermediate.revoke(former.serialNumber);
    const server = await start(new PreSharedKeys([alice]), {}, createServerAuthentication(signerOf(former)));
    expect(await refused(clientTo(server.address).say({}))).toEqual([
      Code.Unauthenticated,
      ErrorReason.SIGNER_UNTRUSTED,
    ]);
  });

  test("is had on every connection anew", async () => {
    let proofs = 0;
    const honest = createServerAuthentication(signerOf(kss));
    const { proveIdentity } = honest.implementation;
    const counted = implement(ServerAuthenticationService, {
      proveIdentity(request, context) {
        proofs++;
        if (proveIdentity === undefined) throw new Error("unreachable");
        return proveIdentity(request, context);
      },
    });
    const keys = new PreSharedKeys([alice]);
    const server = await start(keys, {}, counted);
    const client = clientTo(server.address);
    await Promise.all(Array.from({ length: 5 }, () => client.say({})));
    expect(proofs).toBe(1);
    await server.close(0);
    expect(await refused(client.say({}))).toEqual([Code.Unavailable, 0]);
    await start(keys, { port: server.port }, counted);
    await client.say({});
    expect(proofs).toBe(2);
  });

  test("an impostor at the same port is found out when the connection is lost", async () => {
    const keys = new PreSharedKeys([alice]);
    const server = await start(keys);
    const client = clientTo(server.address);
    await client.say({});
    await server.close(0);
    caller = undefined;
    await start(keys, { port: server.port }, proving(signerOf(dss)));
    // The first call may still meet the lost connection.
    const outcomes = [await refused(client.say({})), await refused(client.say({}))];
    expect(outcomes[1]).toEqual([Code.Unauthenticated, ErrorReason.RESPONSE_INVALID]);
    expect(caller).toBeUndefined();
  });
});

test("access lists hold on this port too", async () => {
  const accessControl = new AccessControl();
  const server = await start(new PreSharedKeys([alice]), { accessControl });
  const client = clientTo(server.address);
  await client.say({});
  accessControl.replace({ deny: [{ identity: alice.identity }] });
  expect(await refused(client.say({}))).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
});

test("streams under way end with the access lists' word, or with their connection where the key is withdrawn", async () => {
  const accessControl = new AccessControl();
  let begun = 0;
  const lasting = implement(EchoService, {
    async *count(_request, { signal }) {
      yield {};
      begun++;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  const keys = new PreSharedKeys([alice, bob]);
  const registrations = [lasting, createServerAuthentication(signerOf(kss))];
  const server = await start(keys, { accessControl, registrations });
  const begin = async (preSharedKey: typeof alice) => {
    const messages = clientTo(server.address, { preSharedKey }).count({})[Symbol.asyncIterator]();
    await messages.next();
    return messages.next();
  };
  const one = begin(alice);
  const other = begin(bob);
  const [denied, cut] = [refused(one), refused(other)];
  await expect.poll(() => begun).toBe(2);
  accessControl.replace({ deny: [{ identity: alice.identity }] });
  expect(await denied).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
  keys.replace([alice]);
  expect(await cut).toEqual([Code.Unavailable, 0]);
});

test("the proof is not offered where the certificate is in the handshake", async () => {
  const server = await startServer({ name: "mtls", credentials: kss.credentials, registrations: [echo] });
  open.push({ close: () => server.close(0) });
  const transport = grpcTransport({
    address: server.address,
    credentials: fixture.issue("user", "alice").credentials,
    serverIdentity: kss.identity,
  });
  open.push(transport);
  const call = createClient(ServerAuthenticationService, transport).proveIdentity({ userNonce: randomBytes(32) });
  expect(await refused(call)).toEqual([Code.Unimplemented, 0]);
});
