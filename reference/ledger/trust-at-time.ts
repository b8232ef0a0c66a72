// Old signatures are judged at their block's time. A chain has many blocks and few signers: what was verified for two instants holds for
// every one in between, because validity is one interval and a revocation, once it has happened, stays.
//
// Nodes learn of a revocation at different times, and one chain must be right or wrong for all of them, for ever. So in blocks it counts from its
// date plus a grace, by when everybody knows it; what is not yet in a block is judged strictly by whoever is to put it there.
import { X509Certificate } from "node:crypto";
import { fingerprintOf } from "../../certs/identity.ts";
import type { Trust, TrustedCertificate } from "../envelope/verify.ts";

/** A trust store that also judges the past; certs' ChainVerifier is one. */
export interface LedgerTrust extends Trust {
  /**
   * Answers also the path from the certificate to its anchor, where it knows it. A revocation counts from its date plus the grace.
   * @throws an error where the certificate was not to be believed at that time
   */
  verifyAt(
    leafDer: Uint8Array,
    at: Date,
    revocationGraceMs?: number,
  ): TrustedCertificate & { readonly chain?: readonly Authority[] };
}

/** A certificate on a path. */
interface Authority {
  readonly der: Uint8Array;
}

interface Verdict {
  readonly certificate: ReturnType<LedgerTrust["verifyAt"]>;
  readonly from: number;
  until: number;
  readonly learntAt: number;
}

/** REVOCATION_GRACE: how long after its date a revocation begins to count in blocks. A rule of the chain: every node and auditor has the same. */
export const REVOCATION_GRACE_MS = 10 * 60_000;
/** How often revocation lists must be fetched, so that a proposer stops long before its blocks are refused. */
export const MAX_REVOCATION_REFRESH_MS = REVOCATION_GRACE_MS / 2;

/** After this a verdict is asked for anew, so that lists which arrive meanwhile count. */
const KEPT_MS = 60_000;
const AHEAD_MS = 1000;
const CACHE_SIZE = 4096;

export class TrustAtTime {
  readonly #trust: LedgerTrust;
  readonly #revocationGraceMs: number;
  readonly #verdicts = new Map<string, Verdict>();
  /** Fingerprints of signers, with those of the certificates that came along, where these are what has to come along. */
  readonly #whole = new Set<string>();
  /** Fingerprints of authorities that were found to be genuine. */
  readonly #issued = new Set<string>();

  constructor(trust: LedgerTrust, { revocationGraceMs = REVOCATION_GRACE_MS } = {}) {
    this.#trust = trust;
    this.#revocationGraceMs = revocationGraceMs;
  }

  /** The store as it judges what is to go into a block of this time: believed there by everybody, and known to nobody here as revoked. */
  admitting(timeUnixMs: bigint): Trust {
    const inBlock = this.at(timeUnixMs);
    return {
      verify: (leafDer, intermediates) => {
        this.#trust.verify(leafDer, intermediates);
        return inBlock.verify(leafDer, intermediates);
      },
    };
  }

  /** The store as it judges signatures in a block of this time. */
  at(timeUnixMs: bigint): Trust {
    return {
      verify: (leafDer, intermediates) => {
        const certificate = this.#verify(leafDer, Number(timeUnixMs));
        this.#assertIssued(intermediates, certificate.chain);
        return certificate;
      },
    };
  }

  /**
   * Likewise for the signer of a block's header, whose certificates no signature and no hash covers: also that all have come along, every
   * authority from the signer's issuer up to the one below the root, in this order.
   */
  wholeAt(timeUnixMs: bigint): Trust {
    const { verify } = this.at(timeUnixMs);
    return {
      verify: (leafDer, intermediates) => {
        const certificate = this.#verify(leafDer, Number(timeUnixMs));
        this.#assertWhole(certificate, intermediates);
        return verify(leafDer, intermediates);
      },
    };
  }

  #assertWhole({ fingerprint, chain }: Verdict["certificate"], certificates: readonly Uint8Array[]): void {
    if (chain === undefined) return;
    const key = [fingerprint, ...certificates.map(fingerprintOf)].join(" ");
    if (this.#whole.has(key)) return;
    const wanted = chain.slice(1).map(({ der }) => new X509Certificate(der));
    const below = wanted.filter(({ subject, issuer }) => subject !== issuer);
    // A renewed certificate of the same authority is the same step of the path.
    const inPlace = certificates.every((der, at) => new X509Certificate(der).subject === below[at]?.subject);
    if (!inPlace || certificates.length !== below.length) throw new TypeError("the path of certificates is not whole");
    if (this.#whole.size >= CACHE_SIZE) this.#whole.clear();
    this.#whole.add(key);
  }

  /**
   * The path is found without the certificates that come with a signature, and no signature covers those of a block's header. Yet an auditor is
   * promised that no byte of a chain was altered: each must have been issued by an authority on the path, as it is.
   */
  #assertIssued(certificates: readonly Uint8Array[], chain: readonly Authority[] | undefined): void {
    if (chain === undefined) return;
    for (const der of certificates) {
      const fingerprint = fingerprintOf(der);
      if (this.#issued.has(fingerprint)) continue;
      if (!chain.some((authority) => Buffer.compare(authority.der, der) === 0)) assertIssuedOn(chain, der);
      if (this.#issued.size >= CACHE_SIZE) this.#issued.clear();
      this.#issued.add(fingerprint);
    }
  }

  #verify(leafDer: Uint8Array, at: number): Verdict["certificate"] {
    const fingerprint = fingerprintOf(leafDer);
    const known = this.#verdicts.get(fingerprint);
    const now = performance.now();
    if (known !== undefined && now - known.learntAt < KEPT_MS && at >= known.from) {
      if (at <= known.until || this.#extend(known, leafDer, at)) return known.certificate;
    }
    const certificate = this.#trust.verifyAt(leafDer, new Date(at), this.#revocationGraceMs);
    if (this.#verdicts.size >= CACHE_SIZE) this.#verdicts.clear();
    this.#verdicts.set(fingerprint, { certificate, from: at, until: at, learntAt: now });
    return certificate;
  }

  /**
   * Tries an instant beyond, at double the distance, so that a long chain costs few verifications; but hardly beyond now, since a revocation
   * may come at any time.
   */
  #extend(known: Verdict, leafDer: Uint8Array, at: number): boolean {
    const beyond = Math.min(at + Math.max(at - known.from, AHEAD_MS), Math.max(at, Date.now()) + AHEAD_MS);
    try {
      this.#trust.verifyAt(leafDer, new Date(beyond), this.#revocationGraceMs);
    } catch {
      return false;
    }
    known.until = beyond;
    return true;
  }
}

/** @throws where the certificate is not, byte for byte, one that an authority on the path has issued */
function assertIssuedOn(chain: readonly Authority[], der: Uint8Array): void {
  const certificate = new X509Certificate(der);
  const issued = chain.some((authority) => certificate.verify(new X509Certificate(authority.der).publicKey));
  if (!issued || Buffer.compare(certificate.raw, der) !== 0) throw new TypeError("a certificate on the way is altered");
}
