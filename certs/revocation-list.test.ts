import * as asn1js from "asn1js";
import { expect, test } from "vitest";
import { parseCertificate } from "./certificate.ts";
import { authority, FROM, listOf, resigned } from "./chain.fixture.ts";
import { PkiError } from "./pki-error.ts";
import { RevocationList } from "./revocation-list.ts";

const issuing = authority(undefined, "issuing");
const issuer = parseCertificate(issuing.der);
const entry = { serialNumber: "0a", reason: "keyCompromise", revokedAt: FROM } as const;

type Part = { name: string; oid: string; value: string };

function extension({ oid, value }: Part, critical: boolean): asn1js.Sequence {
  return new asn1js.Sequence({
    value: [
      new asn1js.ObjectIdentifier({ value: oid }),
      ...(critical ? [new asn1js.Boolean({ value: true })] : []),
      new asn1js.OctetString({ valueHex: Buffer.from(value, "hex") }),
    ],
  });
}

const partsOf = (of: asn1js.BaseBlock | undefined) => (of as asn1js.Sequence).valueBlock.value;

/** Of the list itself: in its last element, [0] EXPLICIT Extensions. */
function listWith(part: Part, critical: boolean): Uint8Array {
  return resigned(listOf(issuing, [entry]).der, issuing, (tbs) => {
    partsOf(partsOf(partsOf(tbs).at(-1))[0]).push(extension(part, critical));
    return tbs;
  });
}

/** Of its one entry: beside the reason, in the last but one element of the list. */
function entryWith(part: Part, critical: boolean): Uint8Array {
  return resigned(listOf(issuing, [entry]).der, issuing, (tbs) => {
    partsOf(partsOf(partsOf(partsOf(tbs).at(-2))[0]).at(-1)).push(extension(part, critical));
    return tbs;
  });
}

function refusal(der: Uint8Array): string {
  try {
    new RevocationList(der);
    return "accepted";
  } catch (error) {
    if (error instanceof PkiError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

const ofLists: Part[] = [
  { name: "a delta of another list", oid: "2.5.29.27", value: "020101" },
  { name: "for some certificates only", oid: "2.5.29.28", value: "30038101ff" },
  { name: "an extension of the future", oid: "1.2.3.4", value: "0500" },
];

test.each(ofLists)("a list that is $name says so critically, and is refused", (part) => {
  expect(refusal(listWith(part, true))).toBe(
    `malformed_crl: the certificate revocation list does not parse: critical extension ${part.oid} is not understood`,
  );
  const harmless = new RevocationList(listWith({ ...part, oid: "1.2.3.4" }, false));
  expect([harmless.verifiedBy(issuer), harmless.revokedAt("0a")]).toEqual([true, FROM]);
});

const ofEntries: Part[] = [
  { name: "of another issuer's certificate", oid: "2.5.29.29", value: "3000" },
  { name: "with an extension of the future", oid: "1.2.3.4", value: "0500" },
];

test.each(ofEntries)("a list with an entry $name is refused", (part) => {
  expect(refusal(entryWith(part, true))).toBe(
    `malformed_crl: the certificate revocation list does not parse: critical entry extension ${part.oid}`,
  );
  const harmless = new RevocationList(entryWith({ ...part, oid: "1.2.3.4" }, false));
  expect([harmless.verifiedBy(issuer), harmless.revokedAt("0a")]).toEqual([true, FROM]);
});
