import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromPem } from "../../certs/der.ts";
import { parsePrivateKey } from "../../certs/key-pair.ts";
import { createPki, type Pki } from "../../certs/pki.ts";
import { verifyCommand } from "../commands/verify.ts";
import { proformaText } from "../pics.ts";
import type { Report } from "../report/report.ts";
import { reportJson } from "../report/report-json.ts";
import { parseXml } from "../report/strict-xml.fixture.ts";
import { profile, recommendation } from "../suite.ts";
import { badgeSvg } from "./badge.ts";
import { implementation, smallReport, smallSuite } from "./evidence.fixture.ts";
import { sealName, signEvidence, VerifiedEvidence, verifyEvidence } from "./evidence.ts";
import type { SealingIdentity } from "./signed-data.ts";

let folder: string;
let pki: Pki;
let laboratory: SealingIdentity;
const sealedAt = new Date("2026-03-02T12:00:00Z");
const now = () => sealedAt;

function identity(keyAlgorithm: "p256" | "rsa3072"): SealingIdentity {
  const request = { role: "user", identity: "urn:x1410:user:laboratory", keyAlgorithm } as const;
  const { privateKeyPem, chainPem } = pki.issueIdentity(request);
  return { privateKey: parsePrivateKey(privateKeyPem), chain: fromPem("CERTIFICATE", chainPem) };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-evidence-"));
  pki = createPki(join(folder, "pki"), { now });
  laboratory = identity("p256");
});
afterAll(() => rm(folder, { recursive: true }));

async function written(report: Report): Promise<{ report: string; pics: string[] }> {
  const place = await mkdtemp(join(folder, "run-"));
  const pics = join(place, "kss.yaml");
  const text = proformaText("kss", recommendation, profile).replaceAll('"?"', "yes");
  await writeFile(pics, text.replace('implementation: ""', `implementation: "${implementation}"`));
  await writeFile(join(place, "run.json"), reportJson(report));
  return { report: join(place, "run.json"), pics: [pics] };
}

async function signed(report = smallReport(), signer = laboratory): Promise<string> {
  const out = await mkdtemp(join(folder, "evidence-"));
  await signEvidence({ ...(await written(report)), identity: signer, out, now, purposes: smallSuite });
  return out;
}

const verified = (evidence: string, trust = pki.caPem) =>
  verifyEvidence({ folder: evidence, trustAnchorsPem: trust, now, purposes: smallSuite });

test("what was signed is verified, with its signer and time", async () => {
  const evidence = await verified(await signed());
  expect(evidence.signer).toBe("urn:x1410:user:laboratory");
  expect(evidence.signedAt).toEqual(sealedAt);
  expect(evidence.report.conformance).toBe("conformant");
});

// Not Ed25519: OpenSSL 3.0 hands its verification a digest, which it then refuses.
test.each(["p256", "rsa3072"] as const)(
  "openssl accepts a seal by %s, and its content is the manifest",
  async (algorithm) => {
    const out = await signed(smallReport(), identity(algorithm));
    await verified(out);
    const ca = join(folder, "ca.pem");
    await writeFile(ca, pki.caPem);
    const at = `${sealedAt.getTime() / 1000 + 60}`;
    const args = [
      "cms",
      "-verify",
      "-binary",
      "-inform",
      "DER",
      "-in",
      join(out, sealName),
      "-CAfile",
      ca,
      "-purpose",
      "any",
      "-attime",
      at,
    ];
    const manifest = execFileSync("openssl", args, { stdio: "pipe" }).toString();
    expect(JSON.parse(manifest)).toMatchObject({
      format: "x1410-conformance-evidence/1",
      conformance: "conformant",
      certificates: [{ role: "kss", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }],
      parts: [{ name: "report.json" }, { name: "pics-kss.yaml" }],
    });
  },
);

test("one bit flipped in the seal fails", async () => {
  const out = await signed();
  const place = join(out, sealName);
  const good = await readFile(place);
  for (let at = 0; at < good.length; at += 211) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
    await writeFile(place, bad);
    await expect(verified(out), `byte ${at}`).rejects.toMatchObject({
      name: "EvidenceError",
      code: expect.stringMatching(/^(seal_|signer_)/),
    });
  }
});

test("one bit flipped in any part fails", async () => {
  const out = await signed();
  for (const name of (await readdir(out)).filter((one) => one !== sealName)) {
    const place = join(out, name);
    const good = await readFile(place);
    for (const at of [0, good.length >> 2, good.length >> 1, good.length - 1]) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 1;
      await writeFile(place, bad);
      await expect(verified(out), `${name} ${at}`).rejects.toMatchObject({ code: "part_altered" });
    }
    await rm(place);
    await expect(verified(out), name).rejects.toMatchObject({ code: "part_missing" });
    await writeFile(place, good);
  }
  await verified(out);
});

test("a seal of other evidence does not serve", async () => {
  const [one, other] = [await signed(), await signed(smallReport("FAIL"))];
  await cp(join(other, sealName), join(one, sealName));
  await expect(verified(one)).rejects.toMatchObject({ code: "part_altered" });
});

test("a signer of another authority is not trusted, nor a revoked one where lists are given", async () => {
  const out = await signed();
  const stranger = createPki(join(folder, "stranger"), { now });
  await expect(verified(out, stranger.caPem)).rejects.toMatchObject({ code: "signer_untrusted" });
  const options = { folder: out, trustAnchorsPem: pki.caPem, now, purposes: smallSuite };
  const list = { revocationListsPem: pki.crlPem };
  await expect(verifyEvidence({ ...options, ...list })).resolves.toBeInstanceOf(VerifiedEvidence);
  await expect(verifyEvidence({ ...options, revocationListsPem: "" })).rejects.toMatchObject({
    code: "signer_untrusted",
  });
});

test("a file of authorities without a certificate is a fault of the command, no word on the evidence", async () => {
  const trust = join(folder, "no-authorities.pem");
  await writeFile(trust, "nothing\n");
  // Rejected: the command line exits with 3 then; what is not believed sets 1.
  const run = verifyCommand().parseAsync([await signed(), "--trust", trust], { from: "user" });
  await expect(run).rejects.toThrow(`no certificate in ${trust}`);
});

test("a seal older than its run, or from the future, is refused", async () => {
  const later = { ...smallReport(), run: { ...smallReport().run, startedAt: "2026-03-02T13:00:00.000Z" } };
  await expect(signed(later).then((out) => verified(out))).rejects.toMatchObject({ code: "time_implausible" });
  const out = await signed();
  const early = () => new Date("2026-03-02T11:00:00Z");
  const options = { folder: out, trustAnchorsPem: pki.caPem, now: early, purposes: smallSuite };
  await expect(verifyEvidence(options)).rejects.toMatchObject({ code: "time_implausible" });
});

describe("a report that does not follow from its results is not sealed", () => {
  const good = smallReport();
  const failed = smallReport("FAIL");
  const [first, second] = good.results;
  test.each<[string, Report, string]>([
    [
      "a failure called conformant",
      { ...failed, verdict: "PASS", conformance: "conformant", reasons: [], exitCode: 0 },
      "report_inconsistent",
    ],
    ["a purpose left out", { ...good, results: first === undefined ? [] : [first] }, "report_inconsistent"],
    [
      "a purpose twice",
      { ...good, results: [...good.results, ...(second === undefined ? [] : [second])] },
      "report_inconsistent",
    ],
    [
      "a purpose called not applicable",
      {
        ...good,
        results: good.results.slice(0, 1),
        notApplicable: [...good.notApplicable, { id: second?.id ?? "", reason: "" }],
      },
      "report_inconsistent",
    ],
    [
      "another expectation",
      { ...good, results: good.results.map((one) => ({ ...one, expected: "anything" })) },
      "report_inconsistent",
    ],
    [
      "a claim withdrawn",
      { ...good, statements: good.statements.map((one) => ({ ...one, supported: one.supported.slice(1) })) },
      "statement_mismatch",
    ],
    ["another suite", { ...good, suite: { ...good.suite, hash: "0".repeat(64) } }, "other_suite"],
    ["an untested claim", { ...good, untested: ["KSM1"] }, "report_inconsistent"],
    ["a member too many", { ...good, colour: "green" } as Report, "report_invalid"],
  ])("%s", async (_, report, code) => {
    await expect(signed(report)).rejects.toMatchObject({ name: "EvidenceError", code });
  });
});

test("a statement of another implementation is not sealed with it", async () => {
  const other = smallReport();
  const statements = other.statements.map((one) => ({ ...one, implementation: "another" }));
  await expect(signed({ ...other, statements })).rejects.toMatchObject({ code: "statement_mismatch" });
});

test("a badge is well-formed SVG that names what was tested, and only from conformant evidence", async () => {
  const root = parseXml(`<?xml version="1.0" encoding="UTF-8"?>\n${badgeSvg(await verified(await signed()))}`);
  expect(root.attributes["aria-label"]).toMatch(
    /^sample: KSS conformant to ITU-T X\.1410.* by urn:x1410:user:laboratory; seal SHA-256 [0-9a-f]{64}$/,
  );
  const failed = await verified(await signed(smallReport("FAIL")));
  expect(() => badgeSvg(failed)).toThrow(expect.objectContaining({ code: "not_conformant" }));
  const pretended = { report: smallReport(), signer: "", signedAt: sealedAt, sha256: "" } as VerifiedEvidence;
  expect(() => badgeSvg(pretended)).toThrow(expect.objectContaining({ code: "not_conformant" }));
});

test("nothing is written where nothing is sealed", async () => {
  const out = join(folder, "never");
  const options = { ...(await written({ ...smallReport(), untested: ["KSM1"] })), identity: laboratory, out, now };
  await expect(signEvidence({ ...options, purposes: smallSuite })).rejects.toThrow();
  expect(existsSync(out)).toBe(false);
});
