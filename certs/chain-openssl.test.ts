import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CertificateSpec, parseCertificate } from "./certificate.ts";
import {
  AT,
  authority,
  listOf,
  type Member,
  make,
  resigned,
  revocationOf,
  SIGNER,
  withOctets,
} from "./chain.fixture.ts";
import { verifyCertificateChain } from "./chain.ts";
import { toPem } from "./der.ts";
import { PkiError, type PkiErrorCode } from "./pki-error.ts";
import type { RevocationList } from "./revocation-list.ts";

/** Chains that our verifier and that of OpenSSL judge; where they do not agree, it is on purpose and stands here. */
const present = spawnSync("openssl", ["version"]).status === 0;
const title = present ? "openssl judges" : "NOT RUN, for there is no openssl command here: openssl judges";

type Faults = {
  root?: Partial<CertificateSpec>;
  issuing?: Partial<CertificateSpec>;
  leaf?: Partial<CertificateSpec>;
  /** Of the issuing authority; null for none. */
  list?: Parameters<typeof listOf>[2] | null;
  revoked?: "leaf" | "issuing";
  /** Changes the signed leaf; signed again. */
  damaged?: [from: string, to: string];
};
type Row = [name: string, faults: Faults, code: PkiErrorCode];

const other = (oid: string, hex: string, critical = false): Partial<CertificateSpec> => ({
  otherExtensions: [{ oid, critical, value: Buffer.from(hex, "hex") }],
});
const after = (seconds: number) => new Date(AT.getTime() + seconds * 1000);
const nameConstraints = "2.5.29.30";
const distributionPoints = "2.5.29.31";
const netscapeCertType = "2.16.840.1.113730.1.1";
const proxyCertInfo = "1.3.6.1.5.5.7.1.14";
const proxy = "300c300a06082b06010505071501";
/** permittedSubtrees of one URI, ".example", and of one DNS name, "x1.example". */
const urisOfExample = "300ea00c300a86082e6578616d706c65";
const hostsOfExample = "3010a00e300c820a78312e6578616d706c65";
const none = "0500";

const alike: Row[] = [
  ["an expired leaf", { leaf: { notAfter: after(-1) } }, "expired"],
  ["an expired issuing authority", { issuing: { notAfter: after(-1) } }, "expired"],
  ["a leaf of the day after", { leaf: { notBefore: after(86_400) } }, "not_yet_valid"],
  ["a leaf for servers", { leaf: { extendedKeyUsage: ["serverAuth"] } }, "wrong_extended_key_usage"],
  ["a leaf for any purpose", { leaf: { extendedKeyUsage: ["2.5.29.37.0"] } }, "wrong_extended_key_usage"],
  ["a leaf for key encipherment", { leaf: { keyUsage: ["keyEncipherment"] } }, "wrong_key_usage"],
  ["an issuing authority for servers", { issuing: { extendedKeyUsage: ["serverAuth"] } }, "wrong_extended_key_usage"],
  ["a root for OCSP", { root: { extendedKeyUsage: ["OCSPSigning"] } }, "wrong_extended_key_usage"],
  ["an issuing authority that is none", { issuing: { basicConstraints: { ca: false } } }, "not_a_ca"],
  ["an issuing authority without keyCertSign", { issuing: { keyUsage: ["cRLSign"] } }, "wrong_key_usage"],
  ["an issuing authority without cRLSign", { issuing: { keyUsage: ["keyCertSign"] } }, "crl_missing"],
  [
    "a root that allows no authority below",
    { root: { basicConstraints: { ca: true, pathLength: 0 } } },
    "path_length_exceeded",
  ],
  ["an unknown critical extension", { leaf: other("1.2.3.4", none, true) }, "unknown_critical_extension"],
  ["name constraints that are violated", { issuing: other(nameConstraints, urisOfExample) }, "unprocessed_constraint"],
  ["the same, critical", { issuing: other(nameConstraints, urisOfExample, true) }, "unknown_critical_extension"],
  ["name constraints that do not parse", { issuing: other(nameConstraints, none) }, "unprocessed_constraint"],
  ["a leaf with name constraints that do not parse", { leaf: other(nameConstraints, none) }, "unprocessed_constraint"],
  ["distribution points that do not parse", { leaf: other(distributionPoints, none) }, "malformed_certificate"],
  [
    "a key identifier that does not parse",
    { damaged: ["0603551d0e04160414", "0603551d0e04160214"] },
    "malformed_certificate",
  ],
  [
    "an authority key identifier that does not parse",
    { damaged: ["0603551d2304183016", "0603551d2304183116"] },
    "malformed_certificate",
  ],
  ["a server by Netscape's extension", { leaf: other(netscapeCertType, "03020640") }, "unprocessed_constraint"],
  ["a proxy", { leaf: other(proxyCertInfo, proxy, true) }, "unknown_critical_extension"],
  ["a proxy, not critical", { leaf: other(proxyCertInfo, proxy) }, "unprocessed_constraint"],
  ["a revoked leaf", { revoked: "leaf" }, "revoked"],
  ["a revoked issuing authority", { revoked: "issuing" }, "revoked"],
  ["no list of the issuing authority", { list: null }, "crl_missing"],
  ["a list that has ended", { list: { nextUpdate: after(-1) } }, "crl_stale"],
  ["a list of the day after", { list: { thisUpdate: after(86_400) } }, "crl_stale"],
];

/** What constrains is not processed here and hence refused, also where it would be kept. */
const stricter: Row[] = [
  ["name constraints that are kept", { issuing: other(nameConstraints, hostsOfExample) }, "unprocessed_constraint"],
  ["a client by Netscape's extension", { leaf: other(netscapeCertType, "03020780") }, "unprocessed_constraint"],
];

const accepted: [string, Faults][] = [
  ["a chain with nothing wrong in it", {}],
  [
    "authorities that certify for clients and servers",
    { root: { extendedKeyUsage: ["clientAuth"] }, issuing: { extendedKeyUsage: ["clientAuth", "serverAuth"] } },
  ],
  ["distribution points", { leaf: { crlUris: ["http://ca.example/intermediate.crl"] } }],
];

/** The one tolerance: clocks may differ by a minute. */
const tolerated: [string, Faults][] = [
  ["a leaf of a minute ahead", { leaf: { notBefore: after(60) } }],
  ["a list of a minute ahead", { list: { thisUpdate: after(60) } }],
];

describe.skipIf(!present)(title, () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "x1410-chain-openssl-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function chainOf({ root: ofRoot, issuing: ofIssuing, leaf: ofLeaf, list = {}, revoked, damaged }: Faults) {
    const root = authority(undefined, "root", 1, ofRoot);
    const issuing = authority(root, "issuing", 0, ofIssuing);
    const made = make(issuing, { ...SIGNER, ...ofLeaf });
    const leaf = damaged === undefined ? made : { ...made, der: resigned(made.der, issuing, withOctets(...damaged)) };
    const lists = [
      listOf(root, revoked === "issuing" ? [revocationOf(issuing)] : []),
      ...(list === null ? [] : [listOf(issuing, revoked === "leaf" ? [revocationOf(leaf)] : [], list)]),
    ];
    return { root, issuing, leaf, lists };
  }

  function judge(faults: Faults): { ours: PkiErrorCode | "accepted"; openssl: boolean } {
    const { root, issuing, leaf, lists } = chainOf(faults);
    return { ours: ourVerdict(root, issuing, leaf, lists), openssl: opensslVerdict(root, issuing, leaf, lists) };
  }

  function ourVerdict(root: Member, issuing: Member, leaf: Member, crls: RevocationList[]): PkiErrorCode | "accepted" {
    try {
      const [trustAnchors, intermediates] = [root, issuing].map(({ der }) => [parseCertificate(der)]);
      verifyCertificateChain(leaf.der, {
        trustAnchors: trustAnchors ?? [],
        intermediates: intermediates ?? [],
        crls,
        at: AT,
        requiredEku: "clientAuth",
      });
      return "accepted";
    } catch (error) {
      if (error instanceof PkiError) return error.code;
      throw error;
    }
  }

  function opensslVerdict(root: Member, issuing: Member, leaf: Member, crls: RevocationList[]): boolean {
    const file = (name: string, text: string) => writeFileSync(join(directory, name), text);
    for (const [name, { der }] of Object.entries({ root, issuing, leaf }))
      file(`${name}.pem`, toPem("CERTIFICATE", der));
    file("lists.pem", crls.map(({ der }) => toPem("X509 CRL", der)).join(""));
    const { status, stdout } = spawnSync(
      "openssl",
      [
        ...["verify", "-crl_check_all", "-purpose", "sslclient", "-attime", String(AT.getTime() / 1000)],
        ...["-CAfile", "root.pem", "-untrusted", "issuing.pem", "-CRLfile", "lists.pem", "leaf.pem"],
      ],
      { cwd: directory, encoding: "utf8" },
    );
    return status === 0 && stdout.includes("leaf.pem: OK");
  }

  test.each(accepted)("as we do: %s", (_, faults) => {
    expect(judge(faults)).toEqual({ ours: "accepted", openssl: true });
  });

  test.each(alike)("no better than we do: %s", (_, faults, code) => {
    expect(judge(faults)).toEqual({ ours: code, openssl: false });
  });

  test.each(stricter)("more leniently than we do: %s", (_, faults, code) => {
    expect(judge(faults)).toEqual({ ours: code, openssl: true });
  });

  test.each(tolerated)("without our minute of tolerance: %s", (_, faults) => {
    expect(judge(faults)).toEqual({ ours: "accepted", openssl: false });
  });
});
