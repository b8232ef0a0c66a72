// `x1410 conformance`: the kit on the command line.
import { Command } from "commander";
import { explainCommand } from "./commands/explain.ts";
import { harnessCommand } from "./commands/harness.ts";
import { listCommand } from "./commands/list.ts";
import { picsCommand } from "./commands/pics.ts";
import { runCommand } from "./commands/run.ts";

export function conformanceCommand(): Command {
  const command = new Command("conformance").description("test an implementation of X.1410, whole or in part");
  for (const verb of [runCommand(), listCommand(), explainCommand(), picsCommand(), harnessCommand()])
    command.addCommand(verb);
  return command;
}
