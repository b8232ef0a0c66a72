// Each entity in a process of its own (`x1410 up --split`): started as `x1410 entity`, told what to do by its standard input, ready when
// it prints one line of JSON, and stopped by SIGTERM.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { EntityStart } from "./entity-process.ts";
import type { Launcher } from "./stack.ts";

/** A process that has not ended by then is killed. */
const stopTimeoutMs = 10_000;

export const launchProcess: Launcher = async ({ plan, directory, files, networkFile, pkiDirectory, options }) => {
  const child = spawn(process.execPath, [process.argv[1] ?? "", "entity"], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit").then(
    ([code, signal]) => `${plan.name} has ended (${signal ?? `exit code ${code}`})`,
  );
  const start: EntityStart = {
    plan,
    directory,
    files,
    networkFile,
    pkiDirectory,
    host: options.host,
    revocationRefreshMs: options.revocationRefreshMs,
    introspection: options.introspection,
  };
  child.stdin.write(`${JSON.stringify(start)}\n`);
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([
    once(lines, "line").then(([text]) => String(text)),
    ended.then((why) => Promise.reject(new Error(why))),
  ]);
  const { endpoint, secondEndpoint } = JSON.parse(line) as { endpoint: string; secondEndpoint?: string };
  return {
    endpoint,
    secondEndpoint,
    ended,
    async close() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
      await ended;
      clearTimeout(timer);
    },
  };
};
