import { isIP } from "node:net";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { decodeDer, parseAs } from "./der.ts";
import { PkiError, type PkiErrorCode } from "./pki-error.ts";

/** Object identifiers of the extensions that are written or understood (RFC 5280 clause 4.2, RFC 6960). */
export const OID = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  crlNumber: "2.5.29.20",
  reasonCode: "2.5.29.21",
  nameConstraints: "2.5.29.30",
  crlDistributionPoints: "2.5.29.31",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  authorityInfoAccess: "1.3.6.1.5.5.7.1.1",
  proxyCertInfo: "1.3.6.1.5.5.7.1.14",
  ocsp: "1.3.6.1.5.5.7.48.1",
  ocspNonce: "1.3.6.1.5.5.7.48.1.2",
  ocspNoCheck: "1.3.6.1.5.5.7.48.1.5",
  extensionRequest: "1.2.840.113549.1.9.14",
  netscapeCertType: "2.16.840.1.113730.1.1",
} as const;

/** Bit positions of RFC 5280 4.2.1.3. */
const KEY_USAGE_BITS = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;
export type KeyUsage = (typeof KEY_USAGE_BITS)[number];

export const EXTENDED_KEY_USAGES = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  OCSPSigning: "1.3.6.1.5.5.7.3.9",
} as const;
export type ExtendedKeyUsage = keyof typeof EXTENDED_KEY_USAGES;

export type SubjectAltName = { type: "uri" | "dns" | "ip" | "email"; value: string };

export type BasicConstraints = { ca: boolean; pathLength?: number };

function extension(oid: string, critical: boolean, value: asn1js.BaseBlock): pkijs.Extension {
  return new pkijs.Extension({ extnID: oid, critical, extnValue: value.toBER(false) });
}

export function basicConstraintsExtension({ ca, pathLength }: BasicConstraints): pkijs.Extension {
  const value = new pkijs.BasicConstraints(
    pathLength === undefined ? { cA: ca } : { cA: ca, pathLenConstraint: pathLength },
  );
  return extension(OID.basicConstraints, true, value.toSchema());
}

export function keyUsageExtension(usages: readonly KeyUsage[]): pkijs.Extension {
  const bits = usages.map((usage) => KEY_USAGE_BITS.indexOf(usage));
  const last = Math.max(...bits);
  const octets = new Uint8Array(Math.floor(last / 8) + 1);
  for (const bit of bits) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  // DER drops trailing zero bits of a named bit list (X.690 11.2.2).
  return extension(OID.keyUsage, true, new asn1js.BitString({ valueHex: octets, unusedBits: 7 - (last & 7) }));
}

export function extendedKeyUsageExtension(usages: readonly (ExtendedKeyUsage | string)[]): pkijs.Extension {
  const oids = usages.map((usage) => EXTENDED_KEY_USAGES[usage as ExtendedKeyUsage] ?? usage);
  return extension(OID.extendedKeyUsage, false, new pkijs.ExtKeyUsage({ keyPurposes: oids }).toSchema());
}

export function subjectAltNameExtension(names: readonly SubjectAltName[]): pkijs.Extension {
  return extension(OID.subjectAltName, false, new pkijs.AltName({ altNames: names.map(generalName) }).toSchema());
}

function generalName({ type, value }: SubjectAltName): pkijs.GeneralName {
  switch (type) {
    case "uri":
      return new pkijs.GeneralName({ type: 6, value });
    case "dns":
      return new pkijs.GeneralName({ type: 2, value });
    case "email":
      return new pkijs.GeneralName({ type: 1, value });
    case "ip":
      return new pkijs.GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: ipOctets(value) }) });
  }
}

export function subjectKeyIdentifierExtension(identifier: Uint8Array): pkijs.Extension {
  return extension(OID.subjectKeyIdentifier, false, new asn1js.OctetString({ valueHex: identifier }));
}

export function authorityKeyIdentifierExtension(identifier: Uint8Array): pkijs.Extension {
  const value = new pkijs.AuthorityKeyIdentifier({ keyIdentifier: new asn1js.OctetString({ valueHex: identifier }) });
  return extension(OID.authorityKeyIdentifier, false, value.toSchema());
}

export function crlDistributionPointsExtension(uris: readonly string[]): pkijs.Extension {
  const distributionPoints = uris.map(
    (uri) => new pkijs.DistributionPoint({ distributionPoint: [new pkijs.GeneralName({ type: 6, value: uri })] }),
  );
  return extension(
    OID.crlDistributionPoints,
    false,
    new pkijs.CRLDistributionPoints({ distributionPoints }).toSchema(),
  );
}

export function ocspAccessExtension(uris: readonly string[]): pkijs.Extension {
  const accessDescriptions = uris.map(
    (uri) =>
      new pkijs.AccessDescription({
        accessMethod: OID.ocsp,
        accessLocation: new pkijs.GeneralName({ type: 6, value: uri }),
      }),
  );
  return extension(OID.authorityInfoAccess, false, new pkijs.InfoAccess({ accessDescriptions }).toSchema());
}

/** RFC 6960 4.2.2.2.1: the delegated responder's own certificate need not be checked for revocation. */
export function ocspNoCheckExtension(): pkijs.Extension {
  return extension(OID.ocspNoCheck, false, new asn1js.Null());
}

export function crlNumberExtension(number: number): pkijs.Extension {
  return extension(OID.crlNumber, false, asn1js.Integer.fromBigInt(BigInt(number)));
}

/** What is read out of a list of extensions. Absent fields mean absent extensions. */
export type ExtensionValues = {
  basicConstraints?: BasicConstraints;
  keyUsage?: ReadonlySet<KeyUsage>;
  /** Object identifiers. */
  extendedKeyUsage?: readonly string[];
  /** Types beyond the four of `SubjectAltName` appear as "other". */
  subjectAltNames?: readonly { type: SubjectAltName["type"] | "other"; value: string }[];
  /** Lower-case hexadecimal. */
  subjectKeyIdentifier?: string;
  /** Object identifiers of all extensions. */
  present: ReadonlySet<string>;
  /** Object identifiers of all critical extensions. */
  critical: ReadonlySet<string>;
};

/**
 * Reads the extensions of a certificate or a request. An extension that appears twice is refused (RFC 5280 4.2):
 * two parties could each honour another one of them.
 * @throws PkiError with the given code
 */
export function readExtensions(extensions: readonly pkijs.Extension[], code: PkiErrorCode): ExtensionValues {
  const seen = new Set<string>();
  const critical = new Set<string>();
  const values: ExtensionValues = { present: seen, critical };
  for (const { extnID, critical: isCritical, extnValue } of extensions) {
    if (seen.has(extnID)) throw new PkiError(code, `extension ${extnID} appears twice`);
    seen.add(extnID);
    if (isCritical) critical.add(extnID);
    const der = extnValue.valueBlock.valueHexView;
    parseAs(code, () => readExtension(extnID, der, code, values));
  }
  return values;
}

function readExtension(oid: string, der: Uint8Array, code: PkiErrorCode, values: ExtensionValues): void {
  switch (oid) {
    case OID.basicConstraints: {
      const { cA, pathLenConstraint } = new pkijs.BasicConstraints({ schema: decodeDer(der, code) });
      const pathLength =
        pathLenConstraint instanceof asn1js.Integer ? Number(pathLenConstraint.toBigInt()) : pathLenConstraint;
      if (pathLength !== undefined && pathLength < 0) throw new PkiError(code, "negative path length");
      values.basicConstraints = pathLength === undefined ? { ca: cA } : { ca: cA, pathLength };
      return;
    }
    case OID.keyUsage: {
      const bitString = decodeDer(der, code);
      if (!(bitString instanceof asn1js.BitString)) throw new PkiError(code, "key usage is not a bit string");
      const octets = bitString.valueBlock.valueHexView;
      values.keyUsage = new Set(
        KEY_USAGE_BITS.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0),
      );
      return;
    }
    case OID.extendedKeyUsage:
      values.extendedKeyUsage = new pkijs.ExtKeyUsage({ schema: decodeDer(der, code) }).keyPurposes;
      return;
    case OID.subjectAltName:
      values.subjectAltNames = new pkijs.AltName({ schema: decodeDer(der, code) }).altNames.map(readAltName);
      return;
    case OID.subjectKeyIdentifier: {
      const octets = decodeDer(der, code);
      if (!(octets instanceof asn1js.OctetString)) throw new PkiError(code, "key identifier is not an octet string");
      values.subjectKeyIdentifier = Buffer.from(octets.valueBlock.valueHexView).toString("hex");
      return;
    }
    // Nothing is taken from these; what does not parse is refused by others, who would then judge otherwise.
    case OID.crlDistributionPoints:
      new pkijs.CRLDistributionPoints({ schema: decodeDer(der, code) });
      return;
    case OID.authorityKeyIdentifier:
      new pkijs.AuthorityKeyIdentifier({ schema: decodeDer(der, code) });
      return;
  }
}

function readAltName(name: pkijs.GeneralName): { type: SubjectAltName["type"] | "other"; value: string } {
  switch (name.type) {
    case 1:
      return { type: "email", value: String(name.value) };
    case 2:
      return { type: "dns", value: String(name.value) };
    case 6:
      return { type: "uri", value: String(name.value) };
    case 7:
      return { type: "ip", value: ipText((name.value as asn1js.OctetString).valueBlock.valueHexView) };
    default:
      return { type: "other", value: `type ${name.type}` };
  }
}

/** 4 or 16 octets of an IP address. @throws PkiError invalid_host_name */
export function ipOctets(address: string): Uint8Array {
  if (isIP(address) === 4) return Uint8Array.from(address.split("."), Number);
  if (isIP(address) !== 6 || address.includes("%")) {
    throw new PkiError("invalid_host_name", `${JSON.stringify(address)} is not an IP address`);
  }
  // The URL parser writes every notation of IPv6 in its canonical form, embedded IPv4 included.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** One spelling per address, so that granted and requested addresses compare as text. */
export function ipText(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join(".");
  if (octets.length !== 16) return `${octets.length} octets`;
  const hex = Buffer.from(octets).toString("hex").match(/.{4}/g) ?? [];
  return new URL(`http://[${hex.join(":")}]/`).hostname.slice(1, -1);
}

/** DER of `ExtensionRequest` and the like: the plain list of extensions. */
export function extensionsBlock(extensions: pkijs.Extension[]): asn1js.Sequence {
  return new pkijs.Extensions({ extensions }).toSchema();
}
