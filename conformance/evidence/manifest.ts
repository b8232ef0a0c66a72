// What a seal covers: each part by its digest, and what the report says in short, so that whoever holds only the seal knows what it is of.
import { createHash } from "node:crypto";
import type { Report } from "../report/report.ts";
import { EvidenceError } from "./evidence-error.ts";

export interface Part {
  /** Name in the folder of the evidence. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The same report and parts give the same bytes: whoever verifies makes the manifest anew and compares. */
export function manifestOf(report: Report, parts: readonly Part[]): Uint8Array {
  const { kit, suite, target, run, verdict, conformance } = report;
  const manifest = {
    format: "x1410-conformance-evidence/1",
    conformance,
    verdict,
    recommendation: suite.recommendation,
    profile: suite.profile,
    suite: { version: suite.version, sha256: suite.hash, frozen: suite.frozen },
    kit: kit.version,
    startedAt: run.startedAt,
    target: target.name,
    certificates: target.entities.map(({ role, identity, certificateSha256 }) => ({
      role,
      identity,
      sha256: certificateSha256,
    })),
    parts: parts.map(({ name, bytes }) => ({ name, bytes: bytes.length, sha256: sha256(bytes) })),
  };
  return new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 2)}\n`);
}

/**
 * Names and digests of a sealed manifest, to say which part differs.
 * @throws EvidenceError manifest_altered
 */
export function sealedParts(manifest: Uint8Array): ReadonlyMap<string, string> {
  try {
    const { parts } = JSON.parse(new TextDecoder().decode(manifest)) as {
      parts: readonly { readonly name: unknown; readonly sha256: unknown }[];
    };
    return new Map(parts.map(({ name, sha256: digest }) => [String(name), String(digest)]));
  } catch (cause) {
    throw new EvidenceError("manifest_altered", `no manifest: ${(cause as Error).message}`);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
