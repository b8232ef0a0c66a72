// What a user keeps to be one (clause 6.2.1, U2, U4): its certificate and private key, whom it trusts, where its management is.
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { pemBlocks } from "../../certs/der.ts";
import type { TlsCredentials } from "../communications/tls-credentials.ts";

export interface Profile {
  /** host:port of the management's gRPC interface. */
  readonly managementEndpoint: string;
  /** urn:x1410:entity:dssm:NAME. */
  readonly managementIdentity: string;
  /** The user's certificate with its intermediates, and the private key, PEM. */
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly trustAnchorsPem: string;
  readonly revocationListsPem: string;
}

/** The members of a profile file: JSON, paths relative to it. */
export interface ProfileFile {
  readonly management: { readonly endpoint: string; readonly identity: string };
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustAnchors: string;
  readonly revocationLists: string;
}

export function profileText(profile: ProfileFile): string {
  return `${JSON.stringify(profile, undefined, 2)}\n`;
}

/** A profile that cannot be used; the message says what and how to mend it. */
export class ProfileError extends Error {
  override name = "ProfileError";
}

/** @throws ProfileError */
export async function readProfile(path: string): Promise<Profile> {
  const file = await readProfileFile(path);
  const at = (name: string) => resolve(dirname(path), name);
  const privateKeyPath = at(file.privateKey);
  const { mode } = await stat(privateKeyPath).catch(() => ({ mode: 0 }));
  if ((mode & 0o077) !== 0)
    throw new ProfileError(`${privateKeyPath} is readable by others; chmod 600 it (clause 6.2.1: stored securely)`);
  return {
    managementEndpoint: file.management.endpoint,
    managementIdentity: file.management.identity,
    certificateChainPem: await read(at(file.certificate)),
    privateKeyPem: await read(privateKeyPath),
    trustAnchorsPem: await read(at(file.trustAnchors)),
    revocationListsPem: await read(at(file.revocationLists)),
  };
}

/** The file itself, without what it names. @throws ProfileError */
export async function readProfileFile(path: string): Promise<ProfileFile> {
  return parse(path, await read(path, `no profile at ${path}; \`npx x1410 up\` makes some and says where`));
}

export function tlsCredentials(profile: Profile): TlsCredentials {
  return {
    privateKey: profile.privateKeyPem,
    certificateChain: profile.certificateChainPem,
    authorities: [profile.trustAnchorsPem],
    revocationLists: pemBlocks("X509 CRL", profile.revocationListsPem),
  };
}

function parse(path: string, text: string): ProfileFile {
  let file: Partial<ProfileFile> | null;
  try {
    file = JSON.parse(text);
  } catch {
    throw new ProfileError(`${path} is not JSON`);
  }
  const texts = [
    file?.management?.endpoint,
    file?.management?.identity,
    file?.certificate,
    file?.privateKey,
    file?.trustAnchors,
    file?.revocationLists,
  ];
  if (!texts.every((value) => typeof value === "string"))
    throw new ProfileError(
      `${path} needs management.endpoint, management.identity, certificate, privateKey, trustAnchors and revocationLists, each a text`,
    );
  return file as ProfileFile;
}

async function read(path: string, otherwise = `cannot read ${path}`): Promise<string> {
  return readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ProfileError(`${otherwise} (${cause.code})`);
  });
}
