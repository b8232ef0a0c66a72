// Every entity in a process of its own: they serve together, and end together however one of them ends, unless it is one of several nodes of the
// ledger. In a campaign the four procedures run against them over both client stacks, and the whole suite as far as the certificates of their
// target file go.
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { StackProcess } from "../reference/stack/crash.fixture.ts";
import { campaign } from "../tools/seeded-share.ts";
import { ROOT, run } from "../tools/toolchain.ts";

let folder: string;
let data: string;
let stack: StackProcess | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-split-"));
  data = join(folder, "data");
});
afterEach(() => stack?.kill());
afterAll(() => rm(folder, { recursive: true }));

const entityNames = ["ca", "ledger-2", "ledger-3", "ledger-1", "kss", "dss", "dssm"];

function children({ pid }: StackProcess): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

const runs = (pid: number) => readdirSync("/proc").includes(`${pid}`);

/** Resolves when none of the processes runs any more: when the last of them lets go of the pipe that it has inherited. */
function ended(pids: readonly number[]): Promise<unknown> {
  return run("tail", [...pids.flatMap((pid) => ["--pid", `${pid}`]), "-f", "/dev/null"], { timeoutMs: 20_000 });
}

const linux = process.platform === "linux";

test.skipIf(!linux)(
  "where a ledger node is killed the others go on, where another entity is they end; one line says which it was",
  async () => {
    stack = await StackProcess.start(data, "--split");
    expect(Object.keys(stack.ready.entities)).toEqual(entityNames);
    const all = children(stack);
    expect(all).toHaveLength(entityNames.length);
    const [follower = 0, keys = 0] = ["ledger-2", "kss"].map((name) => all[entityNames.indexOf(name)]);
    process.kill(follower, "SIGKILL");
    const restarted = "x1410: ledger-2 has ended (SIGKILL); it is started again in 1 s";
    expect(await stack.errorLines(1)).toEqual([restarted]);
    expect(all.filter((pid) => pid !== follower && !runs(pid))).toEqual([]);
    await expect.poll(() => children(stack as StackProcess), { timeout: 20_000 }).toHaveLength(entityNames.length);
    const again = children(stack);
    process.kill(keys, "SIGKILL");
    expect(await stack.ended).toEqual({
      code: 1,
      signal: null,
      errors: `${restarted}\nx1410: kss has ended (SIGKILL); the stack was stopped, its data is kept in ${data}\n`,
    });
    expect([...all, ...again].filter(runs)).toEqual([]);
  },
  60_000,
);

test.runIf(linux && campaign)(
  "where their starter is killed they end, and start again on the same data at once",
  async () => {
    stack = await StackProcess.start(data, "--split");
    const orphans = children(stack);
    expect(orphans).toHaveLength(entityNames.length);
    await stack.kill();
    // What is still ending holds its database for a moment; whoever starts now waits for it.
    const next = await StackProcess.start(data, "--split");
    expect(await next.stop()).toEqual({ code: 0, signal: null, errors: "" });
    await ended(orphans);
    expect(orphans.filter(runs)).toEqual([]);
  },
  60_000,
);

test.runIf(campaign)(
  "the whole suite: all that its certificates can show passes, the rest says what it needs",
  async () => {
    stack = await StackProcess.start(data, "--split");
    const json = join(folder, "report.json");
    const command = [join(ROOT, "bin/x1410.js"), "conformance", "run", "--mib", "1", "--json", json];
    const { code, output } = await run(process.execPath, [...command, "--target", stack.ready.targetFile]);
    expect(code, output).toBe(2);
    const { results } = JSON.parse(readFileSync(json, "utf8")) as { results: { verdict: string; actual: string }[] };
    const others = results.filter(({ verdict }) => verdict !== "PASS");
    expect(results.length - others.length).toBeGreaterThan(200);
    for (const { verdict, actual } of others) {
      expect(verdict).toBe("INCONC");
      expect(actual).toMatch(
        /no certificate for second|the target has no harness|only an authority of the kit's own can issue and revoke/,
      );
    }
    expect(await stack.stop()).toEqual({ code: 0, signal: null, errors: "" });
  },
  300_000,
);

test.each(campaign ? ["grpc", "connect"] : [])(
  "the four procedures over %s",
  async (client) => {
    stack = await StackProcess.start(data, "--split");
    const command = [join(ROOT, "bin/x1410.js"), "conformance", "run", "--procedures", "--client", client];
    const { code, output } = await run(process.execPath, [...command, "--target", stack.ready.targetFile]);
    expect(code, output).toBe(0);
    expect(await stack.stop()).toEqual({ code: 0, signal: null, errors: "" });
  },
  120_000,
);
