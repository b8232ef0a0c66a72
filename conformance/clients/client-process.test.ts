import { expect, test } from "vitest";
import { type ClientProcess, startProcess } from "./client-process.ts";

function start(command: string, timeoutMs = 20_000, signal = new AbortController().signal): ClientProcess {
  return startProcess({ command, environment: { X1410_CONTRACT: "there" }, timeoutMs, signal });
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A process is reaped a moment after it was killed. */
async function untilGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    if (!isRunning(pid)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

test("tells exit code, output and last words, and hands over the environment", async () => {
  const ended = await start("echo $X1410_CONTRACT; echo refused >&2; exit 7").ended;
  expect(ended).toEqual({ code: 7, timedOut: false, stdout: "there\n", stderr: "refused" });
});

test("a client that hangs is ended in its time, with all that it started", async () => {
  const ended = await start("sleep 60 & echo $!; sleep 60", 300).ended;
  expect(ended).toMatchObject({ code: undefined, timedOut: true });
  expect(await untilGone(Number(ended.stdout))).toBe(true);
});

test("what a client leaves running is ended with it", async () => {
  const ended = await start("sleep 60 & echo $!").ended;
  expect(ended).toMatchObject({ code: 0, timedOut: false });
  expect(await untilGone(Number(ended.stdout))).toBe(true);
});

test("a client that goes on is asked to stop", async () => {
  const client = start("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
  while (!client.stdout.includes("ready")) await new Promise((resolve) => setTimeout(resolve, 20));
  await client.stop();
  expect(await client.ended).toMatchObject({ code: undefined, timedOut: false, stdout: "ready\nbye\n" });
});

test("the end of the purpose ends it", async () => {
  const over = new AbortController();
  const client = start("sleep 60", 20_000, over.signal);
  over.abort();
  expect(await client.ended).toMatchObject({ code: undefined, timedOut: false });
});

test("a command that is none is told by its code", async () => {
  expect(await start("x1410-no-such-command").ended).toMatchObject({ code: 127 });
});

test("what has left its group and holds its output is not waited for", async () => {
  const process = start("setsid sh -c 'echo $$; exec sleep 60' & sleep 0.2; echo done; exit 3");
  const { code, timedOut, stdout } = await process.ended;
  expect([code, timedOut]).toEqual([3, false]);
  const pid = Number(/^\d+$/m.exec(stdout)?.[0]);
  expect(isRunning(pid)).toBe(true);
  globalThis.process.kill(pid, "SIGKILL");
});
