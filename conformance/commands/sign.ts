// `x1410 conformance sign`: makes evidence of a report.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { fromPem } from "../../certs/der.ts";
import { parsePrivateKey } from "../../certs/key-pair.ts";
import { sealName, signEvidence } from "../evidence/evidence.ts";

interface SignCommandOptions {
  readonly pics: string[];
  readonly key: string;
  readonly certificate: string;
  readonly out: string;
}

export function signCommand(): Command {
  return new Command("sign")
    .argument("<report>", "as run --json wrote it")
    .option("--pics <file...>", "the statements", [])
    .requiredOption("--key <file>", "of whoever vouches for the run: PKCS #8 in PEM")
    .requiredOption("--certificate <file>", "the certificate with its intermediates, PEM")
    .requiredOption("--out <folder>", "where the evidence goes")
    .addHelpText(
      "after",
      `\nThe seal is <folder>/${sealName}; without the kit, its signature is verified by\n` +
        `  openssl cms -verify -inform DER -in ${sealName} -CAfile ca.pem -purpose any`,
    )
    .action(sign);
}

async function sign(report: string, { pics, key, certificate, out }: SignCommandOptions): Promise<void> {
  const identity = {
    privateKey: parsePrivateKey(await readFile(key, "utf8")),
    chain: fromPem("CERTIFICATE", await readFile(certificate, "utf8")),
  };
  const { conformance, target } = await signEvidence({ report, pics, identity, out, now: () => new Date() });
  process.stdout.write(`${join(out, sealName)}: ${target.name}, ${conformance}\n`);
}
