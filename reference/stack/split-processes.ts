// Entities in processes of their own (all under `x1410 up --split`, the nodes of a ledger that has several always): started as
// `x1410 entity`, told what to do by standard input, ready when they print one line of JSON, and stopped by SIGTERM.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Endpoints } from "./doors.ts";
import type { EntityStart } from "./entity-process.ts";
import { KeptNode } from "./kept-node.ts";
import type { Launch, Started } from "./stack.ts";

/** A process that has not ended by then is killed. */
const stopTimeoutMs = 10_000;

/** How the command says why it failed; everything else on standard error is log. */
const failurePrefix = "x1410: ";

/** How a process has ended. */
export interface Ending {
  readonly why: string;
  /** As it ends when it is told to by SIGTERM, also once too often or before it listens to that. */
  readonly inOrder: boolean;
}

export class EntityProcesses {
  readonly #command: readonly string[];
  readonly #idle: EntityProcess[] = [];
  #toSpawn: number;

  /** @param command script and arguments with which Node.js serves one entity */
  constructor(command: readonly string[], count: number) {
    this.#command = command;
    this.#toSpawn = count;
  }

  /** The first call starts all processes, since loading their code takes most of the time; entities start one after the other. */
  readonly launch = async (launch: Launch): Promise<Started> => {
    for (; this.#toSpawn > 0; this.#toSpawn--) this.#idle.push(new EntityProcess(this.#command));
    const next = () => this.#idle.shift() ?? new EntityProcess(this.#command);
    return launch.plan.nodes.length > 1 ? new KeptNode(launch, next).start() : next().start(launch);
  };

  /** Ends the processes that have become no entity. */
  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((process) => process.stop()));
  }
}

export class EntityProcess {
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  readonly #firstLine: Promise<string>;

  constructor(command: readonly string[]) {
    const child = spawn(process.execPath, [...process.execArgv, ...command], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    let failure: string | undefined;
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) =>
        resolve({
          why: failure ?? (signal === null ? `exit code ${code}` : `${signal}`),
          inOrder: code === 0 || signal === "SIGTERM",
        }),
      );
      // One that cannot be started, for want of processes, memory or descriptors, may tell of no close.
      child.on("error", ({ message }) => {
        if (child.pid === undefined) resolve({ why: message, inOrder: false });
      });
    });
    if (child.pid === undefined) {
      // It may have no streams either.
      this.#firstLine = new Promise(() => {});
      return;
    }
    // One that ends before it has read its orders is told of by its end.
    child.stdin.on("error", () => {});
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (line.startsWith(failurePrefix)) failure = line.slice(failurePrefix.length);
      else process.stderr.write(`${line}\n`);
    });
    this.#firstLine = once(createInterface({ input: child.stdout }), "line").then(([line]) => String(line));
  }

  async start({ plan, directory, files, networkFile, pkiDirectory, accessFile, options }: Launch): Promise<Started> {
    const order: EntityStart = {
      plan,
      directory,
      files,
      networkFile,
      pkiDirectory,
      accessFile,
      host: options.host,
      revocationRefreshMs: options.revocationRefreshMs,
      introspection: options.introspection,
      ...(options.rotation && { rotation: options.rotation }),
    };
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const failed = this.ended.then(({ why }) => Promise.reject(new Error(`${plan.name}: ${why}`)));
    const endpoints = JSON.parse(await Promise.race([this.#firstLine, failed])) as Partial<Endpoints>;
    const { endpoint = "", secondEndpoint, pskEndpoint, publicationEndpoint } = endpoints;
    return {
      endpoint,
      secondEndpoint,
      pskEndpoint,
      publicationEndpoint,
      ended: this.ended.then(({ why }) => `${plan.name} has ended (${why})`),
      close: () => this.stop(),
    };
  }

  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await this.ended.finally(() => clearTimeout(timer));
  }
}
