// A user's side under test, as a campaign has it: its role, its commands, and the kit's servers around it.
import type { ClientRole } from "../target.ts";
import type { ClientProcess, StartClient } from "./client-process.ts";
import { startProcess } from "./client-process.ts";
import type { ClientCommand, Commands, Values } from "./command-template.ts";
import { environmentOf, filled } from "./command-template.ts";
import type { Counterparts } from "./counterparts.ts";

export interface ClientSettings {
  readonly name: string;
  readonly role: ClientRole;
  readonly commands: Commands;
  /** For one command, from its start to its end. */
  readonly commandSeconds: number;
}

/** Performs a command with the values that the kit has made for it. */
export type PerformCommand = (
  command: ClientCommand,
  values: Values,
  run: { readonly timeoutMs: number; readonly signal: AbortSignal },
) => ClientProcess;

export class ClientBench {
  readonly settings: ClientSettings;
  readonly counterparts: Counterparts;
  readonly perform: PerformCommand;
  readonly #over = new AbortController();
  readonly #twins = new Map<string, Promise<void>>();

  /** @param perform default: the command template, filled in, in a shell */
  constructor(settings: ClientSettings, counterparts: Counterparts, perform?: PerformCommand) {
    this.settings = settings;
    this.counterparts = counterparts;
    const performed = perform ?? shell(settings.commands, startProcess);
    this.perform = (command, values, { timeoutMs, signal }) =>
      performed(command, values, { timeoutMs, signal: AbortSignal.any([signal, this.#over.signal]) });
  }

  /** Ends every command that still runs. */
  stop(): void {
    this.#over.abort();
  }

  /** The commands that the client has. */
  get commands(): ReadonlySet<string> {
    return new Set(Object.keys(this.settings.commands));
  }

  /** Whether the client does what is asked where nothing is wrong: tried once for the campaign, and known to every purpose. */
  twin(name: string, attempt: () => Promise<void>): Promise<void> {
    const known = this.#twins.get(name);
    if (known !== undefined) return known;
    const tried = attempt();
    this.#twins.set(name, tried);
    return tried;
  }
}

function shell(commands: Commands, start: StartClient): PerformCommand {
  return (command, values, run) =>
    start({ command: filled(commands[command] ?? "", values), environment: environmentOf(values), ...run });
}
