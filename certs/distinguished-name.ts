import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { block, encodeDer } from "./der.ts";

/** The attributes of a subject that the profiles use. Order on the wire: country, organization, unit, common name. */
export type DistinguishedName = {
  commonName?: string;
  organizationalUnit?: string;
  organization?: string;
  country?: string;
};

const ATTRIBUTES = [
  ["country", "2.5.4.6"],
  ["organization", "2.5.4.10"],
  ["organizationalUnit", "2.5.4.11"],
  ["commonName", "2.5.4.3"],
] as const;

/** DER of the name, one attribute per relative distinguished name (pkijs alone would put them all into one set). */
export function encodeName(name: DistinguishedName): Uint8Array {
  const sets = ATTRIBUTES.flatMap(([attribute, oid]) => {
    const text = name[attribute];
    if (text === undefined) return [];
    // X.520 countryName is a PrintableString; RFC 5280 4.1.2.4 asks for UTF8String elsewhere.
    const value =
      attribute === "country" ? new asn1js.PrintableString({ value: text }) : new asn1js.Utf8String({ value: text });
    const pair = new asn1js.Sequence({ value: [new asn1js.ObjectIdentifier({ value: oid }), value] });
    return [new asn1js.Set({ value: [pair] })];
  });
  return encodeDer(new asn1js.Sequence({ value: sets }));
}

/** The pkijs form that keeps the DER octet for octet, as chaining by name compares octets. */
export function nameFromDer(der: Uint8Array): pkijs.RelativeDistinguishedNames {
  return new pkijs.RelativeDistinguishedNames({ schema: block(der) });
}

export function nameDer(name: pkijs.RelativeDistinguishedNames): Uint8Array {
  return new Uint8Array(name.valueBeforeDecode);
}
