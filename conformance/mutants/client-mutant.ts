// A faulty user's side: the reference's source with a few lines of it changed as it is loaded, named after what it breaks.
import { Worker } from "node:worker_threads";
import type { PerformCommand } from "../clients/client-bench.ts";
import type { ClientProcess, Ended } from "../clients/client-process.ts";
import { type ClientCommand, placeholderValue, referenceArguments, type Values } from "../clients/command-template.ts";
import type { PurposeId } from "../purposes/purpose.ts";
import type { ClientRole } from "../target.ts";

/** A change of one source file; what is to be found must be there once. */
export interface Edit {
  /** From the root of the project. */
  readonly file: string;
  readonly find: string;
  readonly instead: string;
}

export interface ClientMutant {
  /** e.g. "dc-reports-no-usage". */
  readonly id: string;
  readonly clause: string;
  /** What is wrong, in a sentence. */
  readonly breaks: string;
  readonly role: ClientRole;
  /** The purposes that must find it: each of them has to fail on it. */
  readonly foundBy: readonly [PurposeId, ...PurposeId[]];
  readonly edits: readonly Edit[];
}

/** What a worker is told, and tells. */
export interface Order {
  readonly args: readonly string[];
}
export type Told =
  | { readonly fault: string }
  | { readonly stdout: string }
  | { readonly code: number; readonly stderr: string };

/** Who listens to a thread at the moment; its own listeners stay, for a worker without any stops delivering. */
interface Thread {
  readonly worker: Worker;
  told: (told: Told) => void;
  gone: (why: string) => void;
}

/** The reference's commands as the mutant has them, in threads of this process: each loads its modules once, for many commands. */
export class MutantClient {
  readonly #mutant: ClientMutant;
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Worker>();
  #fault: string | undefined;

  constructor(mutant: ClientMutant) {
    this.#mutant = mutant;
  }

  /** Why the changed source does not load: then nothing was tried. */
  get fault(): string | undefined {
    return this.#fault;
  }

  get perform(): PerformCommand {
    return (command, values, { timeoutMs, signal }) => this.#perform(command, values, timeoutMs, signal);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #perform(command: ClientCommand, values: Values, timeoutMs: number, signal: AbortSignal): ClientProcess {
    const thread = this.#idle.pop() ?? this.#start();
    const { worker } = thread;
    let stdout = "";
    let timedOut = false;
    const terminate = () => void worker.terminate();
    const deadline = setTimeout(() => {
      timedOut = true;
      terminate();
    }, timeoutMs);
    signal.addEventListener("abort", terminate, { once: true });
    const ended = new Promise<Ended>((resolve) => {
      const end = (code: number | undefined, stderr: string) => {
        clearTimeout(deadline);
        signal.removeEventListener("abort", terminate);
        resolve({ code, timedOut, stdout, stderr });
      };
      thread.told = (told) => {
        if ("stdout" in told) stdout += told.stdout;
        else if ("fault" in told) {
          this.#fault = told.fault;
          end(1, told.fault);
        } else {
          this.#idle.push(thread);
          end(told.code, told.stderr);
        }
      };
      thread.gone = (why) => end(undefined, why);
    });
    worker.postMessage({ args: argumentsOf(this.#mutant.role, command, values) } satisfies Order);
    return {
      get stdout() {
        return stdout;
      },
      ended,
      async stop() {
        await worker.terminate();
        await ended;
      },
    };
  }

  #start(): Thread {
    const worker = new Worker(new URL("./client-worker.ts", import.meta.url), {
      workerData: this.#mutant,
      execArgv: [],
    });
    this.#all.add(worker);
    const thread: Thread = { worker, told: () => {}, gone: () => {} };
    let why = "";
    worker.on("message", (told: Told) => thread.told(told));
    worker.on("error", (cause) => {
      why = cause instanceof Error ? cause.message : String(cause);
    });
    worker.on("exit", () => {
      this.#all.delete(worker);
      thread.gone(why);
    });
    return thread;
  }
}

function argumentsOf(role: ClientRole, command: ClientCommand, values: Values): string[] {
  const words = referenceArguments[role][command]?.split(" ") ?? [];
  return words.map((word) => word.replace(/^\{(\w+)\}$/, (_, name: string) => placeholderValue(name, values)));
}
