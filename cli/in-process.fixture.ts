// The command x1410 without a process of its own: what a test asks of its words, exit code and output costs no second of loading.
import { Console } from "node:console";
import { Writable } from "node:stream";
import { main } from "./main.ts";

export interface Told {
  readonly code: number;
  readonly stdout: string;
  /** Both, as tools/toolchain.ts gives them of a process. */
  readonly output: string;
}

let turn: Promise<unknown> = Promise.resolve();

/** Runs it with these words in this folder; one at a time, since folder, console and exit code are the process's. */
export function x1410InProcess(cwd: string, ...args: string[]): Promise<Told> {
  const told = turn.then(() => perform(cwd, args));
  turn = told.catch(() => undefined);
  return told;
}

async function perform(cwd: string, args: readonly string[]): Promise<Told> {
  const before = { cwd: process.cwd(), console: globalThis.console, exitCode: process.exitCode };
  const handlers = process.listeners("uncaughtException");
  const [stdout, stderr] = [new Taken("stdout"), new Taken("stderr")];
  process.chdir(cwd);
  process.exitCode = undefined;
  globalThis.console = new Console(process.stdout, process.stderr);
  try {
    await main(args);
    const output = [stdout.text, stderr.text].filter((text) => text !== "").join("\n");
    return { code: Number(process.exitCode ?? 0), stdout: stdout.text, output };
  } finally {
    process.chdir(before.cwd);
    process.exitCode = before.exitCode;
    globalThis.console = before.console;
    for (const taken of [stdout, stderr]) taken.giveBack();
    for (const handler of process.listeners("uncaughtException"))
      if (!handlers.includes(handler)) process.removeListener("uncaughtException", handler);
  }
}

/** In the place of one of the process's streams: what is written, and what the command hangs on the stream, stays here. */
class Taken extends Writable {
  text = "";
  readonly #name: "stdout" | "stderr";
  readonly #descriptor: PropertyDescriptor;
  readonly #decoder = new TextDecoder();

  constructor(name: "stdout" | "stderr") {
    super();
    this.#name = name;
    this.#descriptor = Object.getOwnPropertyDescriptor(process, name) as PropertyDescriptor;
    Object.defineProperty(process, name, { ...this.#descriptor, get: () => this });
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.text += this.#decoder.decode(chunk, { stream: true });
    done();
  }

  giveBack(): void {
    Object.defineProperty(process, this.#name, this.#descriptor);
  }
}
