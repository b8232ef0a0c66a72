// How the process of an entity ends, and what its starter makes of it.
import { ChildProcess } from "node:child_process";
import { afterEach, expect, test, vi } from "vitest";
import { EntityProcess } from "./split-processes.ts";
import type { Launch } from "./stack.ts";

afterEach(() => void vi.restoreAllMocks());

const launch = { plan: { name: "ledger-2" }, options: {} } as unknown as Launch;

test.each([
  ["by SIGTERM that it does not listen to", "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)", true],
  ["by itself, as after SIGTERM", "process.exit(0)", true],
  ["by another signal", "process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)", false],
  ["by a failure", "process.exit(1)", false],
])("one that ends %s", async (_, script, inOrder) => {
  expect(await new EntityProcess(["--eval", script]).ended).toMatchObject({ inOrder });
});

test.each([
  ["with streams, as for want of processes", true],
  ["without any, as for want of descriptors", false],
])("one that cannot be started, %s, has ended, and can be stopped", async (_, streams) => {
  const program = process.execPath;
  const why = streams ? "spawn /nowhere ENOENT" : "spawn EMFILE";
  if (!streams)
    vi.spyOn(ChildProcess.prototype as unknown as Spawning, "spawn").mockImplementationOnce(outOfDescriptors);
  process.execPath = "/nowhere";
  try {
    const entity = new EntityProcess([]);
    await expect(entity.start(launch)).rejects.toThrow(`ledger-2: ${why}`);
    expect(await entity.ended).toEqual({ why, inOrder: false });
    await entity.stop();
  } finally {
    process.execPath = program;
  }
});

interface Spawning {
  spawn(): number;
}

/** Node.js tells of it by the event alone, and has made no streams. */
function outOfDescriptors(this: ChildProcess): number {
  process.nextTick(() => this.emit("error", new Error("spawn EMFILE")));
  return -24;
}
