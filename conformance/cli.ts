// `x1410 conformance`: the kit on the command line. Each verb's code is loaded only when it is asked for.
import { Command } from "commander";

interface Verb {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<Command>;
}

const VERBS: readonly Verb[] = [
  {
    name: "run",
    description: "perform test purposes and give each its verdict",
    load: async () => (await import("./commands/run.ts")).runCommand(),
  },
  {
    name: "list",
    description: "list the test purposes",
    load: async () => (await import("./commands/list.ts")).listCommand(),
  },
  {
    name: "explain",
    description: "say what a test purpose is for, what it does and what it expects",
    load: async () => (await import("./commands/explain.ts")).explainCommand(),
  },
  {
    name: "pics",
    description: "state what an implementation supports",
    load: async () => (await import("./commands/pics.ts")).picsCommand(),
  },
  {
    name: "harness",
    description: "prepare the kit's own peers, certificates and a target file for an implementation",
    load: async () => (await import("./commands/harness.ts")).harnessCommand(),
  },
  {
    name: "sign",
    description: "seal a report, with the statements it was made with, as CMS SignedData",
    load: async () => (await import("./commands/sign.ts")).signCommand(),
  },
  {
    name: "verify",
    description: "verify evidence: seal, signer, every part, and that the report follows from its results",
    load: async () => (await import("./commands/verify.ts")).verifyCommand(),
  },
];

/** @param words of the command line that are no options, from the verb on */
export async function conformanceCommand([first, second]: readonly string[]): Promise<Command> {
  const wanted = first === "help" ? second : first;
  const command = new Command("conformance").description("test an implementation of X.1410, whole or in part");
  for (const { name, description, load } of VERBS) {
    const verb = name === wanted ? await load() : new Command(name);
    command.addCommand(verb.description(description));
  }
  return command;
}
