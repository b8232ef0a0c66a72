import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildCertificationRequest } from "./certification-request.ts";
import { certsCommand } from "./cli.ts";
import { generateKeyPair } from "./key-pair.ts";
import { createPki } from "./pki.ts";

let directory: string;
let pki: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-certs-"));
  pki = join(directory, "pki");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

type Outcome = { out: string; err: string; code: string };

/** Runs `x1410 certs <verb> --dir <pki> …` inside this process. */
function certs(verb: string, ...args: string[]): Outcome {
  const outcome: Outcome = { out: "", err: "", code: "done" };
  const certsOnly = certsCommand();
  for (const command of [certsOnly, ...certsOnly.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => {
        outcome.out += text;
      },
      writeErr: (text) => {
        outcome.err += text;
      },
    });
  }
  try {
    new Command("x1410").addCommand(certsOnly).parse(["certs", verb, "--dir", pki, ...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    outcome.code = error.code;
    expect(error.exitCode).toBe(1);
  }
  return outcome;
}

const issue = (...args: string[]) => certs("issue", "--out", join(directory, "out"), ...args);

describe("x1410 certs", () => {
  test("init, issue, show, revoke, crl: one after the other", () => {
    expect(certs("init", "--organization", "Example").out).toContain(join(pki, "root", "certificate.pem"));
    const issued = issue("--role", "kss", "--name", "one", "--host", "kss.example", "10.0.0.9", "--days", "30");
    expect(issued.out).toContain("urn:x1410:entity:kss:one");
    expect(statSync(join(directory, "out", "key.pem")).mode & 0o777).toBe(0o600);
    const [authority, server] = certs("show", "--json")
      .out.trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(authority.profile).toBe("authority");
    expect(server.identity).toBe("urn:x1410:entity:kss:one");
    expect(certs("show", server.serialNumber).out).toContain("good  urn:x1410:entity:kss:one");
    expect(certs("revoke", server.fingerprint, "--reason", "superseded").out).toContain(
      `revoked ${server.serialNumber}`,
    );
    expect(certs("show", server.serialNumber).out).toContain("revoked (superseded)");
    const list = join(directory, "lists.pem");
    certs("crl", "--out", list);
    expect(readFileSync(list, "utf8").match(/BEGIN X509 CRL/g)).toHaveLength(2);
    expect(certs("crl").out.trim()).toBe(readFileSync(list, "utf8").trim());
    expect(createPki(pki).intermediate.crl().revokedAt(server.serialNumber)).toBeDefined();
  });

  test("revokes every certificate of an identity, renewals included", () => {
    certs("init");
    const { intermediate } = createPki(pki);
    const identity = "urn:x1410:user:alice";
    const serials = [1, 2].map(() => createPki(pki).issueIdentity({ role: "user", identity }).serialNumber);
    const other = createPki(pki).issueIdentity({ role: "user", identity: `${identity}a` });
    const { out } = certs("revoke", "--identity", identity, "--reason", "keyCompromise");
    expect(out.match(/revoked \S+ at/g)).toEqual(serials.map((serial) => `revoked ${serial} at`));
    expect(serials.map((serial) => intermediate.find(serial)?.revocation?.reason)).toEqual([
      "keyCompromise",
      "keyCompromise",
    ]);
    expect(intermediate.find(other.serialNumber)?.revocation).toBeUndefined();
    expect(intermediate.crl().size).toBe(2);
  });

  test("the root revokes the issuing authority", () => {
    certs("init");
    const serialNumber = createPki(pki).intermediate.certificate.serialNumber;
    expect(certs("revoke", serialNumber, "--reason", "cACompromise").out).toContain(join("root", "crl.pem"));
  });

  test("issues from a request, and then writes no key", () => {
    certs("init");
    const request = join(directory, "alice.csr");
    const { privateKey } = generateKeyPair("ed25519");
    writeFileSync(request, buildCertificationRequest({ subject: { commonName: "alice" }, privateKey }));
    expect(issue("--role", "user", "--name", "alice", "--csr", request).code).toBe("done");
    expect(() => statSync(join(directory, "out", "key.pem"))).toThrow("ENOENT");
    expect(readFileSync(join(directory, "out", "chain.pem"), "utf8").match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  test("never prints a private key", () => {
    certs("init");
    const { out, err } = issue("--role", "user", "--name", "alice");
    expect(out + err).not.toContain("PRIVATE");
  });
});

describe("what cannot be done is one line that says why, and exit code 1", () => {
  test("no PKI yet", () => {
    expectRefusal(certs("show"), "x1410.no_pki");
  });

  test("a key in the way", () => {
    certs("init");
    issue("--role", "user", "--name", "a");
    expectRefusal(issue("--role", "user", "--name", "b"), "x1410.would_overwrite");
  });

  test("damage", () => {
    certs("init");
    writeFileSync(join(pki, "root", "key.pem"), "");
    expectRefusal(certs("show"), "x1410.corrupt_store");
  });

  test.each<[string, () => Outcome, string]>([
    ["init twice", () => certs("init"), "x1410.would_overwrite"],
    ["a bad name", () => issue("--role", "user", "--name", "a/b"), "x1410.invalid_identity"],
    ["a wildcard", () => issue("--role", "kss", "--name", "a", "--host", "*.a"), "x1410.wildcard_subject_alt_name"],
    ["no such request", () => issue("--role", "user", "--name", "a", "--csr", "/nowhere"), "x1410.storage_failed"],
    ["no such certificate", () => certs("revoke", "abcd"), "x1410.unknown_certificate"],
    ["no certificate and no identity", () => certs("revoke"), "x1410.nothing_selected"],
    ["both of them", () => certs("revoke", "abcd", "--identity", "urn:x1410:user:a"), "x1410.nothing_selected"],
    ["an identity that has none", () => certs("revoke", "--identity", "urn:x1410:user:a"), "x1410.unknown_certificate"],
    ["no such reason", () => certs("revoke", "abcd", "--reason", "mood"), "commander.invalidArgument"],
    ["no such role", () => issue("--role", "hsm", "--name", "a"), "commander.invalidArgument"],
    ["no day at all", () => issue("--role", "user", "--name", "a", "--days", "0"), "commander.invalidArgument"],
  ])("%s", (_, run, code) => {
    certs("init");
    expectRefusal(run(), code);
  });

  function expectRefusal({ err, code: got }: Outcome, code: string): void {
    expect(got).toBe(code);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(err).not.toContain("    at ");
  }
});
