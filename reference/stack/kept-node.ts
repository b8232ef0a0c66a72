// A ledger node beside others in a process of its own: where it ends the deployment goes on (clause 6.1), and it is started again on the same
// port and data. A node that was told to end, by SIGTERM, stays stopped until its operator wants it back.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Ending, EntityProcess } from "./split-processes.ts";
import type { Launch, Started } from "./stack.ts";

type NodeProcess = Pick<EntityProcess, "start" | "stop" | "ended">;

/** Before a node that has ended is started again; doubled each time up to the longest, which also is how long a node serves to begin anew. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** How often is looked whether a node that was stopped is wanted back. */
const LOOK_MS = 500;

export class KeptNode {
  readonly #launch: Launch;
  readonly #spawn: () => NodeProcess;
  readonly #closing = new AbortController();
  #process: NodeProcess;
  #kept: Promise<void> = Promise.resolve();
  #port = 0;

  constructor(launch: Launch, spawn: () => NodeProcess) {
    this.#launch = launch;
    this.#spawn = spawn;
    this.#process = spawn();
  }

  /** @throws Error where it does not start the first time */
  async start(): Promise<Started> {
    this.#forgetOrder();
    const started = await this.#process.start(this.#launch);
    this.#port = Number(started.endpoint.slice(started.endpoint.lastIndexOf(":") + 1));
    this.#kept = this.#keep();
    return { ...started, ended: new Promise(() => {}), close: () => this.#close() };
  }

  async #keep(): Promise<void> {
    const { plan, options } = this.#launch;
    const { signal } = this.#closing;
    let wait = FIRST_PAUSE_MS;
    let ended = this.#process.ended;
    for (;;) {
      const begun = performance.now();
      const { why, inOrder } = await ended;
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
      ended = this.#again();
    }
  }

  /** Answers how it ends: where it does not start it has ended, and is told of as one that has. */
  #again(): Promise<Ending> {
    const { plan } = this.#launch;
    try {
      this.#forgetOrder();
      this.#process = this.#spawn();
    } catch (cause) {
      return Promise.resolve({ why: cause instanceof Error ? cause.message : String(cause), inOrder: false });
    }
    this.#process.start({ ...this.#launch, plan: { ...plan, port: this.#port } }).catch(() => undefined);
    return this.#process.ended;
  }

  async #wantedBack(): Promise<void> {
    tell(`${this.#launch.plan.name} was stopped; make the file ${this.#order} to start it again`);
    while (!existsSync(this.#order)) await pause(LOOK_MS, undefined, { signal: this.#closing.signal });
  }

  /** The file by which its operator wants it back. */
  get #order(): string {
    return join(this.#launch.directory, "start");
  }

  /** When it is launched, and not when it has ended: the order may come while it still closes. */
  #forgetOrder(): void {
    rmSync(this.#order, { force: true });
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
