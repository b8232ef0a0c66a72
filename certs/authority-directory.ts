import { type KeyObject, randomBytes } from "node:crypto";
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Authority, type AuthorityMaterial, type AuthorityOptions, CLOCK_SKEW_MS } from "./authority.ts";
import { buildCertificate, parseCertificate } from "./certificate.ts";
import { fromPem, toPem } from "./der.ts";
import type { DistinguishedName } from "./distinguished-name.ts";
import {
  makePrivateDirectory,
  PRIVATE_FILE,
  PUBLIC_FILE,
  readIfPresent,
  storageFailed,
  syncDirectory,
  writeDurably,
} from "./durable-file.ts";
import { IssuanceLog } from "./issuance-log.ts";
import { generateKeyPair, type KeyAlgorithm, parsePrivateKey, privateKeyPem } from "./key-pair.ts";
import { PkiError } from "./pki-error.ts";

const YEAR_MS = 365 * 24 * 60 * 60 * 1000;

export type AuthorityCreation = AuthorityOptions & {
  subject: DistinguishedName;
  keyAlgorithm?: KeyAlgorithm;
  /** How many authorities may follow below. Default: one less than the parent's, or 1 for a root. */
  pathLength?: number;
  /** Default 10 years for a root, 5 below; never beyond the parent's. */
  validityMs?: number;
  /** The authority above; absent for a root. */
  parent?: Authority;
};

const FILES = { key: "key.pem", certificate: "certificate.pem", issuers: "issuers.pem", log: "issued.jsonl" } as const;

/**
 * Opens the authority kept in a directory, or creates it there at first use. Creation is one rename: nobody ever sees
 * half an authority, and of two processes that start together one wins and the other opens the winner's.
 * @throws PkiError corrupt_store, storage_failed, authority_expired, path_length_forbids_authority
 */
export function openOrCreateAuthority(directory: string, creation: AuthorityCreation): Authority {
  if (!existsSync(join(directory, FILES.certificate))) create(directory, creation);
  return openAuthority(directory, creation);
}

/** @throws PkiError corrupt_store, storage_failed */
export function openAuthority(directory: string, options: AuthorityOptions = {}): Authority {
  return new Authority(readAuthority(directory), options);
}

/**
 * The authority's key and certificate themselves, for those that sign beside the log: a conformance kit makes faulty
 * certificates of a trusted issuer with them and `buildCertificate`.
 * @throws PkiError corrupt_store, storage_failed
 */
export function readAuthority(directory: string): AuthorityMaterial {
  const read = (file: string): string => {
    const content = readIfPresent(join(directory, file));
    if (content === undefined) throw new PkiError("corrupt_store", `${join(directory, file)} is missing`);
    return content.toString("utf8");
  };
  const inStore = <T>(file: string, parse: () => T): T => {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof PkiError) || error.code === "corrupt_store") throw error;
      throw new PkiError("corrupt_store", `${join(directory, file)}: ${error.message}`, { cause: error });
    }
  };
  const certificate = inStore(FILES.certificate, () => {
    const [der] = fromPem("CERTIFICATE", read(FILES.certificate));
    if (der === undefined) throw new PkiError("malformed_certificate");
    return parseCertificate(der);
  });
  const privateKey = inStore(FILES.key, () => parsePrivateKey(read(FILES.key)));
  if (!certificate.x509.checkPrivateKey(privateKey)) {
    throw new PkiError("corrupt_store", `${join(directory, FILES.key)} is not the key of ${FILES.certificate}`);
  }
  const issuers = fromPem("CERTIFICATE", read(FILES.issuers));
  read(FILES.log);
  return { directory, privateKey, certificate, issuers, log: new IssuanceLog(join(directory, FILES.log)) };
}

function create(directory: string, creation: AuthorityCreation): void {
  const { parent } = creation;
  const { privateKey, publicKey } = generateKeyPair(creation.keyAlgorithm);
  const der = parent === undefined ? selfSigned(creation, privateKey, publicKey) : below(parent, creation, publicKey);
  const issuers = parent === undefined ? [] : [parent.certificate.der, ...parent.issuers];
  const above = dirname(directory);
  makePrivateDirectory(above);
  const temporary = `${directory}.${randomBytes(6).toString("hex")}.tmp`;
  makePrivateDirectory(temporary);
  try {
    writeDurably(join(temporary, FILES.key), privateKeyPem(privateKey), PRIVATE_FILE);
    writeDurably(join(temporary, FILES.certificate), toPem("CERTIFICATE", der), PUBLIC_FILE);
    writeDurably(
      join(temporary, FILES.issuers),
      issuers.map((issuer) => toPem("CERTIFICATE", issuer)).join(""),
      PUBLIC_FILE,
    );
    writeDurably(join(temporary, FILES.log), "", PUBLIC_FILE);
    renameSync(temporary, directory);
    syncDirectory(above);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    const code = (error as NodeJS.ErrnoException).code;
    // Another process has made the authority in the meantime; a directory of its own making is left alone.
    if (code === "ENOTEMPTY" || code === "EEXIST") return;
    if (error instanceof PkiError) throw error;
    throw storageFailed(directory, error);
  }
}

function selfSigned(creation: AuthorityCreation, privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  const now = (creation.now ?? (() => new Date()))().getTime();
  return buildCertificate({
    subject: creation.subject,
    publicKey,
    issuer: { privateKey },
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(now + (creation.validityMs ?? 10 * YEAR_MS)),
    basicConstraints: { ca: true, pathLength: creation.pathLength ?? 1 },
    keyUsage: ["keyCertSign", "cRLSign"],
  });
}

function below(parent: Authority, creation: AuthorityCreation, publicKey: KeyObject): Uint8Array {
  return parent.certifyAuthority({
    publicKey,
    subject: creation.subject,
    ...(creation.pathLength === undefined ? {} : { pathLength: creation.pathLength }),
    validityMs: creation.validityMs ?? 5 * YEAR_MS,
  }).der;
}
