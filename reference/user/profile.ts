// What a user keeps to be one (clause 6.2.1, U2, U4): its certificate and private key, whom it trusts, where its management is.
import { createPrivateKey, X509Certificate } from "node:crypto";
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
  /** Where they were read from, for messages. */
  readonly files: ProfilePaths;
}

type ProfilePaths = Readonly<Record<"certificate" | "privateKey" | "trustAnchors" | "revocationLists", string>>;

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
  const at = (member: keyof ProfilePaths) => resolve(dirname(path), file[member]);
  const files: ProfilePaths = {
    certificate: at("certificate"),
    privateKey: at("privateKey"),
    trustAnchors: at("trustAnchors"),
    revocationLists: at("revocationLists"),
  };
  const { mode } = await stat(files.privateKey).catch(() => ({ mode: 0 }));
  if ((mode & 0o077) !== 0)
    throw new ProfileError(`${files.privateKey} is readable by others; chmod 600 it (clause 6.2.1: stored securely)`);
  const named = (member: keyof ProfilePaths) =>
    read(files[member], `cannot read ${files[member]}, the ${member} of ${path}; correct the path there`);
  const profile = {
    managementEndpoint: file.management.endpoint,
    managementIdentity: file.management.identity,
    certificateChainPem: await named("certificate"),
    privateKeyPem: await named("privateKey"),
    trustAnchorsPem: await named("trustAnchors"),
    revocationListsPem: await named("revocationLists"),
    files,
  };
  assertUsable(profile, path);
  return profile;
}

/** What would otherwise fail later, where nobody knows any more which file is meant. */
function assertUsable(profile: Profile, path: string): void {
  const { files } = profile;
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):[1-9]\d{0,4}$/.test(profile.managementEndpoint))
    throw new ProfileError(`management.endpoint of ${path} is "${profile.managementEndpoint}"; give host:port`);
  const certificate = parsed(files.certificate, "certificate", () => new X509Certificate(profile.certificateChainPem));
  const privateKey = parsed(files.privateKey, "private key", () => createPrivateKey(profile.privateKeyPem));
  if (!certificate.checkPrivateKey(privateKey))
    throw new ProfileError(`${files.privateKey} is not the private key of the certificate in ${files.certificate}`);
  parsed(files.trustAnchors, "certificate", () => new X509Certificate(profile.trustAnchorsPem));
  if (pemBlocks("X509 CRL", profile.revocationListsPem).length === 0)
    throw new ProfileError(`${files.revocationLists} holds no revocation list in PEM`);
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new ProfileError(`${file} holds no ${what} in PEM`, { cause });
  }
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

async function read(path: string, otherwise: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ProfileError(`${otherwise} (${cause.code})`);
  });
}
