// The badge: only from evidence that was verified, and only where it says conformant.
import { markup } from "../report/markup.ts";
import { VerifiedEvidence } from "./evidence.ts";
import { EvidenceError } from "./evidence-error.ts";

const CHARACTER = 6.6;

/** @throws EvidenceError not_conformant */
export function badgeSvg(evidence: VerifiedEvidence): string {
  if (!(evidence instanceof VerifiedEvidence)) throw new EvidenceError("not_conformant", "it was not verified");
  const { report, signer, signedAt, sha256 } = evidence;
  if (report.conformance !== "conformant") throw new EvidenceError("not_conformant", `it says ${report.conformance}`);
  const entities = report.target.entities.map(({ role }) => role.toUpperCase()).join(" ");
  const [left, right] = ["ITU-T X.1410", `${entities} conformant`];
  const [first, second] = [left, right].map((text) => Math.ceil(text.length * CHARACTER) + 16) as [number, number];
  const width = first + second;
  const day = signedAt.toISOString().slice(0, 10);
  const title = `${report.target.name}: ${entities} conformant to ${report.suite.recommendation}, profile ${report.suite.profile}, suite ${report.suite.version}; sealed ${day} by ${signer}; seal SHA-256 ${sha256}`;
  return markup`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="22" viewBox="0 0 ${width} 22" role="img" aria-label="${title}"><title>${title}</title><clipPath id="r"><rect width="${width}" height="22" rx="4"/></clipPath><g clip-path="url(#r)"><rect width="${first}" height="22" fill="#30363d"/><rect x="${first}" width="${second}" height="22" fill="#1a7437"/></g><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="${first / 2}" y="15" textLength="${first - 16}">${left}</text><text x="${first + second / 2}" y="15" textLength="${second - 16}">${right}</text></g></svg>
`.text;
}
