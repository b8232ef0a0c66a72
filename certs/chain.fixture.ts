// Authorities, signers and lists at fixed times, faulty where a test wants them so.
import type { BaseBlock, Sequence } from "asn1js";
import { buildCertificate, type CertificateSpec, parseCertificate } from "./certificate.ts";
import { block, encodeDer } from "./der.ts";
import { generateKeyPair, type KeyPair } from "./key-pair.ts";
import { buildRevocationList, type RevocationEntry, RevocationList } from "./revocation-list.ts";
import { seal } from "./signature-algorithm.ts";

export const ALICE = "urn:x1410:user:alice";
export const FROM = new Date("2026-01-01T00:00:00Z");
export const AT = new Date("2026-03-01T00:00:00Z");
export const UNTIL = new Date("2027-01-01T00:00:00Z");
const CA_USAGE = ["keyCertSign", "cRLSign"] as const;

export type Member = KeyPair & { der: Uint8Array };

export function make(
  issuer: Member | undefined,
  spec: Partial<CertificateSpec> = {},
  keys = generateKeyPair(),
): Member {
  const der = buildCertificate({
    subject: { commonName: "somebody" },
    publicKey: keys.publicKey,
    issuer:
      issuer === undefined
        ? { privateKey: keys.privateKey }
        : { privateKey: issuer.privateKey, certificate: issuer.der },
    notBefore: FROM,
    notAfter: UNTIL,
    ...spec,
  });
  return { ...keys, der };
}

export function authority(
  issuer: Member | undefined,
  name: string,
  pathLength?: number,
  spec: Partial<CertificateSpec> = {},
): Member {
  return make(issuer, {
    subject: { commonName: name },
    basicConstraints: pathLength === undefined ? { ca: true } : { ca: true, pathLength },
    keyUsage: CA_USAGE,
    ...spec,
  });
}

export const SIGNER: Partial<CertificateSpec> = {
  basicConstraints: { ca: false },
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: ["clientAuth"],
  subjectAltNames: [{ type: "uri", value: ALICE }],
};

export const signer = (issuer: Member, spec: Partial<CertificateSpec> = {}) => make(issuer, { ...SIGNER, ...spec });

type ListTimes = { thisUpdate?: Date; nextUpdate?: Date; number?: number };

export function listOf(
  issuer: Member,
  entries: RevocationEntry[] = [],
  { thisUpdate = FROM, nextUpdate = UNTIL, number = 1 }: ListTimes = {},
): RevocationList {
  const certificate = parseCertificate(issuer.der);
  const { privateKey } = issuer;
  return new RevocationList(
    buildRevocationList({ issuer: certificate, privateKey, number, thisUpdate, nextUpdate, entries }),
  );
}

export function revocationOf(member: Member, revokedAt = FROM): RevocationEntry {
  return { serialNumber: parseCertificate(member.der).serialNumber, reason: "keyCompromise", revokedAt };
}

/** Changes what an authority signed, and signs it again. */
export function resigned(der: Uint8Array, { privateKey }: KeyPair, change: (tbs: Sequence) => BaseBlock): Uint8Array {
  const [tbs] = (block(der) as Sequence).valueBlock.value;
  return seal(change(tbs as Sequence), privateKey);
}

/** The same with these octets, hexadecimal, in place of those. */
export function withOctets(from: string, to: string): (tbs: Sequence) => BaseBlock {
  return (tbs) => {
    const hex = Buffer.from(encodeDer(tbs)).toString("hex");
    if (hex.split(from).length !== 2 || from.length !== to.length) throw new Error(`${from} is not there once`);
    return block(Buffer.from(hex.replace(from, to), "hex"));
  };
}
