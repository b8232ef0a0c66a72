// A user's side under test as a process of the kit: started by a command, given a time, and ended with all that it started.
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

export interface CommandLine {
  /** For a shell. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Ends it before its time. */
  readonly signal: AbortSignal;
}

export interface Ended {
  /** Undefined where it did not end by itself. */
  readonly code: number | undefined;
  /** Whether its time was over. */
  readonly timedOut: boolean;
  readonly stdout: string;
  /** The end of it. */
  readonly stderr: string;
}

export interface ClientProcess {
  /** What it has written so far. */
  readonly stdout: string;
  readonly ended: Promise<Ended>;
  /** Asks it to end, and ends it where it does not. */
  stop(): Promise<void>;
}

export type StartClient = (line: CommandLine) => ClientProcess;

const KEPT_STDERR = 2_000;
/** Nobody has to read more of a client that prints without end. */
const KEPT_STDOUT = 4 << 20;
const GRACE_MS = 2_000;

export const startProcess: StartClient = ({ command, environment, timeoutMs, signal }) => {
  const child = spawn(command, {
    shell: true,
    detached: true,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let timedOut = false;
  let stopped = false;
  child.stdout.on("data", (chunk: Buffer) => {
    if (stdout.length < KEPT_STDOUT) stdout += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-KEPT_STDERR);
  });
  const endGroup = (how: NodeJS.Signals) => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, how);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
    }
  };
  const deadline = setTimeout(() => {
    timedOut = true;
    endGroup("SIGKILL");
  }, timeoutMs);
  const abort = () => endGroup("SIGKILL");
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  const exited = new Promise<number | undefined>((resolve) => {
    child.once("error", (cause) => {
      stderr += cause.message;
      resolve(undefined);
    });
    child.once("exit", (code) => resolve(code ?? undefined));
  });
  // What the command left running in its group would keep the pipes open, and stay behind itself.
  const closed = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  const ended = exited.then(async (code): Promise<Ended> => {
    clearTimeout(deadline);
    signal.removeEventListener("abort", abort);
    endGroup("SIGKILL");
    // Nor would what has left its group to live on without it; that holds up nobody.
    const late = await Promise.race([closed, sleep(GRACE_MS, "late", { ref: false })]);
    if (late === "late") for (const stream of [child.stdout, child.stderr]) stream.destroy();
    return { code: timedOut || stopped ? undefined : code, timedOut, stdout, stderr: stderr.trim() };
  });
  return {
    get stdout() {
      return stdout;
    },
    ended,
    async stop() {
      stopped = true;
      endGroup("SIGTERM");
      const gone = await Promise.race([exited.then(() => true), sleep(GRACE_MS, false, { ref: false })]);
      if (!gone) endGroup("SIGKILL");
      await ended;
    },
  };
};
