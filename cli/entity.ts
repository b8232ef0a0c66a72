// `x1410 entity`: one entity of a deployment that `x1410 up` runs in a process of its own; not for people.
import { Command } from "commander";
import { serveEntity } from "../reference/stack/entity-process.ts";
import { faultLog, standardErrorLog } from "../reference/stack/standard-error-log.ts";

export function entityCommand(): Command {
  return new Command("entity")
    .description("serve one entity, as `x1410 up` orders it to on standard input")
    .option("--verbose", "log all that it does, not faults alone, on standard error")
    .action(({ verbose }: { verbose?: true }) => serveEntity(verbose ? standardErrorLog : faultLog()));
}
