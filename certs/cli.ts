import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { IssuedEntry } from "./authority.ts";
import { makePrivateDirectory, PRIVATE_FILE, PUBLIC_FILE, writeDurably } from "./durable-file.ts";
import { formatIdentity, ROLES, type Role } from "./identity.ts";
import { REVOCATION_REASONS, type RevocationReason } from "./issuance-log.ts";
import { KEY_ALGORITHMS, type KeyAlgorithm } from "./key-pair.ts";
import { createPki, isPki, type Pki } from "./pki.ts";
import { PkiError } from "./pki-error.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

type DirectoryOption = { dir: string };

/**
 * `x1410 certs`: the PKI of a directory from the command line. A refusal is one line on stderr and exit code 1.
 * Private keys go to files of mode 0600, never to the terminal.
 */
export function certsCommand(): Command {
  const certs = new Command("certs").description("create and run the certification authority of a deployment");
  addInit(certs);
  addIssue(certs);
  addRevoke(certs);
  addCrl(certs);
  addShow(certs);
  return certs;
}

function addInit(certs: Command): void {
  verb(certs, "init", "create root and issuing authority")
    .addOption(new Option("--key <algorithm>", "algorithm of the authorities' keys").choices(KEY_ALGORITHMS))
    .option("--organization <name>", "organization in the authorities' names")
    .option("--publication-uri <uri>", "where certificates say that lists and OCSP responders are", parseHttpUri)
    .action(
      action(
        (print, options: DirectoryOption & { key?: KeyAlgorithm; organization?: string; publicationUri?: string }) => {
          if (isPki(options.dir)) throw new PkiError("would_overwrite", `the PKI in ${options.dir}`);
          const { dir, key, organization, publicationUri } = options;
          const pki = createPki(dir, {
            ...(key === undefined ? {} : { keyAlgorithm: key }),
            ...(organization === undefined ? {} : { organization }),
            ...(publicationUri === undefined ? {} : { publicationUri }),
          });
          print(`root certificate  ${join(dir, "root", "certificate.pem")}`);
          print(`fingerprint       ${pki.root.certificate.x509.fingerprint256}`);
        },
      ),
    );
}

type IssueOptions = DirectoryOption & {
  role: Role;
  name: string;
  host: string[];
  csr?: string;
  out?: string;
  days?: number;
  key?: KeyAlgorithm;
};

function addIssue(certs: Command): void {
  verb(certs, "issue", "issue a certificate, for a new key pair or from a certification request")
    .addOption(new Option("--role <role>", "who it is for").choices(ROLES).makeOptionMandatory())
    .requiredOption("--name <name>", "name in the identity, as in urn:x1410:user:<name>")
    .option("--host <host...>", "further DNS names and IP addresses of a server", [])
    .option("--csr <file>", "PKCS#10 request (PEM or DER) of a key pair made elsewhere")
    .option("--out <directory>", "where to write the files (default: ./<name>)")
    .option("--days <n>", "days of validity", parseDays)
    .addOption(new Option("--key <algorithm>", "algorithm of a new key pair").choices(KEY_ALGORITHMS).conflicts("csr"))
    .action(
      action((print, options: IssueOptions) => {
        const pki = open(options.dir);
        const grant = {
          role: options.role,
          identity: formatIdentity(options.role, options.name),
          dnsNames: options.host,
        };
        const validity = options.days === undefined ? {} : { validityMs: options.days * DAY_MS };
        const out = options.out ?? options.name;
        const file = (name: string): string => join(out, name);
        // A key overwritten is a key lost.
        if (options.csr === undefined && existsSync(file("key.pem"))) {
          throw new PkiError("would_overwrite", `${file("key.pem")}; choose another directory with --out`);
        }
        let certificatePem: string;
        if (options.csr === undefined) {
          const key = options.key === undefined ? {} : { keyAlgorithm: options.key };
          const material = pki.issueIdentity({ ...grant, ...validity, ...key });
          certificatePem = material.certificatePem;
          makePrivateDirectory(out);
          writeDurably(file("key.pem"), material.privateKeyPem, PRIVATE_FILE);
        } else {
          certificatePem = pki.intermediate.issue(readRequest(options.csr), grant, validity).pem;
          makePrivateDirectory(out);
        }
        writeDurably(file("certificate.pem"), certificatePem, PUBLIC_FILE);
        writeDurably(file("chain.pem"), certificatePem + pki.intermediate.pem, PUBLIC_FILE);
        writeDurably(file("ca.pem"), pki.caPem, PUBLIC_FILE);
        writeDurably(file("crl.pem"), pki.crlPem, PUBLIC_FILE);
        print(`identity     ${grant.identity}`);
        print(`certificate  ${file("certificate.pem")}`);
      }),
    );
}

function addRevoke(certs: Command): void {
  verb(certs, "revoke", "revoke a certificate, or all of an identity, and make a new list")
    .argument("[certificate]", "serial number or SHA-256 fingerprint, hexadecimal")
    .option("--identity <uri>", "every certificate of this identity that has not expired, renewals included")
    .addOption(new Option("--reason <reason>", "why").choices(Object.keys(REVOCATION_REASONS)).default("unspecified"))
    .action(
      action((print, selector: string | undefined, options: RevokeOptions) => {
        const { dir, identity, reason } = options;
        if ((selector === undefined) === (identity === undefined)) {
          throw new PkiError("nothing_selected", "give a serial number or fingerprint, or --identity");
        }
        const pki = open(dir);
        // A certificate of the issuing authority itself is the root's to revoke.
        const ofRoot = selector !== undefined && pki.intermediate.find(selector) === undefined;
        const authority = ofRoot ? pki.root : pki.intermediate;
        if (selector !== undefined) {
          const { serialNumber, revokedAt } = authority.revoke(selector, reason);
          print(`revoked ${serialNumber} at ${revokedAt}`);
        }
        for (const entry of identity === undefined ? [] : authority.revokeIdentity(identity, reason)) {
          print(`revoked ${entry.serialNumber} at ${entry.revocation?.revokedAt}`);
        }
        authority.crl();
        if (identity !== undefined)
          print("an enrolment that is open stands; `x1410 operator revoke-user` ends it, too");
        print(`list    ${join(authority.directory, "crl.pem")}`);
      }),
    );
}

type RevokeOptions = DirectoryOption & { identity?: string; reason: RevocationReason };

function addCrl(certs: Command): void {
  verb(certs, "crl", "print the current revocation lists of both authorities, or write them to a file")
    .option("--out <file>", "file for the lists, PEM")
    .action(
      action((print, options: DirectoryOption & { out?: string }) => {
        const { crlPem } = open(options.dir);
        if (options.out === undefined) print(crlPem.trimEnd());
        else writeDurably(options.out, crlPem, PUBLIC_FILE);
      }),
    );
}

function addShow(certs: Command): void {
  verb(certs, "show", "list the certificates issued, or show one")
    .argument("[certificate]", "serial number or SHA-256 fingerprint, hexadecimal")
    .option("--json", "one JSON object per line")
    .action(
      action((print, selector: string | undefined, options: DirectoryOption & { json?: boolean }) => {
        const pki = open(options.dir);
        const entries = [...pki.root.list(), ...pki.intermediate.list()];
        const found = selector === undefined ? undefined : (pki.root.find(selector) ?? pki.intermediate.find(selector));
        if (selector !== undefined && found === undefined) {
          throw new PkiError("unknown_certificate", JSON.stringify(selector));
        }
        for (const entry of found === undefined ? entries : [found]) {
          print(options.json ? JSON.stringify(entry) : describe(entry));
        }
      }),
    );
}

function describe({ serialNumber, profile, identity, notAfter, revocation }: IssuedEntry): string {
  const lapsed = new Date(notAfter) < new Date();
  const state = revocation !== undefined ? `revoked (${revocation.reason})` : lapsed ? "expired" : "good";
  return `${serialNumber}  until ${notAfter}  ${state}  ${identity ?? profile}`;
}

function verb(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option("--dir <directory>", "the PKI's directory", "./x1410-certs");
}

/** Runs an action with the command's own output, and turns a refusal into one line and exit code 1. */
function action<A extends unknown[]>(run: (print: (line: string) => void, ...received: A) => void) {
  return function (this: Command, ...received: unknown[]): void {
    const write = this.configureOutput().writeOut ?? ((text: string) => process.stdout.write(text));
    try {
      // commander appends the command itself after arguments and options.
      run((line) => void write(`${line}\n`), ...(received.slice(0, -1) as A));
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.error(`x1410 certs ${this.name()}: ${error.message}`, { exitCode: 1, code: `x1410.${error.code}` });
    }
  };
}

function open(directory: string): Pki {
  if (!isPki(directory)) {
    throw new PkiError("no_pki", `${directory}; create one with: x1410 certs init --dir ${directory}`);
  }
  return createPki(directory);
}

/** PEM as text, DER as bytes. */
function readRequest(path: string): Uint8Array | string {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    throw new PkiError("storage_failed", `${path} (${(error as NodeJS.ErrnoException).code ?? error})`, {
      cause: error,
    });
  }
  return content.subarray(0, 5).toString("latin1") === "-----" || content.includes("-----BEGIN")
    ? content.toString("utf8")
    : content;
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!(days > 0 && days <= 3650)) throw new InvalidArgumentError("a number of days between 0 and 3650 is needed.");
  return days;
}

function parseHttpUri(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new InvalidArgumentError("an http or https URI is needed.");
  }
  return text;
}
