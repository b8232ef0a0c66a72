// `x1410 conformance pics`: the proforma of an entity, to fill in, and the static review of one that was filled in.
import { writeFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { exitCodes } from "../conclusion.ts";
import { proforma, proformaText, readPics, staticReview } from "../pics.ts";
import { profile, recommendation } from "../suite.ts";
import { type TestedRole, testedRoles } from "../target.ts";

export function picsCommand(): Command {
  const command = new Command("pics");
  command
    .command("init")
    .description("write the proforma of an entity")
    .addOption(new Option("--entity <name>", "which").choices(testedRoles).makeOptionMandatory())
    .option("-o, --out <file>", "where to; default: standard output")
    .addOption(new Option("--output <file>", "the former name of --out").hideHelp())
    .action(async (options: { entity: TestedRole; out?: string; output?: string }) => {
      const { entity, out: output = options.output } = options;
      const text = proformaText(entity, recommendation, profile);
      if (output === undefined) process.stdout.write(text);
      else await writeFile(output, text, { flag: "wx" });
    });
  command
    .command("review")
    .description("the static conformance review of a statement")
    .argument("<file>", "filled in")
    .action(async (file: string) => {
      const pics = await readPics(file);
      const findings = staticReview(pics);
      for (const { item, clause, text } of findings)
        process.stdout.write(`FAIL   ${item} (clause ${clause}): ${text}\n`);
      process.stdout.write(
        `${pics.entity}: ${pics.supported.size} of ${proforma(pics.entity).length} items supported, ${findings.length} findings\n`,
      );
      process.exitCode = findings.length === 0 ? exitCodes.passed : exitCodes.failed;
    });
  return command;
}
