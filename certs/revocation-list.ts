import type { KeyObject } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import type { ParsedCertificate } from "./certificate.ts";
import { decodeDer, derOf, normalizeSerial, parseAs, serialHex, time, unsignedInteger } from "./der.ts";
import { nameDer, nameFromDer } from "./distinguished-name.ts";
import { authorityKeyIdentifierExtension, crlNumberExtension, extensionsBlock, OID } from "./extensions.ts";
import { REVOCATION_REASONS, type RevocationReason } from "./issuance-log.ts";
import { PkiError } from "./pki-error.ts";
import { seal, signatureAlgorithmOf, verifyTbs } from "./signature-algorithm.ts";

/** A list of the size of a million revocations would still be refused politely, not by running out of memory. */
const MAX_CRL_BYTES = 16 * 1024 * 1024;
const MAX_CRL_NODES = 2_000_000;

export type RevocationEntry = { serialNumber: string; reason: RevocationReason; revokedAt: Date };

export type RevocationListSpec = {
  issuer: ParsedCertificate;
  privateKey: KeyObject;
  number: number;
  thisUpdate: Date;
  /** Absent only to make a list that a verifier has to refuse. */
  nextUpdate?: Date;
  entries: readonly RevocationEntry[];
};

/** Builds and signs a complete, direct list (RFC 5280 clause 5). The same input gives the same to-be-signed bytes. */
export function buildRevocationList(spec: RevocationListSpec): Uint8Array {
  const authorityKey = spec.issuer.extensions.subjectKeyIdentifier;
  const extensions = [crlNumberExtension(spec.number)];
  if (authorityKey !== undefined) {
    extensions.unshift(authorityKeyIdentifierExtension(Buffer.from(authorityKey, "hex")));
  }
  const entries = spec.entries.map(({ serialNumber, reason, revokedAt }) => {
    const value: asn1js.BaseBlock[] = [unsignedInteger(serialNumber), time(revokedAt).toSchema() as asn1js.UTCTime];
    // RFC 5280 5.3.1: "unspecified" is said by leaving the reason out.
    if (reason !== "unspecified") {
      const code = new asn1js.Enumerated({ value: REVOCATION_REASONS[reason] });
      value.push(extensionsBlock([new pkijs.Extension({ extnID: OID.reasonCode, extnValue: code.toBER(false) })]));
    }
    return new asn1js.Sequence({ value });
  });
  const tbs = new asn1js.Sequence({
    value: [
      new asn1js.Integer({ value: 1 }), // v2
      signatureAlgorithmOf(spec.privateKey).toSchema(),
      nameFromDer(spec.issuer.subjectDer).toSchema(),
      time(spec.thisUpdate).toSchema() as asn1js.UTCTime,
      ...(spec.nextUpdate === undefined ? [] : [time(spec.nextUpdate).toSchema() as asn1js.UTCTime]),
      // An empty list is left out altogether (RFC 5280 5.1.2.6).
      ...(entries.length === 0 ? [] : [new asn1js.Sequence({ value: entries })]),
      new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: [extensionsBlock(extensions)] }),
    ],
  });
  return seal(tbs, spec.privateKey);
}

/** A parsed list; its signature is not checked until `verifiedBy` says so. */
export class RevocationList {
  readonly der: Uint8Array;
  readonly issuerDer: Uint8Array;
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  readonly #list: pkijs.CertificateRevocationList;
  readonly #revoked: ReadonlyMap<string, Date>;
  /** A list is asked about with every certificate of its issuer, its signature need be computed once. */
  readonly #verdicts = new WeakMap<ParsedCertificate, boolean>();

  /** @throws PkiError malformed_crl: also for delta, indirect and partial lists, whose silence would prove nothing */
  constructor(input: Uint8Array | string) {
    const code = "malformed_crl";
    this.der = new Uint8Array(derOf("X509 CRL", input, code));
    const limits = { maxBytes: MAX_CRL_BYTES, maxNodes: MAX_CRL_NODES };
    this.#list = parseAs(
      code,
      () => new pkijs.CertificateRevocationList({ schema: decodeDer(this.der, code, limits) }),
    );
    this.issuerDer = nameDer(this.#list.issuer);
    this.thisUpdate = this.#list.thisUpdate.value;
    this.nextUpdate = this.#list.nextUpdate?.value;
    let number = 0;
    for (const { extnID, critical, extnValue } of this.#list.crlExtensions?.extensions ?? []) {
      if (critical) throw new PkiError(code, `critical extension ${extnID} is not understood`);
      if (extnID !== OID.crlNumber) continue;
      const value = decodeDer(extnValue.valueBlock.valueHexView, code);
      if (value instanceof asn1js.Integer) number = Number(value.toBigInt());
    }
    this.number = number;
    const revoked = new Map<string, Date>();
    for (const { userCertificate, revocationDate, crlEntryExtensions } of this.#list.revokedCertificates ?? []) {
      const unknown = crlEntryExtensions?.extensions.find(({ critical }) => critical);
      if (unknown !== undefined) throw new PkiError(code, `critical entry extension ${unknown.extnID}`);
      revoked.set(serialHex(userCertificate), revocationDate.value);
    }
    this.#revoked = revoked;
  }

  get size(): number {
    return this.#revoked.size;
  }

  /** When the certificate of this serial number was revoked, if it was. */
  revokedAt(serialNumber: string): Date | undefined {
    return this.#revoked.get(normalizeSerial(serialNumber));
  }

  /** Whether this authority issued the list: same name, allowed to sign lists, signature right. */
  verifiedBy(authority: ParsedCertificate): boolean {
    const known = this.#verdicts.get(authority);
    if (known !== undefined) return known;
    const verdict = this.#verify(authority);
    this.#verdicts.set(authority, verdict);
    return verdict;
  }

  #verify(authority: ParsedCertificate): boolean {
    if (Buffer.compare(this.issuerDer, authority.subjectDer) !== 0) return false;
    if (!(authority.extensions.keyUsage?.has("cRLSign") ?? false)) return false;
    const { tbsView, signature: named, signatureAlgorithm, signatureValue } = this.#list;
    // RFC 5280 5.1.1.2: the algorithm outside, which nobody signed, must be the one inside.
    if (named.algorithmId !== signatureAlgorithm.algorithmId) return false;
    try {
      return verifyTbs(tbsView, signatureAlgorithm.algorithmId, signatureValue, authority.publicKey);
    } catch (error) {
      if (error instanceof PkiError) return false;
      throw error;
    }
  }
}
