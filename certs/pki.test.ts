import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type TLSSocket, connect as tlsConnect } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pemBlocks } from "./der.ts";
import { identityOf } from "./identity.ts";
import { createPki, type IdentityMaterial } from "./pki.ts";

const DAY = 24 * 3_600_000;
const KSS = { role: "kss", identity: "urn:x1410:entity:kss:one" } as const;
const ALICE = { role: "user", identity: "urn:x1410:user:alice" } as const;

let directory: string;
let clock: Date;
const now = () => clock;
const later = (ms: number) => {
  clock = new Date(clock.getTime() + ms);
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-pki-"));
  clock = new Date();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const refusal = (code: string) => expect.objectContaining({ name: "PkiError", code });

describe("a PKI directory", () => {
  test("is created at first use and opened afterwards", () => {
    const first = createPki(directory, { now });
    const material = first.issueIdentity(ALICE);
    const again = createPki(directory, { now });
    expect(again.caPem).toBe(first.caPem);
    expect(again.intermediate.find(material.fingerprint)?.identity).toBe(ALICE.identity);
    const leaf = new X509Certificate(material.certificatePem);
    expect(again.verifier({ requiredEku: "clientAuth" }).verify(leaf.raw).identity).toBe(ALICE.identity);
  });

  test("shows keys to their owner only, and leaves no temporary files", () => {
    const { files } = createPki(join(directory, "pki"), { now }).ensureIdentity(KSS);
    const paths = readdirSync(directory, { recursive: true, withFileTypes: true });
    for (const entry of paths) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isDirectory()) expect(statSync(path).mode & 0o777, path).toBe(0o700);
      if (entry.name.includes("key")) expect(statSync(path).mode & 0o777, path).toBe(0o600);
      else if (entry.isFile()) expect(readFileSync(path, "utf8"), path).not.toContain("PRIVATE KEY");
      expect(entry.name).not.toContain("tmp");
    }
    expect(createPrivateKey(readFileSync(files.privateKey)).asymmetricKeyType).toBe("ec");
  });

  test("remembers where lists and responders are published", () => {
    createPki(directory, { now, publicationUri: "http://ca.example/pki/" });
    const { certificatePem } = createPki(directory, { now }).issueIdentity(ALICE);
    const leaf = new X509Certificate(certificatePem);
    expect(leaf.infoAccess).toBe("OCSP - URI:http://ca.example/pki/ocsp/intermediate");
    expect(leaf.toString()).toBeTruthy();
    expect(Buffer.from(leaf.raw).includes("http://ca.example/pki/intermediate.crl")).toBe(true);
    // Published elsewhere from now on, for other processes on the directory too.
    createPki(directory, { now, publicationUri: "http://other.example" });
    const later = new X509Certificate(createPki(directory, { now }).issueIdentity(ALICE).certificatePem);
    expect(later.infoAccess).toBe("OCSP - URI:http://other.example/ocsp/intermediate");
  });

  test.each<[string, (pki: string) => void]>([
    ["a missing key", (pki) => rmSync(join(pki, "root", "key.pem"))],
    ["a missing log", (pki) => rmSync(join(pki, "intermediate", "issued.jsonl"))],
    ["a cut certificate", (pki) => writeFileSync(join(pki, "root", "certificate.pem"), "-----BEGIN")],
    [
      "another key",
      (pki) => writeFileSync(join(pki, "root", "key.pem"), readFileSync(join(pki, "intermediate", "key.pem"))),
    ],
    ["broken settings", (pki) => writeFileSync(join(pki, "pki.json"), "{")],
    ["a new root under old authority", (pki) => rmSync(join(pki, "root"), { recursive: true })],
  ])("with %s says that it is damaged, and creates nothing over it", (_, harm) => {
    createPki(directory, { now });
    harm(directory);
    const before = readdirSync(join(directory, "intermediate"));
    expect(() => createPki(directory, { now })).toThrow(refusal("corrupt_store"));
    expect(readdirSync(join(directory, "intermediate"))).toEqual(before);
  });

  test("an empty directory made beforehand is no obstacle, an unreadable one is an error", () => {
    mkdirSync(join(directory, "root"));
    expect(createPki(directory, { now }).caPem).toContain("BEGIN CERTIFICATE");
    writeFileSync(join(directory, "file"), "");
    expect(() => createPki(join(directory, "file", "below"), { now })).toThrow(refusal("storage_failed"));
  });
});

describe("kept identities", () => {
  test("stay the same from start to start", () => {
    const first = createPki(directory, { now }).ensureIdentity(KSS);
    const second = createPki(directory, { now }).ensureIdentity(KSS);
    expect(second.certificatePem).toBe(first.certificatePem);
    expect(second.privateKeyPem).toBe(first.privateKeyPem);
    expect(readFileSync(first.files.chain, "utf8")).toBe(first.chainPem);
  });

  test.each<[string, (directory: string, material: IdentityMaterial) => void, string[]]>([
    ["revoked", (pki, { serialNumber }) => void createPki(pki, { now }).intermediate.revoke(serialNumber), []],
    ["near its end", () => later(70 * DAY), []],
    ["for other names", () => undefined, ["kss.example"]],
    ["without its key", (pki) => rmSync(join(pki, "identities", "kss-one", "key.pem")), []],
  ])("are issued anew when %s", (_, change, dnsNames) => {
    const first = createPki(directory, { now }).ensureIdentity(KSS);
    change(directory, first);
    const second = createPki(directory, { now }).ensureIdentity({ ...KSS, dnsNames });
    expect(second.serialNumber).not.toBe(first.serialNumber);
    expect(second.identity).toBe(first.identity);
  });
});

describe("damage to an identity", () => {
  test.each(["key.pem", "certificate.pem"])("in %s is told, and the file left as it is", (file) => {
    const path = join(directory, "identities", "kss-one", file);
    createPki(directory, { now }).ensureIdentity(KSS);
    writeFileSync(path, "x");
    expect(() => createPki(directory, { now }).ensureIdentity(KSS)).toThrow(refusal("corrupt_store"));
    expect(readFileSync(path, "utf8")).toBe("x");
  });

  test("in a copy of what the authorities keep is mended", () => {
    const { files, chainPem, caPem } = createPki(directory, { now }).ensureIdentity(KSS);
    for (const file of [files.chain, files.ca, files.crl]) writeFileSync(file, "x");
    createPki(directory, { now }).ensureIdentity(KSS);
    expect(readFileSync(files.chain, "utf8")).toBe(chainPem);
    expect(readFileSync(files.ca, "utf8")).toBe(caPem);
    expect(readFileSync(files.crl, "utf8")).toContain("BEGIN X509 CRL");
  });

  test.each([0, 1])("is told where the authority's log has lost all but %i of its lines", (kept) => {
    createPki(directory, { now }).ensureIdentity(KSS);
    const log = join(directory, "intermediate", "issued.jsonl");
    const lines = readFileSync(log, "utf8").split("\n").slice(0, kept);
    writeFileSync(log, lines.map((line) => `${line}\n`).join(""));
    expect(() => createPki(directory, { now }).ensureIdentity(KSS)).toThrow(refusal("corrupt_store"));
  });
});

describe("a renewed identity", () => {
  test("keeps its key, by which others know it, and loses it when it was revoked", () => {
    const first = createPki(directory, { now }).ensureIdentity(KSS);
    later(70 * DAY);
    const renewed = createPki(directory, { now }).ensureIdentity(KSS);
    expect(renewed.serialNumber).not.toBe(first.serialNumber);
    expect(renewed.privateKeyPem).toBe(first.privateKeyPem);
    createPki(directory, { now }).intermediate.revoke(renewed.serialNumber, "keyCompromise");
    expect(createPki(directory, { now }).ensureIdentity(KSS).privateKeyPem).not.toBe(first.privateKeyPem);
  });
});

describe("TLS takes what the PKI makes", () => {
  async function handshake(
    server: IdentityMaterial,
    client: IdentityMaterial,
    crl: string[],
  ): Promise<string | undefined> {
    const listener = createServer({
      key: server.privateKeyPem,
      cert: server.chainPem,
      ca: server.caPem,
      crl,
      requestCert: true,
      // Node would close a refused connection without saying why.
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const outcome = new Promise<string | undefined>((resolve, reject) => {
      listener.on("secureConnection", (socket: TLSSocket) => {
        const peer = socket.getPeerX509Certificate();
        resolve(socket.authorized ? peer && identityOf(peer) : String(socket.authorizationError));
        socket.end();
      });
      listener.on("tlsClientError", reject);
    });
    const socket = tlsConnect({
      host: "127.0.0.1",
      port: (listener.address() as AddressInfo).port,
      key: client.privateKeyPem,
      cert: client.chainPem,
      ca: client.caPem,
      crl,
    });
    socket.on("error", () => undefined);
    socket.resume();
    try {
      return await outcome;
    } finally {
      socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    }
  }

  test("mutually, with lists at every level; a revoked client is refused", async () => {
    const pki = createPki(directory);
    const kss = pki.issueIdentity(KSS);
    const alice = pki.issueIdentity(ALICE);
    const bob = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:bob", keyAlgorithm: "ed25519" });
    await expect(handshake(kss, alice, pki.crlPems)).resolves.toBe(ALICE.identity);
    await expect(handshake(kss, bob, pki.crlPems)).resolves.toBe("urn:x1410:user:bob");
    pki.intermediate.revoke(alice.serialNumber, "keyCompromise");
    await expect(handshake(kss, alice, pki.crlPems)).resolves.toBe("CERT_REVOKED");
    await expect(handshake(kss, bob, pemBlocks("X509 CRL", pki.crlPem))).resolves.toBe("urn:x1410:user:bob");
  });
});
