// A ledger node beside others in a process of its own: where it ends the deployment goes on (clause 6.1), and it is started again on the same
// port and data. A node that was told to end, by SIGTERM, stays stopped until its operator wants it back.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { EntityProcess } from "./split-processes.ts";
import type { Launch, Started } from "./stack.ts";

/** Before a node that has ended is started again; doubled each time up to the longest, which also is how long a node serves to begin anew. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** How often is looked whether a node that was stopped is wanted back. */
const LOOK_MS = 500;

export class KeptNode {
  readonly #launch: Launch;
  readonly #spawn: () => EntityProcess;
  readonly #closing = new AbortController();
  #process: EntityProcess;
  #kept: Promise<void> = Promise.resolve();
  #port = 0;

  constructor(launch: Launch, spawn: () => EntityProcess) {
    this.#launch = launch;
    this.#spawn = spawn;
    this.#process = spawn();
  }

  /** @throws Error where it does not start the first time */
  async start(): Promise<Started> {
    const started = await this.#process.start(this.#launch);
    this.#port = Number(started.endpoint.slice(started.endpoint.lastIndexOf(":") + 1));
    this.#kept = this.#keep();
    return { ...started, ended: new Promise(() => {}), close: () => this.#close() };
  }

  async #keep(): Promise<void> {
    const { plan, options } = this.#launch;
    const { signal } = this.#closing;
    let wait = FIRST_PAUSE_MS;
    for (;;) {
      const begun = performance.now();
      const { why, inOrder } = await this.#process.ended;
      // Whoever stops a deployment may stop all of its processes at once.
      if (signal.aborted || options.signal?.aborted) return;
      if (performance.now() - begun > LONGEST_PAUSE_MS) wait = FIRST_PAUSE_MS;
      try {
        if (inOrder) await this.#wantedBack();
        else {
          tell(`${plan.name} has ended (${why}); it is started again in ${wait / 1000} s`);
          await pause(wait, undefined, { signal });
          wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
        }
      } catch {
        return;
      }
      this.#process = this.#spawn();
      // Where it does not start it ends, and is told of above.
      this.#process.start({ ...this.#launch, plan: { ...plan, port: this.#port } }).catch(() => undefined);
    }
  }

  async #wantedBack(): Promise<void> {
    const { plan, directory } = this.#launch;
    const file = join(directory, "start");
    rmSync(file, { force: true });
    tell(`${plan.name} was stopped; make the file ${file} to start it again`);
    while (!existsSync(file)) await pause(LOOK_MS, undefined, { signal: this.#closing.signal });
    rmSync(file, { force: true });
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.#process.stop();
    await this.#kept;
  }
}

function tell(what: string): void {
  process.stderr.write(`x1410: ${what}\n`);
}
