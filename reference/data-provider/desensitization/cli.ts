import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { access, constants, rename, rm, writeFile } from "node:fs/promises";
import { extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { Command, Option } from "commander";
import { DesensitizationError } from "./desensitization-error.ts";
import { desensitize } from "./desensitize.ts";
import { pseudonymizationKeyFile } from "./pseudonymization-key.ts";
import { namingRuleFile, readRules } from "./rule-file.ts";
import { FORMATS, type Format } from "./rules.ts";

interface Options {
  readonly rules: string;
  readonly in: string;
  readonly out: string;
  readonly report?: string;
  readonly format?: Format;
  readonly key?: string;
  readonly force?: true;
}

/**
 * `x1410 provider desensitize`: treats a file by a rule file. A refusal is one line on stderr and exit code 1, and then
 * there is no output file: it takes its name only when it is complete.
 */
export function desensitizeCommand(): Command {
  return new Command("desensitize")
    .description("drop, mask, pseudonymize and generalize what identifies people in CSV or JSON Lines")
    .requiredOption("--rules <file>", "what to do with which columns or paths, YAML or JSON")
    .requiredOption("--in <file>", "raw data")
    .requiredOption("--out <file>", "where the desensitized data goes")
    .option("--force", "replace --out where it exists")
    .option("--report <file>", "where the counts of what was done go, JSON (default: the terminal, in short)")
    .option("--key <file>", "key of the pseudonyms; made if absent (default: a key forgotten after this run)")
    .addOption(new Option("--format <format>", "format of the data (default: by the name of --in)").choices(FORMATS))
    .action(async function (this: Command, options: Options) {
      try {
        await run(options, (line) => this.configureOutput().writeOut?.(`${line}\n`));
      } catch (error) {
        const refused = error instanceof DesensitizationError;
        const { syscall, code: cause } = error as NodeJS.ErrnoException;
        if (!refused && syscall === undefined) throw error;
        const code = refused ? error.code : "storage_failed";
        const text = refused ? error.message : `cannot write ${options.out} (${cause}); name another --out or --report`;
        this.error(`x1410 provider desensitize: ${text}`, { exitCode: 1, code: `x1410.${code}` });
      }
    });
}

async function run(options: Options, print: (line: string) => void): Promise<void> {
  if (!options.force && existsSync(options.out))
    throw new DesensitizationError("output_exists", `${options.out}; name another --out, or replace it with --force`);
  const rules = readRules(options.rules);
  await access(options.in, constants.R_OK).catch(({ code }: NodeJS.ErrnoException) => {
    throw new DesensitizationError("unreadable_input", `${options.in} (${code}); name another --in`);
  });
  const key = options.key === undefined ? {} : { pseudonymizationKey: pseudonymizationKeyFile(options.key) };
  const format = options.format ?? formatOf(options.in);
  const { output, report } = desensitize(createReadStream(options.in), rules, { format, ...key });
  const partial = `${options.out}.partial`;
  try {
    await pipeline(output, createWriteStream(partial, { mode: 0o600, flush: true }));
    await rename(partial, options.out);
  } catch (error) {
    await rm(partial, { force: true });
    throw namingRuleFile(options.rules, error);
  }
  const counts = await report;
  if (options.report !== undefined) await writeFile(options.report, `${JSON.stringify(counts, undefined, 2)}\n`);
  else {
    for (const { field, action, changed, values, matches } of counts.fields) {
      const found = Object.entries(matches).map(([kind, count]) => `${count} ${kind}`);
      print(`${field}: ${action}, ${changed} of ${values} values changed ${found.join(", ")}`.trimEnd());
    }
    print(`${counts.records} records`);
  }
}

function formatOf(path: string): Format {
  return [".jsonl", ".ndjson"].includes(extname(path).toLowerCase()) ? "jsonl" : "csv";
}
