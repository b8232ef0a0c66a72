// What a credential says of its holder.
import { createHash, X509Certificate } from "node:crypto";
import { identityOf } from "../certs/identity.ts";
import { type Credential, TargetError } from "./target.ts";

/** The one URI of its certificate; undefined where it has none or several. */
export function identityIn({ certificateChainPem }: Credential): string | undefined {
  return identityOf(new X509Certificate(certificateChainPem));
}

/** The one URI of its certificate. @throws TargetError where it has none or several */
export function identityOfCredential(credential: Credential): string {
  const identity = identityIn(credential);
  if (identity === undefined) throw new TargetError("a certificate does not name exactly one URI urn:x1410:…");
  return identity;
}

/** SHA-256 of its certificate in DER: what tokens and sessions are bound to. */
export function certificateSha256(credential: Pick<Credential, "certificateChainPem">): Uint8Array {
  return new Uint8Array(createHash("sha256").update(new X509Certificate(credential.certificateChainPem).raw).digest());
}
