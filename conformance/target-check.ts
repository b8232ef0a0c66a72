// Whether what a target file gives fits together, before anything is judged by it: a slip of whoever wrote the file must never read as a
// fault of the implementation.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { ChainVerifier } from "../certs/chain-verifier.ts";
import { fromPem } from "../certs/der.ts";
import { PkiError } from "../certs/pki-error.ts";
import { identityIn } from "./credential.ts";
import { type Credential, type PartyName, TargetError, type TargetSettings } from "./target.ts";

/** @throws TargetError naming the member and how to mend it */
export function checkTarget(path: string, settings: TargetSettings, now = new Date()): void {
  const { entities, trustAnchorsPem, revocationListsPem, credentials } = settings;
  for (const [role, { endpoint }] of Object.entries(entities)) checkPort(path, `entities.${role}.endpoint`, endpoint);
  const given = Object.entries(credentials) as [PartyName, Credential][];
  for (const [who, credential] of given) checkKey(path, who, credential);
  const { provider, consumer } = credentials;
  if (provider !== undefined && consumer !== undefined && identityIn(provider) === identityIn(consumer))
    throw new TargetError(`${path}: credentials.provider and credentials.consumer are the same user; give two users`);
  if (trustAnchorsPem === "") return;
  const anchors = anchorsIn(path, trustAnchorsPem);
  if (anchors.some((anchor) => anchor.subject !== anchor.issuer))
    throw new TargetError(`${path}: trust.anchors has a certificate that is not self-signed; give the root alone`);
  if (revocationListsPem === "")
    throw new TargetError(
      `${path}: trust.revocationLists is missing; give the current list of each authority, one after the other`,
    );
  for (const [who, credential] of given) checkChain(path, who, credential, settings, now);
}

function anchorsIn(path: string, trustAnchorsPem: string): X509Certificate[] {
  try {
    return fromPem("CERTIFICATE", trustAnchorsPem).map((der) => new X509Certificate(der));
  } catch {
    throw new TargetError(`${path}: trust.anchors does not parse: the root certificate in PEM is needed`);
  }
}

function checkPort(path: string, place: string, endpoint: string): void {
  const port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
  if (port < 1 || port > 65_535) throw new TargetError(`${path}: ${place} has no port from 1 to 65535`);
}

function checkKey(path: string, who: PartyName, { certificateChainPem, privateKeyPem }: Credential): void {
  let belongs: boolean;
  try {
    belongs = new X509Certificate(certificateChainPem).checkPrivateKey(createPrivateKey(privateKeyPem));
  } catch {
    throw new TargetError(
      `${path}: credentials.${who} does not parse: a certificate and a PKCS #8 private key in PEM are needed`,
    );
  }
  if (!belongs)
    throw new TargetError(`${path}: credentials.${who}.privateKey is not that of credentials.${who}.certificate`);
}

const causes: Partial<Record<string, string>> = {
  crl_missing: "trust.revocationLists lacks the list of an authority on the path of",
  crl_stale: "trust.revocationLists has no current list for the path of",
  revoked: "trust.revocationLists revokes",
  wrong_extended_key_usage: "the extended key usage clientAuth is missing from",
  expired: "the validity has passed of",
  not_yet_valid: "the validity has not begun of",
};

function checkChain(path: string, who: PartyName, credential: Credential, settings: TargetSettings, now: Date): void {
  const [leaf] = fromPem("CERTIFICATE", credential.certificateChainPem);
  const verifier = verifierOf(path, credential, settings, now);
  try {
    if (leaf !== undefined) verifier.verify(leaf);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    const otherwise = "trust.anchors do not lead to (with the issuing authorities in the same file)";
    throw new TargetError(`${path}: ${causes[cause.code] ?? otherwise} credentials.${who}.certificate (${cause.code})`);
  }
}

function verifierOf(path: string, credential: Credential, settings: TargetSettings, now: Date): ChainVerifier {
  try {
    return new ChainVerifier({
      trustAnchors: settings.trustAnchorsPem,
      intermediates: credential.certificateChainPem,
      crls: settings.revocationListsPem,
      requiredEku: "clientAuth",
      now: () => now,
    });
  } catch {
    throw new TargetError(
      `${path}: trust.revocationLists does not parse: the current list of each authority in PEM is needed`,
    );
  }
}
