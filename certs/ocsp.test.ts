import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Authority } from "./authority.ts";
import { parseCertificate } from "./certificate.ts";
import { block, encodeDer, unsignedInteger } from "./der.ts";
import { IssuanceLog } from "./issuance-log.ts";
import { createPki, type Pki } from "./pki.ts";

const NOW = new Date("2026-03-01T12:00:00.250Z");
let directory: string;
let pki: Pki;
let clock = NOW;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-ocsp-"));
  pki = createPki(directory, { now: () => clock });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const OIDS = { sha1: "1.3.14.3.2.26", sha256: "2.16.840.1.101.3.4.2.1", md5: "1.2.840.113549.2.5" };

function certId(authority: Authority, serialNumber: string, hash: keyof typeof OIDS = "sha256"): pkijs.CertID {
  const issuer = new pkijs.Certificate({ schema: block(authority.certificate.der) });
  const digest = (bytes: Uint8Array) => createHash(hash).update(bytes).digest();
  const key = issuer.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView;
  return new pkijs.CertID({
    hashAlgorithm: new pkijs.AlgorithmIdentifier({ algorithmId: OIDS[hash] }),
    issuerNameHash: new asn1js.OctetString({ valueHex: digest(authority.certificate.subjectDer) }),
    issuerKeyHash: new asn1js.OctetString({ valueHex: digest(key) }),
    serialNumber: unsignedInteger(serialNumber),
  });
}

function requestFor(ids: pkijs.CertID[], nonce?: Uint8Array): Uint8Array {
  const request = new pkijs.OCSPRequest();
  request.tbsRequest.requestList = ids.map((reqCert) => new pkijs.Request({ reqCert }));
  if (nonce !== undefined) {
    const extnValue = new asn1js.OctetString({ valueHex: nonce }).toBER(false);
    request.tbsRequest.requestExtensions = [new pkijs.Extension({ extnID: "1.3.6.1.5.5.7.48.1.2", extnValue })];
  }
  return encodeDer(request.toSchema(true));
}

type Answer = { status: number; basic?: pkijs.BasicOCSPResponse };

function read(der: Uint8Array): Answer {
  const response = new pkijs.OCSPResponse({ schema: block(der) });
  const status = response.responseStatus.valueBlock.valueDec;
  if (response.responseBytes === undefined) return { status };
  const basic = block(new Uint8Array(response.responseBytes.response.valueBlock.valueHexView));
  return { status, basic: new pkijs.BasicOCSPResponse({ schema: basic }) };
}

const tags = ({ basic }: Answer) =>
  basic?.tbsResponseData.responses.map(({ certStatus }) => (certStatus as asn1js.BaseBlock).idBlock.tagNumber);
const [GOOD, REVOKED, UNKNOWN] = [0, 1, 2];

describe("the responder", () => {
  test("tells good, revoked and unknown apart, in one answer", () => {
    const good = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:good" });
    const bad = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:bad" });
    pki.intermediate.revoke(bad.serialNumber, "keyCompromise");
    const ids = [
      certId(pki.intermediate, good.serialNumber),
      certId(pki.intermediate, bad.serialNumber, "sha1"),
      certId(pki.intermediate, "abcdef"),
      certId(pki.root, good.serialNumber),
    ];
    const answer = read(pki.intermediate.ocsp(requestFor(ids)));
    expect(answer.status).toBe(0);
    expect(tags(answer)).toEqual([GOOD, REVOKED, UNKNOWN, UNKNOWN]);
    const md5 = requestFor([certId(pki.intermediate, good.serialNumber, "md5")]);
    expect(tags(read(pki.intermediate.ocsp(md5)))).toEqual([UNKNOWN]);
    expect(answer.basic?.tbsResponseData.producedAt).toEqual(new Date("2026-03-01T12:00:00Z"));
  });

  test("of the root answers about the issuing authority", () => {
    const ids = [certId(pki.root, pki.intermediate.certificate.serialNumber)];
    expect(tags(read(pki.root.ocsp(requestFor(ids))))).toEqual([GOOD]);
  });

  test("signs with a certificate made for nothing else, kept from answer to answer", () => {
    const request = requestFor([certId(pki.intermediate, "01")]);
    const responders = [1, 2].map(() =>
      read(pki.intermediate.ocsp(request)).basic?.certs?.map((it) => encodeDer(it.toSchema())),
    );
    const der = responders[0]?.[0] ?? new Uint8Array();
    expect(responders).toEqual([[der], [der]]);
    const { x509, extensions } = parseCertificate(der);
    expect(x509.keyUsage).toEqual(["1.3.6.1.5.5.7.3.9"]);
    expect(extensions.subjectAltNames).toBeUndefined();
    expect(x509.verify(pki.intermediate.certificate.publicKey)).toBe(true);
  });

  test("echoes a nonce, and sends none unasked", () => {
    const ids = [certId(pki.intermediate, "01")];
    const nonce = randomBytes(16);
    const extensions = read(pki.intermediate.ocsp(requestFor(ids, nonce))).basic?.tbsResponseData.responseExtensions;
    const echoed = block(new Uint8Array(extensions?.[0]?.extnValue.valueBlock.valueHexView ?? []));
    expect(Buffer.from((echoed as asn1js.OctetString).valueBlock.valueHexView)).toEqual(nonce);
    expect(read(pki.intermediate.ocsp(requestFor(ids))).basic?.tbsResponseData.responseExtensions).toBeUndefined();
  });
});

test.each<[string, () => Uint8Array]>([
  ["nothing", () => new Uint8Array()],
  ["no DER", () => Uint8Array.of(1, 2, 3)],
  ["no request in it", () => requestFor([])],
  ["five questions", () => requestFor(Array.from({ length: 5 }, () => certId(pki.intermediate, "01")))],
  ["more than 16 KiB", () => requestFor([certId(pki.intermediate, "ab".repeat(16 * 1024))])],
  ["a nonce of 129 octets", () => requestFor([certId(pki.intermediate, "01")], new Uint8Array(129))],
  ["an empty nonce", () => requestFor([certId(pki.intermediate, "01")], new Uint8Array())],
])("a malformed request (%s) is answered malformedRequest", (_, make) => {
  expect(read(pki.intermediate.ocsp(make()))).toEqual({ status: 1 });
});

test("no damage to a request makes the responder throw", () => {
  const request = requestFor([certId(pki.intermediate, "01")], randomBytes(16));
  for (let index = 0; index < request.length; index++) {
    const damaged = Uint8Array.from(request);
    damaged[index] = (damaged[index] ?? 0) ^ 0xff;
    expect([0, 1]).toContain(read(pki.intermediate.ocsp(damaged)).status);
  }
});

describe("what a request may cost", () => {
  const minutesLater = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000);
  let serials: string[];
  beforeAll(() => {
    serials = [1, 2, 3, 4].map(
      (n) => pki.issueIdentity({ role: "user", identity: `urn:x1410:user:cost-${n}` }).serialNumber,
    );
    pki.intermediate.ocsp(requestFor([certId(pki.intermediate, "01")]));
  });
  afterEach(() => {
    vi.restoreAllMocks();
    clock = NOW;
  });
  const askAll = (nonce?: Uint8Array) =>
    requestFor(
      serials.map((serial) => certId(pki.intermediate, serial)),
      nonce,
    );

  test("is one look at the log and no parse of a certificate, however many are asked about", () => {
    const request = askAll(randomBytes(16));
    const refresh = vi.spyOn(IssuanceLog.prototype, "refresh");
    const parse = vi.spyOn(pkijs.Certificate.prototype, "fromSchema");
    const parseKey = vi.spyOn(pkijs.PublicKeyInfo.prototype, "fromSchema");
    const answer = pki.intermediate.ocsp(request);
    expect([refresh, parse, parseKey].map(({ mock }) => mock.calls.length)).toEqual([1, 0, 0]);
    expect(tags(read(answer))).toEqual([GOOD, GOOD, GOOD, GOOD]);
  });

  test("is no parse at all of a request that is too large or has too many parts", () => {
    const parse = vi.spyOn(pkijs.OCSPRequest.prototype, "fromSchema");
    const many = requestFor(Array.from({ length: 32 }, () => certId(pki.intermediate, "01")));
    expect(read(pki.intermediate.ocsp(many)).status).toBe(1);
    expect(read(pki.intermediate.ocsp(new Uint8Array(16 * 1024 + 1))).status).toBe(1);
    expect(parse).not.toHaveBeenCalled();
    expect(read(pki.intermediate.ocsp(askAll())).status).toBe(0);
    expect(parse).toHaveBeenCalledOnce();
  });

  test("is no second signature for the same question, for half an hour and until somebody is revoked", () => {
    // Every ECDSA signature is another: identical bytes were signed once.
    const request = askAll();
    const first = pki.intermediate.ocsp(request);
    const sealed = vi.spyOn(pkijs.ResponseData.prototype, "toSchema");
    clock = minutesLater(29);
    expect(pki.intermediate.ocsp(request)).toBe(first);
    expect(sealed).not.toHaveBeenCalled();
    clock = minutesLater(31);
    const second = pki.intermediate.ocsp(request);
    expect(read(second).basic?.tbsResponseData.producedAt).toEqual(new Date("2026-03-01T12:31:00Z"));
    expect(pki.intermediate.ocsp(request)).toBe(second);
    clock = minutesLater(30);
    expect(pki.intermediate.ocsp(request)).not.toBe(second);
    pki.intermediate.revoke(serials[3] ?? "");
    expect(tags(read(pki.intermediate.ocsp(request)))).toEqual([GOOD, GOOD, GOOD, REVOKED]);
  });

  test("is a signature where a nonce asks for a fresh answer, and nothing is kept of it, nor of unknown serial numbers", () => {
    for (const request of [askAll(new Uint8Array(16)), requestFor([certId(pki.intermediate, "02")])]) {
      expect(pki.intermediate.ocsp(request)).not.toEqual(pki.intermediate.ocsp(request));
    }
  });
});
