import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Authority } from "../../certs/authority.ts";
import { createPki, type IdentityMaterial, type Pki } from "../../certs/pki.ts";
import { RevocationList } from "../../certs/revocation-list.ts";
import { AddressRate } from "./address-rate.ts";
import { type Publication, startPublication } from "./publication.ts";

const openssl = (...args: string[]) => promisify(execFile)("openssl", args, { cwd: directory });

let directory: string;
let pki: Pki;
let publication: Publication;
let alice: IdentityMaterial;
let monotonic: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "x1410-publication-"));
  pki = createPki(join(directory, "pki"));
  monotonic = 0;
  publication = await startPublication({ pki, host: "127.0.0.1", port: 0, monotonic: () => monotonic });
  // As a deployment on a fixed port would have it from the start.
  pki = createPki(join(directory, "pki"), { publicationUri: `http://${publication.address}` });
  alice = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:alice" });
  writeFileSync(join(directory, "alice.pem"), alice.certificatePem);
  writeFileSync(join(directory, "issuer.pem"), pki.intermediate.pem);
  writeFileSync(join(directory, "root.pem"), pki.caPem);
});
afterEach(async () => {
  await publication.close();
  rmSync(directory, { recursive: true, force: true });
});

const at = (path: string) => `http://${publication.address}${path}`;

describe("OCSP (RFC 6960)", () => {
  const ask = (...more: string[]) =>
    openssl(
      ...["ocsp", "-issuer", "issuer.pem", "-cert", "alice.pem", "-CAfile", "root.pem", "-verify_other", "issuer.pem"],
      ...more,
    );

  test("answers openssl at the address that the certificate names", async () => {
    const [, address = ""] = /OCSP - URI:(\S+)/.exec(new X509Certificate(alice.certificatePem).infoAccess ?? "") ?? [];
    expect(address).toBe(at("/ocsp/intermediate"));
    const good = await ask("-url", address);
    expect(good.stdout).toContain("alice.pem: good");
    expect(good.stderr).toContain("Response verify OK");
    pki.intermediate.revoke(alice.serialNumber, "keyCompromise");
    const revoked = await ask("-url", address);
    expect(revoked.stdout).toContain("alice.pem: revoked");
    expect(revoked.stdout).toContain("Reason: keyCompromise");
    expect(revoked.stderr).toContain("Response verify OK");
  });

  test("answers for the issuing authority at the root's responder, and for strangers unknown", async () => {
    const root = await openssl(
      ...["ocsp", "-issuer", "root.pem", "-cert", "issuer.pem", "-CAfile", "root.pem", "-url", at("/ocsp/root")],
    );
    expect(root.stdout).toContain("issuer.pem: good");
    const strange = await openssl(
      ...["ocsp", "-issuer", "issuer.pem", "-serial", "0x1234", "-CAfile", "root.pem", "-verify_other", "issuer.pem"],
      ...["-url", at("/ocsp/intermediate")],
    );
    expect(strange.stdout).toContain("0x1234: unknown");
    await expect(ask("-url", at("/ocsp/root"))).rejects.toThrow("Response Verify Failure");
  });

  test("takes GET as well", async () => {
    await ask("-reqout", "request.der", "-no_nonce");
    const { stdout: encoded } = await openssl("base64", "-A", "-in", "request.der");
    const answer = await fetch(at(`/ocsp/intermediate/${encodeURIComponent(encoded)}`));
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/ocsp-response"]);
    writeFileSync(join(directory, "answer.der"), Buffer.from(await answer.arrayBuffer()));
    expect((await ask("-respin", "answer.der", "-no_nonce")).stdout).toContain("alice.pem: good");
    // Slashes of base64 may come as they are.
    expect((await fetch(at(`/ocsp/intermediate/${encoded}`))).status).toBe(200);
  });

  test("answers a malformed request as one, and refuses what is none", async () => {
    const post = (body: Uint8Array<ArrayBuffer>, type = "application/ocsp-request") =>
      fetch(at("/ocsp/intermediate"), { method: "POST", body, headers: { "content-type": type } });
    // OCSPResponse { responseStatus malformedRequest }
    const malformed = Buffer.from("30030a0101", "hex");
    expect(Buffer.from(await (await post(new Uint8Array([1, 2, 3]))).arrayBuffer())).toEqual(malformed);
    expect(Buffer.from(await (await fetch(at("/ocsp/intermediate/%25%"))).arrayBuffer())).toEqual(malformed);
    expect((await post(new Uint8Array(), "text/plain")).status).toBe(415);
    expect((await fetch(at("/ocsp/intermediate"))).status).toBe(405);
    expect((await fetch(at("/ocsp/other/AA=="))).status).toBe(404);
    expect((await fetch(at("/intermediate.crl"), { method: "POST" })).status).toBe(405);
    expect((await fetch(at("/../pki/root/key.pem"))).status).toBe(404);
    const tooLong = await post(new Uint8Array(17 * 1024));
    expect(tooLong.status).toBe(413);
    expect((await ask("-url", at("/ocsp/intermediate"))).stdout).toContain("good");
  });
});

test("an address that asks too often is put off, before anything is parsed", async () => {
  const counted = vi.spyOn(AddressRate.prototype, "admits");
  const parse = vi.spyOn(Authority.prototype, "ocsp");
  const ask = async (path: string) => {
    const { status, headers } = await fetch(at(path));
    return [status, headers.get("retry-after")];
  };
  for (let count = 0; count < 20; count++) expect(await ask("/ocsp/intermediate/AA==")).toEqual([200, null]);
  expect(await ask("/ocsp/intermediate/AA==")).toEqual([429, "1"]);
  expect(await ask("/ocsp/root/AA==")).toEqual([429, "1"]);
  expect(parse).toHaveBeenCalledTimes(20);
  expect(counted.mock.calls).toEqual(new Array(22).fill(["127.0.0.1"]));
  vi.restoreAllMocks();
  // What is made once for all costs nothing.
  expect(await ask("/intermediate.crl")).toEqual([200, null]);
  monotonic = 1000;
  expect(await ask("/ocsp/intermediate/AA==")).toEqual([200, null]);
});

describe("revocation lists (RFC 5280)", () => {
  test("of both authorities, as new as the last revocation", async () => {
    const list = async (name: string) => {
      const answer = await fetch(at(`/${name}.crl`));
      expect(answer.headers.get("content-type")).toBe("application/pkix-crl");
      return new RevocationList(new Uint8Array(await answer.arrayBuffer()));
    };
    expect((await list("root")).verifiedBy(pki.root.certificate)).toBe(true);
    expect((await list("intermediate")).revokedAt(alice.serialNumber)).toBeUndefined();
    pki.intermediate.revoke(alice.serialNumber);
    const current = await list("intermediate");
    expect(current.verifiedBy(pki.intermediate.certificate)).toBe(true);
    expect(current.revokedAt(alice.serialNumber)).toBeInstanceOf(Date);
  });

  test("are found by openssl at the distribution points of the certificate", async () => {
    writeFileSync(join(directory, "chain.pem"), pki.intermediate.pem);
    // The root's own certificate of the authority was issued before the publication: its list comes from a file.
    writeFileSync(join(directory, "root.crl.pem"), pki.root.crlPem);
    const verify = () =>
      openssl(
        ...["verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "-CRLfile", "root.crl.pem"],
        ...["-crl_check", "-crl_download", "alice.pem"],
      );
    expect((await verify()).stdout).toContain("alice.pem: OK");
    pki.intermediate.revoke(alice.serialNumber);
    await expect(verify()).rejects.toThrow("certificate revoked");
  });
});

test("a body that never comes holds nothing when the publication closes", async () => {
  const stalled = request(at("/ocsp/intermediate"), {
    method: "POST",
    headers: { "content-type": "application/ocsp-request", "content-length": 100 },
  });
  const ended = new Promise((resolve) => stalled.once("error", resolve));
  await new Promise<void>((resolve) => stalled.write(new Uint8Array(1), () => resolve()));
  const [host = "", port] = publication.address.split(":");
  const silent = connect(Number(port), host);
  await new Promise((resolve) => silent.once("connect", resolve));
  const cut = new Promise((resolve) => silent.once("close", resolve));
  await publication.close();
  await Promise.all([ended, cut]);
  publication = await startPublication({ pki, host: "127.0.0.1", port: 0 });
});

test("a port in use is said clearly", async () => {
  const port = Number(publication.address.split(":")[1]);
  await expect(startPublication({ pki, host: "127.0.0.1", port })).rejects.toThrow(
    `127.0.0.1:${port} is in use by another process: choose another port with --base-port`,
  );
});
