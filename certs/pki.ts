import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import type { Authority, AuthorityOptions } from "./authority.ts";
import { openOrCreateAuthority } from "./authority-directory.ts";
import { parseCertificate } from "./certificate.ts";
import { buildCertificationRequest } from "./certification-request.ts";
import { ChainVerifier } from "./chain-verifier.ts";
import { fromPem, toPem } from "./der.ts";
import { makePrivateDirectory, PRIVATE_FILE, PUBLIC_FILE, readIfPresent, writeDurably } from "./durable-file.ts";
import type { ExtendedKeyUsage } from "./extensions.ts";
import { fingerprintOf } from "./identity.ts";
import { generateKeyPair, type KeyAlgorithm, parsePrivateKey, privateKeyPem } from "./key-pair.ts";
import { PkiError } from "./pki-error.ts";
import { type Grant, grantedSubject } from "./profile.ts";

export type PkiOptions = Omit<AuthorityOptions, "crlUris" | "ocspUris"> & {
  /** Algorithm of the authorities' own keys. Default P-256. */
  keyAlgorithm?: KeyAlgorithm;
  /** Organization in the authorities' names. Default "X.1410". */
  organization?: string;
  /**
   * Where the lists and the OCSP responders will be found, as certificates say it: `<base>/root.crl`,
   * `<base>/intermediate.crl`, `<base>/ocsp/root`, `<base>/ocsp/intermediate`. Given once, it is kept in the directory.
   */
  publicationUri?: string;
};

/** What a PKI directory remembers of its options, in pki.json. */
type Settings = { organization: string; publicationUri?: string };

const SETTINGS_FILE = "pki.json";

export type IdentityRequest = Grant & { keyAlgorithm?: KeyAlgorithm; validityMs?: number };

/** What a user or a server holds (U1, U2): key and certificate, and what it needs to check its peers. */
export type IdentityMaterial = {
  identity: string;
  /** PKCS#8, a secret. */
  privateKeyPem: string;
  certificatePem: string;
  /** The certificate followed by the intermediate authority: what TLS presents. */
  chainPem: string;
  /** The root: the one trust anchor. */
  caPem: string;
  /** The lists of every level, as they were at issue; servers reload them. For TLS, see `pemBlocks`. */
  crlPem: string;
  /** Lower-case hexadecimal. */
  serialNumber: string;
  fingerprint: string;
};

/** Where `ensureIdentity` keeps its files. */
export type IdentityFiles = { privateKey: string; certificate: string; chain: string; ca: string; crl: string };

/**
 * The two-level PKI of a deployment: a root that certifies one intermediate authority, which certifies everybody.
 * Everything lies in one directory and is opened again at the next start.
 */
export class Pki {
  readonly directory: string;
  readonly root: Authority;
  readonly intermediate: Authority;
  readonly #now: () => Date;

  constructor(directory: string, root: Authority, intermediate: Authority, now: () => Date) {
    this.directory = directory;
    this.root = root;
    this.intermediate = intermediate;
    this.#now = now;
  }

  /** The root certificate. */
  get caPem(): string {
    return this.root.pem;
  }

  /** The current revocation lists, the root's first, as one text for files. */
  get crlPem(): string {
    return this.crlPems.join("");
  }

  /** The same, one text each: the form that Node's TLS takes (it reads only the first list of a text). */
  get crlPems(): string[] {
    return [this.root.crlPem, this.intermediate.crlPem];
  }

  /** DER of the intermediate authority, for those that resolve paths themselves. */
  get intermediates(): Uint8Array[] {
    return [this.intermediate.certificate.der];
  }

  /** A verifier for signed messages on this trust store, with the lists of now; feed it later ones by `update`. */
  verifier(options: { requiredEku?: ExtendedKeyUsage } = {}): ChainVerifier {
    return new ChainVerifier({
      trustAnchors: this.caPem,
      intermediates: this.intermediates,
      crls: this.crlPem,
      now: this.#now,
      ...options,
    });
  }

  /** Makes a key pair, requests and issues a certificate for it. Nothing is written but the authority's own record. */
  issueIdentity(request: IdentityRequest): IdentityMaterial {
    return this.#issue(request, generateKeyPair(request.keyAlgorithm).privateKey);
  }

  #issue({ keyAlgorithm: _, validityMs, ...grant }: IdentityRequest, privateKey: KeyObject): IdentityMaterial {
    const { name, subjectAltNames } = grantedSubject(grant);
    const request = buildCertificationRequest({ subject: { commonName: name }, privateKey, subjectAltNames });
    const { der } = this.intermediate.issue(request, grant, validityMs === undefined ? {} : { validityMs });
    return this.#material(grant.identity, privateKey, der);
  }

  /**
   * The identity kept in `identities/<role>-<name>`: reads it, or issues it where it is missing, revoked, about to
   * expire (a third of its life is left) or was issued for other names. A new certificate is for the same key, unless
   * the old one was revoked: what others know the key by, such as a ledger its proposer, goes on.
   * @returns the material, and the files (key with mode 0600)
   */
  ensureIdentity(request: IdentityRequest): IdentityMaterial & { files: IdentityFiles } {
    const { name } = grantedSubject(request);
    const directory = join(this.directory, "identities", `${request.role}-${name}`);
    const files: IdentityFiles = {
      privateKey: join(directory, "key.pem"),
      certificate: join(directory, "certificate.pem"),
      chain: join(directory, "chain.pem"),
      ca: join(directory, "ca.pem"),
      crl: join(directory, "crl.pem"),
    };
    const { kept, privateKey } = this.#kept(files, request);
    const material = kept ?? this.#issue(request, privateKey ?? generateKeyPair(request.keyAlgorithm).privateKey);
    if (kept === undefined) {
      makePrivateDirectory(directory);
      writeDurably(files.privateKey, material.privateKeyPem, PRIVATE_FILE);
      writeDurably(files.certificate, material.certificatePem, PUBLIC_FILE);
    }
    // Copies of what the authorities keep.
    writeDurably(files.chain, material.chainPem, PUBLIC_FILE);
    writeDurably(files.ca, material.caPem, PUBLIC_FILE);
    writeDurably(files.crl, material.crlPem, PUBLIC_FILE);
    return { ...material, files };
  }

  #material(identity: string, privateKey: KeyObject, der: Uint8Array): IdentityMaterial {
    const certificatePem = toPem("CERTIFICATE", der);
    return {
      identity,
      privateKeyPem: privateKeyPem(privateKey),
      certificatePem,
      chainPem: certificatePem + this.intermediate.pem,
      caPem: this.caPem,
      crlPem: this.crlPem,
      serialNumber: parseCertificate(der).serialNumber,
      fingerprint: fingerprintOf(der),
    };
  }

  /** What is there and still good; where only the certificate is to be replaced, its key. */
  #kept(files: IdentityFiles, request: IdentityRequest): { kept?: IdentityMaterial; privateKey?: KeyObject } {
    const keyPem = readIfPresent(files.privateKey)?.toString();
    const certificatePem = readIfPresent(files.certificate)?.toString();
    if (keyPem === undefined || certificatePem === undefined) return {};
    const privateKey = undamaged(files.privateKey, () => parsePrivateKey(keyPem));
    const certificate = undamaged(files.certificate, () => {
      const [der] = fromPem("CERTIFICATE", certificatePem);
      if (der === undefined) throw new PkiError("malformed_certificate");
      return parseCertificate(der);
    });
    const record = this.intermediate.find(fingerprintOf(certificate.der));
    if (record === undefined && certificate.x509.verify(this.intermediate.certificate.x509.publicKey)) {
      // The log that has lost a certificate may have lost a revocation too.
      const log = join(this.intermediate.directory, "issued.jsonl");
      throw new PkiError("corrupt_store", `${log} lacks ${files.certificate}; restore it from a backup`);
    }
    if (record === undefined || record.revocation !== undefined || !certificate.x509.checkPrivateKey(privateKey)) {
      return {};
    }
    const lifetime = certificate.notAfter.getTime() - certificate.notBefore.getTime();
    const names = new Set((certificate.extensions.subjectAltNames ?? []).map(({ type, value }) => `${type} ${value}`));
    const wanted = grantedSubject(request).subjectAltNames.map(({ type, value }) => `${type} ${value}`);
    const good =
      certificate.notAfter.getTime() - this.#now().getTime() > lifetime / 3 &&
      names.size === wanted.length &&
      wanted.every((name) => names.has(name));
    return good ? { kept: this.#material(request.identity, privateKey, certificate.der) } : { privateKey };
  }
}

/** A damaged key is not replaced: others may know its holder by it, and whoever has a copy of the file loses nothing. */
function undamaged<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof PkiError && error.code.startsWith("malformed"))) throw error;
    throw new PkiError("corrupt_store", `${path}; restore it from a backup, or remove it to have a new one issued`);
  }
}

/**
 * Opens the PKI of a directory, creating root and intermediate authority at first use.
 * @throws PkiError corrupt_store, storage_failed, authority_expired
 */
export function createPki(directory: string, options: PkiOptions = {}): Pki {
  const { keyAlgorithm = "p256", organization, publicationUri, ...authorityOptions } = options;
  const settings = openSettings(directory, {
    ...(organization === undefined ? {} : { organization }),
    ...(publicationUri === undefined ? {} : { publicationUri }),
  });
  const common = { ...authorityOptions, keyAlgorithm };
  const root = openOrCreateAuthority(join(directory, "root"), {
    ...common,
    ...publication(settings, "root"),
    subject: { organization: settings.organization, commonName: `${settings.organization} root` },
    pathLength: 1,
  });
  const intermediate = openOrCreateAuthority(join(directory, "intermediate"), {
    ...common,
    ...publication(settings, "intermediate"),
    subject: { organization: settings.organization, commonName: `${settings.organization} issuing authority` },
    pathLength: 0,
    parent: root,
  });
  const [above] = intermediate.issuers;
  if (above === undefined || fingerprintOf(above) !== fingerprintOf(root.certificate.der)) {
    throw new PkiError("corrupt_store", `${join(directory, "intermediate")} belongs to another root`);
  }
  return new Pki(directory, root, intermediate, options.now ?? (() => new Date()));
}

/** Whether a PKI has been created there. */
export function isPki(directory: string): boolean {
  return readIfPresent(join(directory, SETTINGS_FILE)) !== undefined;
}

function openSettings(directory: string, given: Partial<Settings>): Settings {
  const path = join(directory, SETTINGS_FILE);
  const stored = readIfPresent(path)?.toString();
  let former: Partial<Settings> = {};
  try {
    if (stored !== undefined) former = JSON.parse(stored) as Settings;
  } catch (error) {
    throw new PkiError("corrupt_store", `${path} is not JSON`, { cause: error });
  }
  const settings = { organization: "X.1410", ...former, ...given };
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  if (text !== stored) {
    makePrivateDirectory(directory);
    writeDurably(path, text, PUBLIC_FILE);
  }
  return settings;
}

function publication({ publicationUri }: Settings, authority: "root" | "intermediate"): Partial<AuthorityOptions> {
  if (publicationUri === undefined) return {};
  const base = publicationUri.replace(/\/+$/, "");
  return { crlUris: [`${base}/${authority}.crl`], ocspUris: [`${base}/ocsp/${authority}`] };
}
