// The whole stack in a process of its own, as a newcomer starts it, to be killed at any instant and started again on what it leaves.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

/** What `x1410 up --json` prints when it is ready, as far as it is used here. */
export interface Ready {
  readonly entities: Readonly<Record<string, ReadyEntity>>;
  readonly users: Readonly<
    Record<
      "provider" | "consumer",
      { readonly profile: string; readonly certificate: string; readonly privateKey: string }
    >
  >;
  readonly trustAnchor: string;
  readonly targetFile: string;
}

export interface ReadyEntity {
  readonly identity: string;
  readonly endpoint: string;
  /** File with the chain. */
  readonly certificate: string;
  readonly exposureEndpoint?: string;
  readonly enrolmentEndpoint?: string;
}

/** How the command has ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it said on standard error. */
  readonly errors: string;
}

const command = fileURLToPath(new URL("../../bin/x1410.js", import.meta.url));

export class StackProcess {
  readonly ready: Ready;
  readonly #child: ChildProcess;
  readonly #said: { errors: string };
  readonly ended: Promise<Ended>;

  private constructor(child: ChildProcess, said: { errors: string }, ended: Promise<Ended>, ready: Ready) {
    this.#child = child;
    this.#said = said;
    this.ended = ended;
    this.ready = ready;
  }

  /** What it has said on standard error so far. */
  get errors(): string {
    return this.#said.errors;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Starts the stack and waits until it serves. @throws Error with what it printed where it does not start */
  static async start(dataDirectory: string, ...options: string[]): Promise<StackProcess> {
    const args = [command, "up", "--json", "--base-port", "0", "--data", dataDirectory, ...options];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    const said = { errors: "" };
    child.stderr.on("data", (text) => {
      said.errors += text;
    });
    const ended = once(child, "close").then(([code, signal]): Ended => ({ code, signal, ...said }));
    const failed = ended.then(() => Promise.reject(new Error(`the stack has ended: ${said.errors}`)));
    const line = once(createInterface({ input: child.stdout }), "line").then(([text]) => String(text));
    const ready = JSON.parse(await Promise.race([line, failed])) as Ready;
    failed.catch(() => {});
    return new StackProcess(child, said, ended, ready);
  }

  /** Resolves when standard error has so many lines; answers them. */
  async errorLines(count: number): Promise<string[]> {
    for (;;) {
      const lines = this.#said.errors.split("\n").slice(0, -1);
      if (lines.length >= count) return lines;
      await once(this.#child.stderr as Readable, "data");
    }
  }

  /** At once, as when the power goes. */
  kill(): Promise<Ended> {
    return this.#end("SIGKILL");
  }

  /** With every process that serves an entity in this data directory: the starter first, so that it has nothing to say about the others. */
  killAll(dataDirectory: string): Promise<Ended> {
    const ended = this.kill();
    const holders = Object.keys(this.ready.entities).map((name) => join(dataDirectory, name, "lock/holder"));
    for (const pid of new Set(holders.map((path) => Number(readFileSync(path, "utf8"))))) {
      try {
        if (pid !== this.pid) process.kill(pid, "SIGKILL");
      } catch {
        // It has seen its starter end.
      }
    }
    return ended;
  }

  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    return this.#end(signal);
  }

  #end(signal: NodeJS.Signals): Promise<Ended> {
    this.#child.kill(signal);
    return this.ended;
  }
}
