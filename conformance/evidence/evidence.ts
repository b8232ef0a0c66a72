// Evidence: a folder with the report, the supplier's statements, and a seal over all of them.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { identityOf } from "../../certs/identity.ts";
import { PkiError } from "../../certs/pki-error.ts";
import { readPics } from "../pics.ts";
import type { Purpose } from "../purposes/purpose.ts";
import type { Report } from "../report/report.ts";
import { parseReport, ReportError } from "../report/report-json.ts";
import { purposes as suite } from "../suite.ts";
import { EvidenceError } from "./evidence-error.ts";
import { manifestOf, type Part, sealedParts, sha256 } from "./manifest.ts";
import { recompute } from "./recomputation.ts";
import { open, type SealingIdentity, seal } from "./signed-data.ts";

export const sealName = "evidence.p7s";
const reportName = "report.json";
/** Peers' clocks may differ by this much. */
const SKEW_MS = 60_000;

export interface SignOptions {
  /** Path of the report in JSON. */
  readonly report: string;
  /** Paths of the statements that the report was made with. */
  readonly pics: readonly string[];
  readonly identity: SealingIdentity;
  /** Folder that becomes the evidence. */
  readonly out: string;
  readonly now: () => Date;
  /** The suite that the report was made with; default: this kit's. */
  readonly purposes?: readonly Purpose[];
}

/**
 * Copies report and statements into a folder and seals them. A report that would not be believed is not sealed.
 * @throws EvidenceError report_invalid, report_inconsistent, other_suite, statement_mismatch
 */
export async function signEvidence({
  report,
  pics,
  identity,
  out,
  now,
  purposes = suite,
}: SignOptions): Promise<Report> {
  const parts: Part[] = [{ name: reportName, bytes: await readFile(report) }];
  for (const path of pics) parts.push({ name: `pics-${basename(path)}`, bytes: await readFile(path) });
  if (new Set(parts.map(({ name }) => name)).size < parts.length)
    throw new EvidenceError("statement_mismatch", "two statements have the same file name");
  const believed = await believedReport(parts, pics, purposes);
  await mkdir(out, { recursive: true });
  for (const { name, bytes } of parts) await writeFile(join(out, name), bytes);
  await writeFile(join(out, sealName), seal(manifestOf(believed, parts), identity, now()));
  return believed;
}

export interface VerifyOptions {
  readonly folder: string;
  /** PEM of the authorities whose signers are believed. */
  readonly trustAnchorsPem: string;
  /** PEM; where given, every authority on the path needs a current one. */
  readonly revocationListsPem?: string;
  readonly now: () => Date;
  /** The suite that the report was made with; default: this kit's. */
  readonly purposes?: readonly Purpose[];
}

/** Evidence that was verified; only `verifyEvidence` makes one. */
export class VerifiedEvidence {
  readonly report: Report;
  /** The one URI of the signer's certificate. */
  readonly signer: string;
  readonly signedAt: Date;
  /** Of the seal. */
  readonly sha256: string;

  constructor(report: Report, signer: string, signedAt: Date, digest: string) {
    this.report = report;
    this.signer = signer;
    this.signedAt = signedAt;
    this.sha256 = digest;
  }
}

/**
 * Verifies the seal, its signer, every part, and that the report follows from its results.
 * @throws EvidenceError
 */
export async function verifyEvidence(options: VerifyOptions): Promise<VerifiedEvidence> {
  const { folder, now, purposes = suite } = options;
  const der = await part(folder, sealName);
  const { content, signedAt, signer, others } = open(der);
  assertTrusted(signer.der, others, signedAt, options);
  const parts = await sealed(folder, content);
  const pics = parts.slice(1).map(({ name }) => join(folder, name));
  const report = await believedReport(parts, pics, purposes);
  if (Buffer.compare(manifestOf(report, parts), content) !== 0)
    throw new EvidenceError("manifest_altered", "the manifest made anew is another");
  const ended = Date.parse(report.run.startedAt) + report.run.durationMs;
  if (signedAt.getTime() < ended - SKEW_MS) throw new EvidenceError("time_implausible", "sealed before the run ended");
  if (signedAt.getTime() > now().getTime() + SKEW_MS)
    throw new EvidenceError("time_implausible", "sealed in the future");
  return new VerifiedEvidence(report, identityOf(signer.x509) ?? "", signedAt, sha256(der));
}

function assertTrusted(
  signer: Uint8Array,
  intermediates: readonly Uint8Array[],
  signedAt: Date,
  { trustAnchorsPem, revocationListsPem, now }: VerifyOptions,
): void {
  try {
    new ChainVerifier({
      trustAnchors: trustAnchorsPem,
      intermediates,
      now,
      crlsRequired: revocationListsPem !== undefined,
      ...(revocationListsPem !== undefined && { crls: revocationListsPem }),
    }).verifyAt(signer, signedAt);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new EvidenceError("signer_untrusted", cause.message, { cause });
  }
}

/** The parts that the manifest names, the report first, each with the digest that it was sealed with. */
async function sealed(folder: string, manifest: Uint8Array): Promise<Part[]> {
  const parts: Part[] = [];
  for (const [name, digest] of sealedParts(manifest)) {
    if (basename(name) !== name || (parts.length === 0 && name !== reportName))
      throw new EvidenceError("manifest_altered", `${JSON.stringify(name)} is no name of a part`);
    const bytes = await part(folder, name);
    if (sha256(bytes) !== digest) throw new EvidenceError("part_altered", name);
    parts.push({ name, bytes });
  }
  return parts;
}

function part(folder: string, name: string): Promise<Uint8Array> {
  return readFile(join(folder, name)).catch((cause: NodeJS.ErrnoException) => {
    throw new EvidenceError("part_missing", `${join(folder, name)} (${cause.code})`);
  });
}

/** The report of the first part, where it follows from its results and from the statements. */
async function believedReport(
  [first]: readonly Part[],
  pics: readonly string[],
  purposes: readonly Purpose[],
): Promise<Report> {
  let report: Report;
  try {
    report = parseReport(new TextDecoder("utf-8", { fatal: true }).decode(first?.bytes), reportName);
  } catch (cause) {
    if (!(cause instanceof ReportError || cause instanceof TypeError)) throw cause;
    throw new EvidenceError("report_invalid", cause.message);
  }
  for (const path of pics) {
    const { entity, implementation, supported } = await readPics(path);
    const stated = report.statements.find((one) => one.entity === entity && one.given);
    const same =
      stated !== undefined &&
      stated.implementation === implementation &&
      stated.supported.length === supported.size &&
      stated.supported.every((item) => supported.has(item));
    if (!same) throw new EvidenceError("statement_mismatch", `${basename(path)}, of the ${entity}`);
  }
  recompute(report, purposes);
  return report;
}
