// The certification authority of the harness: every certificate that a campaign needs, right ones and such as no authority would issue.
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { readAuthority } from "../../certs/authority-directory.ts";
import { buildCertificate, type CertificateSpec } from "../../certs/certificate.ts";
import { toPem } from "../../certs/der.ts";
import { fingerprintOf, formatIdentity, type Role } from "../../certs/identity.ts";
import type { RevocationReason } from "../../certs/issuance-log.ts";
import { generateKeyPair, type KeyAlgorithm, type KeyPair, privateKeyPem } from "../../certs/key-pair.ts";
import { createPki, type IdentityFiles, type Pki } from "../../certs/pki.ts";
import type { Credential, PartyName } from "../target.ts";

const parties: Readonly<Record<PartyName, { readonly role: Role; readonly name: string }>> = {
  provider: { role: "user", name: "kit-provider" },
  consumer: { role: "user", name: "kit-consumer" },
  secondProvider: { role: "user", name: "kit-second-provider" },
  secondConsumer: { role: "user", name: "kit-second-consumer" },
  operator: { role: "operator", name: "kit" },
  dssm: { role: "dssm", name: "kit" },
  kss: { role: "kss", name: "kit" },
  dss: { role: "dss", name: "kit" },
  secondDssm: { role: "dssm", name: "kit-second" },
  secondKss: { role: "kss", name: "kit-second" },
};

/** What a certificate says otherwise than the profile asks; the rest of it is right. */
export type Faults = Partial<Omit<CertificateSpec, "publicKey" | "issuer">> & {
  readonly keyAlgorithm?: KeyAlgorithm;
  /** Of any kind, in place of a new one of `keyAlgorithm`. */
  readonly keyPair?: KeyPair;
  /** Who signs it instead of the issuing authority, and what comes after it in the chain, PEM. */
  readonly issuer?: { readonly privateKey: KeyObject; readonly certificate: Uint8Array; readonly chainPem: string };
};

export class HarnessAuthority {
  readonly #pki: Pki;
  /** By party and hosts, as this process has read or issued them: a campaign asks thousands of times. */
  readonly #parties = new Map<string, Credential>();
  #issuing: ReturnType<typeof readAuthority> | undefined;

  /** @throws PkiError where the directory holds something else, or cannot be written */
  constructor(directory: string) {
    this.#pki = createPki(join(directory, "pki"));
  }

  get trustAnchorPem(): string {
    return this.#pki.caPem;
  }

  /** One list of each authority, current at this moment. */
  get revocationListPems(): readonly string[] {
    return this.#pki.crlPems;
  }

  /** The issuing authority's certificate, PEM. */
  get intermediatePem(): string {
    return this.#pki.intermediate.pem;
  }

  identityOf(party: PartyName): string {
    const { role, name } = parties[party];
    return formatIdentity(role, name);
  }

  /** The certificate of a party of the campaign; the same one at every start, until it is about to expire. */
  party(party: PartyName, hosts: readonly string[] = []): Credential {
    const { role, name } = parties[party];
    const servesAt = role === "user" || role === "operator" ? [] : hosts;
    const key = [party, ...servesAt].join(" ");
    const credential = this.#parties.get(key) ?? credentialOf(this.kept(role, name, servesAt));
    this.#parties.set(key, credential);
    return credential;
  }

  /** A certificate that is kept in the directory, with its files. */
  kept(
    role: Role,
    name: string,
    hosts: readonly string[],
  ): { readonly privateKeyPem: string; readonly chainPem: string; readonly files: IdentityFiles } {
    return this.#pki.ensureIdentity({ role, identity: formatIdentity(role, name), dnsNames: [...hosts] });
  }

  /** A new certificate for a party of this campaign alone. */
  issue(role: Role, name: string): Credential {
    return credentialOf(this.#pki.issueIdentity({ role, identity: formatIdentity(role, name) }));
  }

  /** A certificate for `identity` with something wrong. Without faults it is one that the profile allows. */
  forge(identity: string, faults: Faults = {}): Credential {
    const { keyAlgorithm, keyPair, issuer, ...spec } = faults;
    const { privateKey, publicKey } = keyPair ?? generateKeyPair(keyAlgorithm);
    const own = this.#issuingAuthority();
    const by = issuer ?? {
      privateKey: own.privateKey,
      certificate: own.certificate.der,
      chainPem: this.intermediatePem,
    };
    const der = buildCertificate({
      subject: { organization: "X.1410", commonName: "kit" },
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 60 * 60_000),
      basicConstraints: { ca: false },
      keyUsage: ["digitalSignature"],
      extendedKeyUsage: ["clientAuth"],
      subjectAltNames: [{ type: "uri", value: identity }],
      ...spec,
      publicKey,
      issuer: { privateKey: by.privateKey, certificate: by.certificate },
    });
    return {
      certificateChainPem: toPem("CERTIFICATE", der) + by.chainPem,
      privateKeyPem: privateKeyPem(privateKey),
    };
  }

  /** From now on the certificate is on the lists that the harness hands out. */
  revoke(credential: Credential, reason: RevocationReason = "keyCompromise"): void {
    this.#pki.intermediate.revoke(fingerprintOf(new X509Certificate(credential.certificateChainPem)), reason);
  }

  /** The issuing authority's own key, to certify what it would not. */
  issuingKey(): KeyObject {
    return this.#issuingAuthority().privateKey;
  }

  #issuingAuthority(): ReturnType<typeof readAuthority> {
    this.#issuing ??= readAuthority(join(this.#pki.directory, "intermediate"));
    return this.#issuing;
  }
}

/** The key of a credential, for those that issue below it. */
export function keyOf({ privateKeyPem: pem }: Credential): KeyObject {
  return createPrivateKey(pem);
}

function credentialOf(material: { readonly privateKeyPem: string; readonly chainPem: string }): Credential {
  return { certificateChainPem: material.chainPem, privateKeyPem: material.privateKeyPem };
}
