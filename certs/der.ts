import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { PkiError, type PkiErrorCode } from "./pki-error.ts";

/** Largest PKI object that is parsed, in bytes; certificates and requests are a few KiB. */
export const MAX_OBJECT_BYTES = 64 * 1024;

const MAX_DEPTH = 32;

type DecodeLimits = { maxBytes?: number; maxNodes?: number };

/**
 * Decodes exactly one DER value with nothing after it. Input comes from strangers, so size and node count are bounded.
 * @throws PkiError with the given code
 */
export function decodeDer(der: Uint8Array, code: PkiErrorCode, limits: DecodeLimits = {}): asn1js.AsnType {
  const { maxBytes = MAX_OBJECT_BYTES, maxNodes = 10_000 } = limits;
  if (der.byteLength === 0) throw new PkiError(code, "it is empty");
  if (der.byteLength > maxBytes) throw new PkiError(code, `${der.byteLength} bytes are more than ${maxBytes}`);
  if (!isDistinguished(der, maxNodes)) throw new PkiError(code, "its lengths are not DER");
  // asn1js keeps views of its input; a copy of its own makes the result independent of a pooled Buffer.
  const bytes = new Uint8Array(der);
  const { offset, result } = asn1js.fromBER(bytes, { maxNodes, maxContentLength: maxBytes });
  if (offset === -1) throw new PkiError(code, result.error);
  if (offset !== bytes.byteLength) throw new PkiError(code, "bytes follow its end");
  return result;
}

/**
 * Whether the bytes are one tree of definite, shortest lengths in which every value ends exactly where its parent does.
 * asn1js forgives much of this; forgiving lets two byte strings mean one signed object, and a fingerprint only one of them.
 */
function isDistinguished(der: Uint8Array, maxNodes: number): boolean {
  const ends = [der.byteLength];
  let offset = 0;
  for (let nodes = 0; ends.length > 0; ) {
    const end = ends.at(-1) as number;
    if (offset === end) {
      ends.pop();
      continue;
    }
    if (++nodes > maxNodes || ends.length > MAX_DEPTH || offset + 2 > end) return false;
    const tag = der[offset] as number;
    let length = der[offset + 1] as number;
    // Tag numbers above 30 and lengths above 4 octets occur in no object of X.509.
    if ((tag & 0x1f) === 0x1f || length === 0x80 || length > 0x84) return false;
    offset += 2;
    if (length > 0x80) {
      const octets = length & 0x7f;
      if (offset + octets > end || der[offset] === 0) return false;
      length = der.subarray(offset, offset + octets).reduce((value, octet) => value * 256 + octet, 0);
      if (length < 0x80) return false;
      offset += octets;
    }
    if (offset + length > end) return false;
    if ((tag & 0x20) !== 0) ends.push(offset + length);
    else offset += length;
  }
  return true;
}

/** Runs a pkijs parse and turns whatever it throws on bad input into one stable code. */
export function parseAs<T>(code: PkiErrorCode, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof PkiError) throw error;
    throw new PkiError(code, error instanceof Error ? error.message : String(error), { cause: error });
  }
}

export function encodeDer(block: asn1js.BaseBlock): Uint8Array {
  return new Uint8Array(block.toBER(false));
}

/** An ASN.1 value from its DER, where pkijs wants the parsed form (a public key or a name made elsewhere). */
export function block(der: Uint8Array): asn1js.AsnType {
  return decodeDer(der, "malformed_certificate");
}

/** The value of an ASN.1 INTEGER made of these octets, as unsigned (serial numbers). */
export function unsignedInteger(hex: string): asn1js.Integer {
  return asn1js.Integer.fromBigInt(BigInt(`0x${hex}`));
}

/** Lower-case hexadecimal of a serial number, without sign octet and leading zeros: one spelling everywhere. */
export function serialHex(serial: asn1js.Integer): string {
  return normalizeSerial(Buffer.from(serial.valueBlock.valueHexView).toString("hex"));
}

/** The same spelling from any hexadecimal notation, such as `01:AB`, `01ab` or Node's `serialNumber`. */
export function normalizeSerial(hex: string): string {
  const digits = hex.replaceAll(":", "").toLowerCase().replace(/^0+/, "");
  return digits === "" ? "0" : digits;
}

/** RFC 5280 4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050 on, whole seconds. */
export function time(date: Date): pkijs.Time {
  return new pkijs.Time({ type: date.getUTCFullYear() < 2050 ? 0 : 1, value: wholeSeconds(date) });
}

/** X.509 knows no fractions of a second; rounding down keeps a fresh object from lying in the future. */
export function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

export type PemLabel = "CERTIFICATE" | "X509 CRL" | "CERTIFICATE REQUEST";

export function toPem(label: PemLabel, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** All DER objects under a PEM label, in order. Text between the blocks is ignored (RFC 7468). */
export function fromPem(label: PemLabel, pem: string): Uint8Array[] {
  // OpenSSL also writes the older "NEW CERTIFICATE REQUEST".
  const name = label === "CERTIFICATE REQUEST" ? "(?:NEW )?CERTIFICATE REQUEST" : label;
  const pattern = new RegExp(`-----BEGIN ${name}-----([A-Za-z0-9+/=\\s]*)-----END ${name}-----`, "g");
  return [...pem.matchAll(pattern)].map((match) => new Uint8Array(Buffer.from(match[1] ?? "", "base64")));
}

/**
 * The PEM blocks of a label, one string each. Node's TLS options need this form: of several lists in one `crl` string
 * it reads the first and ignores the rest.
 */
export function pemBlocks(label: PemLabel, pem: string): string[] {
  return fromPem(label, pem).map((der) => toPem(label, der));
}

/** DER as given, or the first PEM block of that label. */
export function derOf(label: PemLabel, input: Uint8Array | string, code: PkiErrorCode): Uint8Array {
  if (typeof input !== "string") return input;
  const first = fromPem(label, input)[0];
  if (first === undefined) throw new PkiError(code, `no PEM block "${label}" in it`);
  return first;
}
