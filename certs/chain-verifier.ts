import { type ParsedCertificate, parseCertificate } from "./certificate.ts";
import { type ChainRules, type VerifiedCertificate, verifyCertificateChain } from "./chain.ts";
import { fromPem } from "./der.ts";
import { fingerprintOf } from "./identity.ts";
import { RevocationList } from "./revocation-list.ts";

/** Verdicts kept: a signer's certificate comes with every message, and its path seldom changes. */
const CACHE_SIZE = 4096;

/** DER objects, or PEM text with any number of them. */
export type PkiObjects = readonly Uint8Array[] | string;

export type ChainVerifierOptions = Omit<
  ChainRules,
  "trustAnchors" | "intermediates" | "crls" | "at" | "crlsAt" | "revocationGraceMs"
> & {
  trustAnchors: PkiObjects;
  intermediates?: PkiObjects;
  crls?: PkiObjects;
  now?: () => Date;
};

/**
 * Verifies certificates that sign messages against one trust store, and remembers the verdict by fingerprint until
 * something on the path runs out or the store changes. Refusals are not remembered.
 */
export class ChainVerifier {
  readonly #rules: Pick<ChainRules, "crlsRequired" | "requiredEku" | "keyPolicy">;
  readonly #now: () => Date;
  #trustAnchors: ParsedCertificate[];
  #intermediates: ParsedCertificate[];
  #crls: RevocationList[] = [];
  readonly #verdicts = new Map<string, VerifiedCertificate>();

  /** @throws PkiError malformed_certificate, malformed_crl */
  constructor({ trustAnchors, intermediates = [], crls = [], now, ...rules }: ChainVerifierOptions) {
    this.#rules = rules;
    this.#now = now ?? (() => new Date());
    this.#trustAnchors = certificates(trustAnchors);
    this.#intermediates = certificates(intermediates);
    this.update({ crls });
  }

  /**
   * Replaces the parts of the store that are given, and forgets every verdict. Where a list in use is newer (by CRL
   * number) than the one given for the same issuer, the newer stays: nobody un-revokes by replaying an older list.
   * @throws PkiError malformed_certificate, malformed_crl; the store is then as it was
   */
  update(store: { trustAnchors?: PkiObjects; intermediates?: PkiObjects; crls?: PkiObjects }): void {
    const trustAnchors = store.trustAnchors === undefined ? this.#trustAnchors : certificates(store.trustAnchors);
    const intermediates = store.intermediates === undefined ? this.#intermediates : certificates(store.intermediates);
    const crls =
      store.crls === undefined ? this.#crls : this.#newest(lists(store.crls), [...trustAnchors, ...intermediates]);
    this.#trustAnchors = trustAnchors;
    this.#intermediates = intermediates;
    this.#crls = crls;
    this.#verdicts.clear();
  }

  /** @throws PkiError of the path and revocation groups */
  verify(der: Uint8Array): VerifiedCertificate {
    const now = this.#now();
    const fingerprint = fingerprintOf(der);
    const known = this.#verdicts.get(fingerprint);
    if (known !== undefined) {
      this.#verdicts.delete(fingerprint);
      if (now <= known.validUntil) {
        this.#verdicts.set(fingerprint, known);
        return known;
      }
    }
    const verified = this.#verify(der, { at: now });
    if (this.#verdicts.size >= CACHE_SIZE) {
      // A Map keeps the order of insertion, and hits are inserted anew: the first is the least recently used.
      for (const oldest of this.#verdicts.keys()) {
        this.#verdicts.delete(oldest);
        break;
      }
    }
    this.#verdicts.set(fingerprint, verified);
    return verified;
  }

  /**
   * Judges an old signature's certificate at its own time, with the lists of today; a revocation counts from its date on, or by
   * `revocationGraceMs` later. Not remembered.
   */
  verifyAt(der: Uint8Array, at: Date, revocationGraceMs = 0): VerifiedCertificate {
    return this.#verify(der, { at, crlsAt: this.#now(), revocationGraceMs });
  }

  #verify(der: Uint8Array, instant: Pick<ChainRules, "at" | "crlsAt" | "revocationGraceMs">): VerifiedCertificate {
    return verifyCertificateChain(der, {
      ...this.#rules,
      trustAnchors: this.#trustAnchors,
      intermediates: this.#intermediates,
      crls: this.#crls,
      ...instant,
    });
  }

  #newest(given: RevocationList[], authorities: ParsedCertificate[]): RevocationList[] {
    const inUse = this.#crls;
    return given.map((list) => {
      const issuers = authorities.filter((authority) => list.verifiedBy(authority));
      const newer = inUse.filter(
        (old) => old.number > list.number && issuers.some((authority) => old.verifiedBy(authority)),
      );
      return newer.reduce((best, old) => (old.number > best.number ? old : best), list);
    });
  }
}

function certificates(objects: PkiObjects): ParsedCertificate[] {
  return (typeof objects === "string" ? fromPem("CERTIFICATE", objects) : objects).map(parseCertificate);
}

function lists(objects: PkiObjects): RevocationList[] {
  return (typeof objects === "string" ? fromPem("X509 CRL", objects) : objects).map((der) => new RevocationList(der));
}
