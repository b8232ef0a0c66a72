// A ledger node beside others whose process cannot be started again, or is told to stop at an awkward moment.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { KeptNode } from "./kept-node.ts";
import type { Ending } from "./split-processes.ts";
import type { Launch, Started } from "./stack.ts";

let directory: string;
let launch: Launch;
const told: string[] = [];
const open: Started[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-kept-"));
  launch = { plan: { name: "ledger-2", port: 0 }, directory, options: {} } as unknown as Launch;
  vi.spyOn(process.stderr, "write").mockImplementation((line) => told.push(String(line)) > 0);
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  told.splice(0);
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

/** Ends when the test says so. */
class Process {
  readonly #end = Promise.withResolvers<Ending>();
  readonly ended = this.#end.promise;
  port: number | undefined;

  start({ plan }: Launch): Promise<Started> {
    this.port = plan.port;
    return Promise.resolve({ endpoint: "127.0.0.1:7421" } as Started);
  }

  end(why: string, inOrder: boolean): void {
    this.#end.resolve({ why, inOrder });
  }

  async stop(): Promise<void> {
    this.end("SIGTERM", true);
  }
}

test("one that cannot be started again counts as ended once more, and is tried again after a longer while", async () => {
  const processes = [new Process(), new Process()] as const;
  const spawn = vi.fn<() => Process>();
  spawn.mockReturnValueOnce(processes[0]).mockImplementationOnce(() => {
    throw new Error("spawn ENOMEM");
  });
  spawn.mockReturnValueOnce(processes[1]);
  open.push(await new KeptNode(launch, spawn).start());
  processes[0].end("SIGKILL", false);
  await expect.poll(() => processes[1].port, { timeout: 20_000 }).toBe(7421);
  expect(told).toEqual([
    "x1410: ledger-2 has ended (SIGKILL); it is started again in 1 s\n",
    "x1410: ledger-2 has ended (spawn ENOMEM); it is started again in 2 s\n",
  ]);
});

test("the order to start it again holds also where it is given while the node still closes, and once", async () => {
  const order = join(directory, "start");
  const processes = [new Process(), new Process(), new Process()] as const;
  const spawn = vi.fn<() => Process>();
  for (const each of processes) spawn.mockReturnValueOnce(each);
  // Left behind by a stack that is no more.
  writeFileSync(order, "");
  open.push(await new KeptNode(launch, spawn).start());
  expect(existsSync(order)).toBe(false);
  writeFileSync(order, "");
  processes[0].end("exit code 0", true);
  await expect.poll(() => processes[1].port, { timeout: 10_000 }).toBe(7421);
  expect(existsSync(order)).toBe(false);
  processes[1].end("exit code 0", true);
  const line = `x1410: ledger-2 was stopped; make the file ${order} to start it again\n`;
  await expect.poll(() => told, { timeout: 10_000 }).toEqual([line, line]);
  expect(spawn).toHaveBeenCalledTimes(2);
  writeFileSync(order, "");
  await expect.poll(() => processes[2].port, { timeout: 10_000 }).toBe(7421);
});
