import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect, createServer, type TLSSocket } from "node:tls";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { buildCertificate, randomSerialNumber } from "../../certs/certificate.ts";
import { toPem } from "../../certs/der.ts";
import { generateKeyPair, parsePrivateKey, privateKeyPem } from "../../certs/key-pair.ts";
import { createPki, type IdentityMaterial } from "../../certs/pki.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EchoService } from "./echo.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { type Log, silentLog } from "./log.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { reasonOf } from "./refusal.ts";
import { offerSession } from "./resumption.fixture.ts";
import { type RunningServer, type ServerOptions, startServer } from "./server.ts";
import { implement } from "./service.ts";
import { credentialsOf, secureContextOptions, type TlsCredentials } from "./tls-credentials.ts";

let fixture: PkiFixture;
let kss: IdentityMaterial & { credentials: TlsCredentials };
let alice: typeof kss;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  alice = fixture.issue("user", "alice");
});
afterEach(async () => {
  vi.useRealTimers();
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

async function start(options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const registrations = [implement(EchoService, { say: ({ text }) => ({ text }) })];
  const server = await startServer({ name: "test", credentials: kss.credentials, registrations, ...options });
  open.push({ close: () => server.close(0) });
  return server;
}

function clientTo(server: RunningServer, credentials: TlsCredentials) {
  const transport = grpcTransport({ address: server.address, credentials, serverIdentity: kss.identity });
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

/** Speaks TLS only. "open" once the server has answered on HTTP/2; under TLS 1.3 a refusal comes after the client's handshake is done. */
function probe(server: RunningServer, options: ConnectionOptions): Promise<{ outcome: string; socket: TLSSocket }> {
  return new Promise((resolve) => {
    const socket = connect({
      host: server.host,
      port: server.port,
      ALPNProtocols: ["h2"],
      checkServerIdentity: () => undefined,
      ...options,
    });
    open.push({ close: () => socket.destroy() });
    const end = (outcome: string) => resolve({ outcome, socket });
    socket.once("secureConnect", () => socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1"));
    socket.once("data", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("close", () => end("closed"));
  });
}

/** A certificate of this PKI that the authority itself would refuse to issue. */
function forge(
  names: readonly string[],
  commonName: string,
  extendedKeyUsage: "clientAuth" | "serverAuth" = "clientAuth",
) {
  const { privateKey, publicKey } = generateKeyPair();
  const issuer = fixture.pki.intermediate;
  const issuerKey = parsePrivateKey(readFileSync(join(issuer.directory, "key.pem"), "utf8"));
  const der = buildCertificate({
    serialNumber: randomSerialNumber(),
    subject: { commonName },
    issuer: { certificate: issuer.certificate.der, privateKey: issuerKey },
    publicKey,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 600_000),
    basicConstraints: { ca: false },
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [extendedKeyUsage],
    subjectAltNames: names.map((value) => ({ type: "uri", value })),
  });
  return {
    ...alice.credentials,
    privateKey: privateKeyPem(privateKey),
    certificateChain: toPem("CERTIFICATE", der) + issuer.pem,
  };
}

describe("the handshake", () => {
  test("lets a certificate of the PKI in, over TLS 1.3 and h2", async () => {
    const server = await start();
    const { outcome, socket } = await probe(server, secureContextOptions(alice.credentials));
    expect([outcome, socket.getProtocol(), socket.alpnProtocol]).toEqual(["open", "TLSv1.3", "h2"]);
  });

  test("refuses whoever has no certificate", async () => {
    const server = await start();
    const { authorities } = alice.credentials;
    const { outcome } = await probe(server, secureContextOptions({ authorities }));
    expect(outcome).toBe("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED");
  });

  test("refuses an authority of the same name", async () => {
    const rogue = createPki(join(fixture.directory, "rogue"));
    const material = rogue.issueIdentity({ role: "user", identity: alice.identity });
    const server = await start();
    const { outcome } = await probe(server, {
      ...secureContextOptions(credentialsOf(material)),
      ca: kss.caPem,
      crl: [],
    });
    expect(outcome).toBe("closed");
  });

  test("refuses a server's usage where a client's is needed", async () => {
    const server = await start();
    const { outcome } = await probe(server, secureContextOptions(forge([alice.identity], "alice", "serverAuth")));
    expect(outcome).toBe("closed");
  });

  test("refuses TLS 1.2 unless it is allowed", async () => {
    const old = { ...secureContextOptions(alice.credentials), minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
    expect((await probe(await start(), old)).outcome).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    const lenient = await start({ credentials: { ...kss.credentials, minVersion: "TLSv1.2" } });
    expect((await probe(lenient, old)).outcome).toBe("open");
  });

  test("refuses a revoked certificate, also after a reload, and a list that is missing", async () => {
    const bob = fixture.issue("user", "bob");
    const server = await start();
    expect((await probe(server, secureContextOptions(bob.credentials))).outcome).toBe("open");
    fixture.pki.intermediate.revoke(bob.serialNumber);
    server.reload({ ...kss.credentials, revocationLists: [fixture.pki.crlPem] });
    expect((await probe(server, secureContextOptions(bob.credentials))).outcome).toBe("closed");
    expect((await probe(server, secureContextOptions(alice.credentials))).outcome).toBe("open");
    // Versions came along with the reload.
    const old = { ...secureContextOptions(alice.credentials), minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
    expect((await probe(server, old)).outcome).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    server.reload({ ...kss.credentials, revocationLists: [fixture.pki.root.crlPem] });
    expect((await probe(server, secureContextOptions(alice.credentials))).outcome).toBe("closed");
  });

  test.each([
    ["TLSv1.3", {}],
    ["TLSv1.2", { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }],
  ] as const)("resumes no session that is offered, %s", async (minVersion, versions) => {
    const client = { ...secureContextOptions(alice.credentials), checkServerIdentity: () => undefined, ...versions };
    const credentials = { ...kss.credentials, minVersion };
    const server = await start({ credentials });
    expect(await offerSession(server.port, client)).toEqual({ outcome: "established", resumed: false });
    // The same client, and a server that lets it.
    const lenient = createServer({ ...secureContextOptions(credentials), requestCert: true, secureOptions: 0 });
    lenient.on("secureConnection", (socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => lenient.listen(0, "127.0.0.1", resolve));
    open.push(lenient);
    const { port } = lenient.address() as AddressInfo;
    expect(await offerSession(port, client)).toEqual({ outcome: "established", resumed: true });
  });

  test("ends after its time", async () => {
    const server = await start({ limits: { handshakeTimeoutMs: 50 } });
    const socket = connectTcp(server.port, server.host).resume();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  test("ends after its time also where a byte comes now and then", async () => {
    const server = await start({ limits: { handshakeTimeoutMs: 200 } });
    const socket = connectTcp(server.port, server.host).resume();
    socket.on("error", () => undefined);
    // A record of 16 KiB, announced and never finished.
    socket.write(Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]));
    const trickle = setInterval(() => socket.write(Buffer.alloc(1)), 20);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(trickle);
  });

  test("that fails a thousand times costs a few lines of log, and the number of the others", async () => {
    const lines: unknown[] = [];
    const log: Log = {
      ...silentLog,
      warn: (event, fields) => lines.push([event, Object.keys(fields ?? {}), fields?.["further"]]),
    };
    const server = await start({ log, limits: { maxWarnings: 2, warningIntervalMs: 500 } });
    const garbage = () =>
      new Promise<void>((resolve) => {
        const socket = connectTcp(server.port, server.host, () => socket.write("GET / HTTP/1.1\r\n\r\n")).resume();
        socket.on("error", () => undefined);
        socket.once("close", () => resolve());
      });
    for (let count = 0; count < 7; count++) await garbage();
    await expect.poll(() => lines.length).toBe(3);
    const line = ["handshake failed", ["error"], undefined];
    expect(lines).toEqual([line, line, ["handshake failed", ["further"], 5]]);
    // The next interval has its own.
    await garbage();
    await expect.poll(() => lines.length).toBe(4);
    await clientTo(server, alice.credentials).say({});
  });

  test("an unusable reload changes nothing", async () => {
    const server = await start();
    expect(() => server.reload({ ...kss.credentials, revocationLists: ["nonsense"] })).toThrow();
    expect(() => server.reload({ ...kss.credentials, certificateChain: alice.chainPem })).toThrow();
    await clientTo(server, alice.credentials).say({});
  });
});

describe("each call", () => {
  test("on an open connection after revocation is refused", async () => {
    const carol = fixture.issue("user", "carol");
    const server = await start();
    const client = clientTo(server, carol.credentials);
    await client.say({});
    fixture.pki.intermediate.revoke(carol.serialNumber);
    server.reload({ ...kss.credentials, revocationLists: [fixture.pki.crlPem] });
    expect(await refused(client.say({}))).toEqual([Code.Unauthenticated, ErrorReason.CERTIFICATE_REVOKED]);
  });

  test("on an open connection after expiry is refused", async () => {
    const server = await start();
    const client = clientTo(server, alice.credentials);
    await client.say({});
    const expiry = new Date(new X509Certificate(alice.certificatePem).validTo);
    vi.useFakeTimers({ toFake: ["Date"], now: expiry.getTime() + 1 });
    expect(await refused(client.say({}))).toEqual([Code.Unauthenticated, ErrorReason.CERTIFICATE_EXPIRED]);
  });

  test("under a revocation list that has gone out of date is refused", async () => {
    const server = await start();
    const client = clientTo(server, alice.credentials);
    await client.say({});
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 8 * 24 * 60 * 60 * 1000 });
    expect(await refused(client.say({}))).toEqual([Code.Unauthenticated, ErrorReason.CERTIFICATE_REVOKED]);
  });

  test.each([
    ["no URI, an identity in the common name", [], "urn:x1410:user:alice"],
    ["two URIs", ["urn:x1410:user:alice", "urn:x1410:user:mallory"], "alice"],
    ["a URI that is no identity", ["https://example.com/alice"], "alice"],
  ])("with %s is refused", async (_case, names, commonName) => {
    const server = await start();
    const client = clientTo(server, forge(names, commonName));
    expect(await refused(client.say({}))).toEqual([Code.PermissionDenied, ErrorReason.IDENTITY_INVALID]);
  });
});

test("an enrolment port takes clients without certificate, whose peer is nobody", async () => {
  const server = await start({ clients: "anonymous" });
  const { authorities } = alice.credentials;
  const transport = grpcTransport({
    address: server.address,
    credentials: { authorities },
    serverIdentity: kss.identity,
  });
  open.push(transport);
  expect((await createClient(EchoService, transport).say({ text: "hi" })).text).toBe("hi");
});
