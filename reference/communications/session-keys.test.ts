// What holds of every connection (clause 7.2.5, AAC1, AAC4), whatever keys the parties have: a session key of its own, versions as
// configured, and identities of each admitted kind for TLS and for messages alike.
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { KEY_ALGORITHMS, type KeyAlgorithm } from "../../certs/key-pair.ts";
import type { IdentityMaterial } from "../../certs/pki.ts";
import { ServerAuthenticationStatementSchema } from "../../gen/x1410/v1/server_authentication_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner } from "../envelope/signer.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { connectTransport } from "./connect-transport.ts";
import { EchoService } from "./echo.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { defaultLimits } from "./limits.ts";
import { silentLog } from "./log.ts";
import { peerKey } from "./peer.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";
import { credentialsOf, secureContextOptions, type TlsCredentials } from "./tls-credentials.ts";
import { TlsListener } from "./tls-listener.ts";

let fixture: PkiFixture;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

const exported = (socket: TLSSocket) =>
  socket.exportKeyingMaterial(32, "EXPORTER-x1410-test", Buffer.alloc(0)).toString("hex");

async function listen(credentials: TlsCredentials, accept: (socket: TLSSocket) => void): Promise<TlsListener> {
  const listener = await TlsListener.open("127.0.0.1", 0, {
    credentials,
    clients: "certificate",
    protocols: ["h2"],
    limits: defaultLimits,
    log: silentLog,
    onConnection: accept,
    onStanding: () => {},
  });
  open.push({
    close() {
      listener.stop();
      listener.connections.cutAll();
    },
  });
  return listener;
}

async function connected(
  listener: TlsListener,
  credentials: TlsCredentials,
  maxVersion?: "TLSv1.2",
): Promise<TLSSocket> {
  const socket = connect({
    host: listener.host,
    port: listener.port,
    ALPNProtocols: ["h2"],
    checkServerIdentity: () => undefined,
    ...secureContextOptions(credentials),
    ...(maxVersion === undefined ? {} : { minVersion: maxVersion, maxVersion }),
  });
  open.push({ close: () => socket.destroy() });
  await once(socket, "secureConnect");
  return socket;
}

test.each(["TLSv1.3", "TLSv1.2"] as const)(
  "under %s each connection has a session key of its own, which both ends share (AAC4)",
  async (version) => {
    const kss = fixture.issue("kss", "one");
    const alice = fixture.issue("user", "alice");
    const atServer: string[] = [];
    const entered = Promise.withResolvers<void>();
    const listener = await listen({ ...kss.credentials, minVersion: version }, (socket) => {
      if (atServer.push(exported(socket)) === 4) entered.resolve();
    });
    const atClient: string[] = [];
    for (let round = 0; round < 4; round++) {
      const socket = await connected(listener, alice.credentials, version === "TLSv1.2" ? version : undefined);
      expect([socket.getProtocol(), socket.isSessionReused()]).toEqual([version, false]);
      // Forward secrecy: an ephemeral key exchange in each.
      expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: expect.stringMatching(/./) });
      atClient.push(exported(socket));
    }
    await entered.promise;
    expect(atServer.sort()).toEqual(atClient.sort());
    expect(new Set(atServer).size).toBe(4);
  },
);

/** Every pair of a client's and a server's kind of key would be nine handshakes to show the same. */
test.each(KEY_ALGORITHMS.map((algorithm): [KeyAlgorithm] => [algorithm]))(
  "identities with %s keys open and take connections, over both client stacks, and sign messages",
  async (keyAlgorithm) => {
    const issue = (role: "kss" | "user", identity: string): IdentityMaterial =>
      fixture.pki.issueIdentity({ role, identity, keyAlgorithm });
    const kss = issue("kss", "urn:x1410:entity:kss:two");
    const alice = issue("user", "urn:x1410:user:alice");
    const callers: string[] = [];
    const server = await startServer({
      name: "test",
      credentials: credentialsOf(kss),
      registrations: [
        implement(EchoService, {
          say(_request, context) {
            callers.push(context.values.get(peerKey).identity);
            return {};
          },
        }),
      ],
    });
    open.push({ close: () => server.close(0) });
    for (const transport of [grpcTransport, connectTransport].map((stack) =>
      stack({ address: server.address, credentials: credentialsOf(alice), serverIdentity: kss.identity }),
    )) {
      open.push(transport);
      await createClient(EchoService, transport).say({});
    }
    expect(callers).toEqual([alice.identity, alice.identity]);

    const signer = createSigner({ privateKeyPem: alice.privateKeyPem, certificateChainPem: alice.chainPem });
    const statement = {
      $typeName: ServerAuthenticationStatementSchema.typeName,
      userNonce: new Uint8Array(32),
      serverNonce: new Uint8Array(32),
      serverIdentity: kss.identity,
      userIdentity: alice.identity,
    } as const;
    const envelope = signMessage(signer, ServerAuthenticationStatementSchema, statement);
    const trust = fixture.pki.verifier();
    expect(verifyEnvelope(envelope, ServerAuthenticationStatementSchema, trust).signer).toMatchObject({
      identity: alice.identity,
      fingerprint: alice.fingerprint,
    });
    const payload = Uint8Array.from(envelope.payload);
    payload[3] = (payload[3] ?? 0) ^ 1;
    expect(() => verifyEnvelope({ ...envelope, payload }, ServerAuthenticationStatementSchema, trust)).toThrow(
      "SIGNATURE_INVALID",
    );
  },
);
