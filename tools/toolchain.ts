// Runs the tools of this project: those that npm installed come before anything of the same name on the machine.
import { execFile } from "node:child_process";
import { constants } from "node:os";
import { delimiter, join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

export interface RunResult {
  /** Exit code; 128 and the signal's number where a signal ended it. */
  readonly code: number;
  /** Standard output, then standard error. */
  readonly output: string;
  readonly stdout: string;
}

export interface RunOptions {
  readonly cwd?: string;
  /** The whole environment, PATH included; unless told, that of this process with the project's tools first in PATH. */
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds until the command is killed; 10 minutes unless told. */
  readonly timeoutMs?: number;
}

export function projectEnvironment(): NodeJS.ProcessEnv {
  const path = [join(ROOT, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter);
  return { ...process.env, PATH: path };
}

/** Runs a command to its end with no input. A command that fails is a result, not an exception; one that cannot start has code 127. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      {
        cwd: options.cwd ?? ROOT,
        env: options.env ?? projectEnvironment(),
        maxBuffer: 256 << 20,
        timeout: options.timeoutMs ?? 600_000,
        killSignal: "SIGKILL",
      },
      (error, stdout, stderr) => {
        const output = [stdout, stderr].filter((text) => text !== "").join("\n");
        if (error === null) resolve({ code: 0, output, stdout });
        else if (typeof error.code === "number") resolve({ code: error.code, output, stdout });
        else if (error.signal) resolve({ code: 128 + constants.signals[error.signal], output, stdout });
        else resolve({ code: 127, output: `${command}: ${error.message}`, stdout });
      },
    );
    child.stdin?.end();
  });
}

/** As `run`, for a command whose failure ends the tool that calls it. */
export async function must(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, output, stdout } = await run(command, args, options);
  if (code !== 0) throw new Error(`${brief(command, args)} ended with code ${code}\n${output.trimEnd()}`);
  return stdout;
}

function brief(command: string, args: readonly string[]): string {
  const line = [command, ...args].join(" ").replace(/\s+/g, " ");
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}
