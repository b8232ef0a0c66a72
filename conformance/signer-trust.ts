// Whose signatures the tester believes.
import { ChainVerifier } from "../certs/chain-verifier.ts";
import type { Trust } from "../reference/envelope/verify.ts";
import type { Target } from "./target.ts";

export type TrustOfTarget = Pick<Target, "trustAnchorsPem" | "revocationListsPem" | "provider" | "consumer">;

/** Judges certificates that sign messages: those of the target's trust anchors and of a party's profile, revoked ones refused. */
export function signerTrust({ trustAnchorsPem, revocationListsPem, provider, consumer }: TrustOfTarget): Trust {
  return new ChainVerifier({
    trustAnchors: trustAnchorsPem,
    intermediates: [provider, consumer].map(({ certificateChainPem }) => certificateChainPem).join("\n"),
    crls: revocationListsPem,
    requiredEku: "clientAuth",
  });
}
