// `x1410 conformance verify`: whether evidence may be believed, and the badge where it may.
import { readFile, writeFile } from "node:fs/promises";
import { Command } from "commander";
import { fromPem } from "../../certs/der.ts";
import { exitCodes } from "../conclusion.ts";
import { badgeSvg } from "../evidence/badge.ts";
import { verifyEvidence } from "../evidence/evidence.ts";
import { EvidenceError } from "../evidence/evidence-error.ts";

interface VerifyCommandOptions {
  readonly trust: string;
  readonly crl?: string;
  readonly badge?: string;
}

export function verifyCommand(): Command {
  return new Command("verify")
    .argument("<folder>", "as sign made it")
    .requiredOption("--trust <file>", "authorities whose signers are believed, PEM")
    .option("--crl <file>", "their revocation lists, PEM; where given, every authority needs a current one")
    .option("--badge <file>", "write a badge (SVG), where the evidence says conformant")
    .addHelpText("after", "\nExit codes: 0 verified; 1 not believed, or no badge for it; 3 a file cannot be used.")
    .action(verify);
}

/** What `--trust` names cannot be used; no word on the evidence. */
class TrustFileError extends Error {
  override name = "TrustFileError";
}

async function authorities(path: string): Promise<string> {
  const pem = await readFile(path, "utf8");
  if (fromPem("CERTIFICATE", pem).length === 0) throw new TrustFileError(`no certificate in ${path}`);
  return pem;
}

async function verify(folder: string, { trust, crl, badge }: VerifyCommandOptions): Promise<void> {
  try {
    const evidence = await verifyEvidence({
      folder,
      trustAnchorsPem: await authorities(trust),
      ...(crl !== undefined && { revocationListsPem: await readFile(crl, "utf8") }),
      now: () => new Date(),
    });
    const { report, signer, signedAt } = evidence;
    process.stdout.write(
      `verified: ${report.target.name}, ${report.conformance} to ${report.suite.recommendation}, profile ${report.suite.profile}\n` +
        `suite ${report.suite.version}, ${report.suite.frozen === "" ? "not a frozen list of purposes" : `frozen list ${report.suite.frozen}`}\n` +
        `sealed by ${signer} at ${signedAt.toISOString()}\n`,
    );
    for (const { role, identity, certificateSha256 } of report.target.entities)
      process.stdout.write(`${role.padEnd(4)} ${identity}, certificate SHA-256 ${certificateSha256}\n`);
    if (badge !== undefined) await writeFile(badge, badgeSvg(evidence));
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause;
    process.stderr.write(`x1410: ${cause.message}\n`);
    process.exitCode = exitCodes.failed;
  }
}
