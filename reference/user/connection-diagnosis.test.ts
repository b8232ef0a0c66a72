// Why a management cannot be reached, as the command line says it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { type RunningServer, startServer } from "../communications/server.ts";
import { UnreachableError, unreachable } from "./connection-diagnosis.ts";
import { ProfileError, type ProfileFile, readProfile } from "./profile.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-diagnosis-"));
let pki: PkiFixture;
let other: PkiFixture;
let server: RunningServer;
let alice: ReturnType<PkiFixture["issue"]>;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  pki = pkiFixture();
  other = pkiFixture();
  alice = pki.issue("user", "alice");
  const { credentials } = pki.issue("dssm", "one");
  server = await startServer({ name: "dssm", credentials, registrations: [] });
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
});
afterAll(async () => {
  await server.close(0);
  pki.remove();
  other.remove();
  rmSync(folder, { recursive: true, force: true });
});

let count = 0;

/** A profile in a folder of its own, with these members of the file and contents of the files. */
function profile(
  { management, ...file }: Partial<ProfileFile> = {},
  { certificate = alice, trust = alice } = {},
  texts: Partial<Record<"certificate" | "privateKey" | "trustAnchors" | "revocationLists", string>> = {},
): string {
  const at = join(folder, String(++count));
  mkdirSync(at);
  const all = {
    certificate: certificate.chainPem,
    privateKey: certificate.privateKeyPem,
    trustAnchors: trust.caPem,
    revocationLists: trust.crlPem,
    ...texts,
  };
  for (const [name, text] of Object.entries(all)) writeFileSync(join(at, name), text, { mode: 0o600 });
  const contents = {
    management: { endpoint: server.address, identity: "urn:x1410:entity:dssm:one", ...management },
    ...Object.fromEntries(Object.keys(all).map((name) => [name, name])),
    ...file,
  };
  const path = join(at, "profile.json");
  writeFileSync(path, JSON.stringify(contents));
  return path;
}

async function diagnosis(path: string): Promise<string> {
  const cause = new Error("no connection");
  const error = await unreachable(path, await readProfile(path), cause);
  expect(error).toBeInstanceOf(UnreachableError);
  expect(error.cause).toBe(cause);
  return error.message;
}

const identity = "urn:x1410:entity:dssm:one";

test("a server that answers is not said to be away", async () => {
  expect(await diagnosis(profile())).toMatch(/it answers and then drops the connection/);
});

test("nobody there: start it", async () => {
  expect(await diagnosis(profile({ management: { endpoint: "127.0.0.1:1", identity } }))).toMatch(
    /^cannot reach the management at 127\.0\.0\.1:1 \(.*ECONNREFUSED.*\); start it/,
  );
});

test("another entity at that address: named", async () => {
  expect(await diagnosis(profile({ management: { endpoint: server.address, identity: `${identity}-too` } }))).toMatch(
    /is not the one that .* means: the server is urn:x1410:entity:dssm:one, not urn:x1410:entity:dssm:one-too/,
  );
});

test("a server of another network, a user of another network, a revoked user: told apart", async () => {
  const stranger = other.issue("user", "alice");
  expect(await diagnosis(profile({}, { trust: stranger }))).toMatch(/is not trusted \(.*\); trustAnchors/);
  expect(await diagnosis(profile({}, { certificate: stranger }))).toMatch(/refuses the certificate in .*certificate /);
  const revoked = pki.issue("user", "mallory");
  pki.pki.intermediate.revoke(revoked.serialNumber);
  const { credentials } = pki.issue("dssm", "one");
  const informed = await startServer({ name: "dssm", credentials, registrations: [] });
  closers.push(() => informed.close(0));
  const management = { endpoint: informed.address, identity };
  expect(await diagnosis(profile({ management }, { certificate: revoked }))).toMatch(/refuses the certificate .*renew/);
});

test("a certificate that has expired: said without asking anybody", async () => {
  const expired = pki.issue("user", "alice", 1);
  const path = profile({}, { certificate: expired });
  expect(await diagnosis(path)).toMatch(/expired on .*; have the operator renew it/);
});

test("who accepts connections and speaks no TLS: away", async () => {
  const mute = createServer((socket) => socket.end("220 mail\r\n"));
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  closers.push(() => mute.close());
  const { port } = mute.address() as { port: number };
  expect(await diagnosis(profile({ management: { endpoint: `127.0.0.1:${port}`, identity } }))).toMatch(
    /^cannot reach/,
  );
});

test.each([
  ["certificate", "no PEM", /certificate holds no certificate in PEM/],
  ["privateKey", "no PEM", /privateKey holds no private key in PEM/],
  ["trustAnchors", "no PEM", /trustAnchors holds no certificate in PEM/],
  ["revocationLists", "no PEM", /revocationLists holds no revocation list in PEM/],
] as const)("%s with %s in it is named by its file", async (member, text, message) => {
  await expect(readProfile(profile({}, {}, { [member]: text }))).rejects.toThrow(message);
});

test("a key that is another certificate's, a file that is not there, an endpoint without port", async () => {
  const { privateKeyPem } = pki.issue("user", "bob");
  await expect(readProfile(profile({}, {}, { privateKey: privateKeyPem }))).rejects.toThrow(
    /privateKey is not the private key of the certificate in .*certificate/,
  );
  await expect(readProfile(profile({ trustAnchors: "absent.pem" }))).rejects.toThrow(
    /cannot read .*absent\.pem, the trustAnchors of .*profile\.json; correct the path there \(ENOENT\)/,
  );
  const pathless = readProfile(profile({ management: { endpoint: "127.0.0.1", identity } }));
  await expect(pathless).rejects.toThrow(/management\.endpoint of .* is "127\.0\.0\.1"; give host:port/);
  await expect(pathless).rejects.toBeInstanceOf(ProfileError);
});
