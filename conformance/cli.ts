// `x1410 conformance`: the kit on the command line.
import { Command } from "commander";
import { explainCommand } from "./commands/explain.ts";
import { harnessCommand } from "./commands/harness.ts";
import { listCommand } from "./commands/list.ts";
import { picsCommand } from "./commands/pics.ts";
import { runCommand } from "./commands/run.ts";
import { signCommand } from "./commands/sign.ts";
import { verifyCommand } from "./commands/verify.ts";

export function conformanceCommand(): Command {
  const command = new Command("conformance").description("test an implementation of X.1410, whole or in part");
  const verbs = [runCommand(), listCommand(), explainCommand(), picsCommand(), harnessCommand()];
  for (const verb of [...verbs, signCommand(), verifyCommand()]) command.addCommand(verb);
  return command;
}
