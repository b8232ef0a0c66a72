// Old signatures are judged at their block's time. A chain has many blocks and few signers: what was verified for two instants holds for
// every one in between, because validity is one interval and a revocation, once it has happened, stays.
import { fingerprintOf } from "../../certs/identity.ts";
import type { Trust, TrustedCertificate } from "../envelope/verify.ts";

/** A trust store that also judges the past; certs' ChainVerifier is one. */
export interface LedgerTrust extends Trust {
  /** @throws an error where the certificate was not to be believed at that time */
  verifyAt(leafDer: Uint8Array, at: Date): TrustedCertificate;
}

interface Verdict {
  readonly certificate: TrustedCertificate;
  readonly from: number;
  until: number;
  readonly learntAt: number;
}

/** After this a verdict is asked for anew, so that lists which arrive meanwhile count. */
const KEPT_MS = 60_000;
const CACHE_SIZE = 4096;

export class TrustAtTime {
  readonly #trust: LedgerTrust;
  readonly #verdicts = new Map<string, Verdict>();

  constructor(trust: LedgerTrust) {
    this.#trust = trust;
  }

  /** The store as it judges signatures made at this time. */
  at(timeUnixMs: bigint): Trust {
    return { verify: (leafDer) => this.#verify(leafDer, Number(timeUnixMs)) };
  }

  #verify(leafDer: Uint8Array, at: number): TrustedCertificate {
    const fingerprint = fingerprintOf(leafDer);
    const known = this.#verdicts.get(fingerprint);
    const now = performance.now();
    if (known !== undefined && now - known.learntAt < KEPT_MS && at >= known.from) {
      if (at <= known.until || this.#extend(known, leafDer, at)) return known.certificate;
    }
    const certificate = this.#trust.verifyAt(leafDer, new Date(at));
    if (this.#verdicts.size >= CACHE_SIZE) this.#verdicts.clear();
    this.#verdicts.set(fingerprint, { certificate, from: at, until: at, learntAt: now });
    return certificate;
  }

  /** Tries an instant beyond, at double the distance, so that a long chain costs few verifications. */
  #extend(known: Verdict, leafDer: Uint8Array, at: number): boolean {
    const beyond = at + Math.max(at - known.from, 1000);
    try {
      this.#trust.verifyAt(leafDer, new Date(beyond));
    } catch {
      return false;
    }
    known.until = beyond;
    return true;
  }
}
