// The implementation under test as a process of the kit: started by a command, waited for until its gRPC health says that it serves,
// and stopped with all that it started.
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { protoPath } from "grpc-health-check";
import { serviceFromProto } from "../reference/communications/proto-file.ts";
import type { Stage } from "./stage.ts";
import { type EntityRole, isServer } from "./target.ts";

export interface ImplementationProcess {
  /** Aborted where it ends by itself; the reason says how, and what it said last. */
  readonly ended: AbortSignal;
  /** Ends the process group, gently first. */
  stop(): Promise<void>;
}

/** An implementation that does not start, or ends during a run; the message says what it said last. */
export class ImplementationError extends Error {
  override name = "ImplementationError";
  /** "" where it said nothing. */
  readonly lastWords: string;

  constructor(message: string, lastWords = "") {
    super(message);
    this.lastWords = lastWords;
  }
}

const KEPT_OUTPUT = 2_000;
const POLL_MS = 100;
const GRACE_MS = 5_000;
const LAST_WORDS_MS = 500;

/** @throws ImplementationError where it ends by itself, or does not serve within the time of the IXIT */
export async function startImplementation(
  command: string,
  stage: Stage,
  interrupted?: AbortSignal,
): Promise<ImplementationProcess> {
  const child = spawn(command, { shell: true, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString("utf8")).slice(-KEPT_OUTPUT);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const words = () => (output.trim() === "" ? "" : `; its last words: ${output.trim()}`);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (cause) => resolve(cause.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${signal ?? `code ${code}`}`));
  });
  const closed = new Promise((resolve) => child.once("close", resolve));
  const { pid } = child;
  // Also where the kit ends by an interrupt or a fault of its own: nobody else would end a process group of its own.
  const kill = () => pid !== undefined && endGroup(pid, "SIGKILL");
  process.once("exit", kill);
  void ended.then(() => {
    process.off("exit", kill);
    // What the command has left behind goes with it.
    kill();
  });
  let stopping = false;
  const stop = async () => {
    stopping = true;
    if (pid !== undefined && child.exitCode === null && child.signalCode === null) endGroup(pid, "SIGTERM");
    const gone = await Promise.race([ended.then(() => true), sleep(GRACE_MS, false, { ref: false })]);
    if (!gone) kill();
    await ended;
    // Its last words; a pipe that somebody outside the group has inherited may stay open for ever.
    await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const { startupSeconds } = stage.settings.ixit;
  const given = new AbortController();
  const within = AbortSignal.any([
    given.signal,
    ...(interrupted === undefined ? [] : [interrupted]),
    AbortSignal.timeout(startupSeconds * 1000),
  ]);
  const serving = Promise.all(
    [...stage.target.underTest].filter(isServer).map((role) => untilServing(stage, role, within)),
  );
  const failure = await Promise.race([
    serving.then(
      () => undefined,
      (cause: Error) => cause.message,
    ),
    ended,
  ]);
  if (failure === undefined) {
    const gone = new AbortController();
    void Promise.race([Promise.all([ended, closed]), ended.then(() => sleep(LAST_WORDS_MS, undefined, { ref: false }))])
      .then(() => ended)
      .then((how) => {
        if (!stopping)
          gone.abort(new ImplementationError(`the implementation has ended during the run: ${how}`, output.trim()));
      });
    return { ended: gone.signal, stop };
  }
  given.abort();
  await stop();
  throw new ImplementationError(`the implementation does not serve: ${failure}${words()}`);
}

/** Until the standard gRPC health service says SERVING; a server without that service is up as soon as it says so. */
async function untilServing(stage: Stage, role: EntityRole, within: AbortSignal): Promise<void> {
  const service = serviceFromProto(protoPath, "grpc.health.v1.Health");
  const transport = stage.channels(stage.target.provider).transport(role);
  const health = createClient(service, transport) as unknown as {
    check(request: object, options: { timeoutMs: number }): Promise<{ status: number }>;
  };
  const SERVING = 1;
  while (true) {
    if (within.aborted) throw new Error(`the ${role} is not healthy after ${stage.settings.ixit.startupSeconds} s`);
    try {
      if ((await health.check({}, { timeoutMs: 1_000 })).status === SERVING) return;
    } catch (cause) {
      const { code } = ConnectError.from(cause);
      if (code === Code.Unimplemented) return;
    }
    await sleep(POLL_MS);
  }
}

function endGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause;
  }
}
