// The right to propose blocks changed from the command line, on a stack of processes: handed over, then taken over from a node whose certificate
// was revoked. Writes go on each time, every node agrees, and all of it survives a restart. In a campaign: it starts the stack twice.
import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
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
  folder = await mkdtemp(join(tmpdir(), "x1410-proposer-"));
  data = join(folder, "data");
});
afterEach(() => stack?.kill());
afterAll(() => rm(folder, { recursive: true }));

async function x1410(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  return run(process.execPath, [join(ROOT, "bin/x1410.js"), ...args], { timeoutMs: 60_000 });
}

async function done(...args: string[]): Promise<string> {
  const { code, output } = await x1410(...args);
  expect(code, output).toBe(0);
  return output;
}

const profileOf = (name: string) => join(data, "profiles", `${name}.json`);
const asOperator = (...args: string[]) => x1410("operator", ...args, "--profile", profileOf("operator"));
const asProvider = (...args: string[]) => x1410("provider", ...args, "--profile", profileOf("provider"));

interface NodeLine {
  readonly identity: string;
  readonly height: number;
  readonly head: string;
  readonly accepting: boolean;
  readonly proposer: boolean;
}

async function nodes(): Promise<NodeLine[]> {
  const { output } = await asOperator("ledger-nodes", "--json");
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as NodeLine);
}

/** All three nodes hold one chain of this height, and this one proposes. */
async function agreeOn(height: number, proposer: string): Promise<void> {
  const agreed = async () => {
    const all = await nodes();
    const heads = new Set(all.map(({ head }) => head));
    const proposing = all.filter((node) => node.proposer).map(({ identity }) => identity.split(":").at(-1));
    return {
      count: all.length,
      heads: heads.size,
      height: all[0]?.height,
      proposing,
      accepting: all.every((node) => node.accepting),
    };
  };
  await expect
    .poll(agreed, { interval: 500, timeout: 30_000 })
    .toEqual({ count: 3, heads: 1, height, proposing: [proposer], accepting: true });
}

test.runIf(campaign)(
  "handed over, taken over from a revoked node, and started anew",
  async () => {
    const options = ["--split", "--crl-refresh", "1"];
    stack = await StackProcess.start(data, ...options);
    const file = join(folder, "records.csv");
    writeFileSync(file, "name,age\nA,1\n");
    expect((await asProvider("publish", file, "--raw")).code).toBe(0);

    const handed = await asOperator("change-proposer", "local-2");
    expect(handed.output).toBe("urn:x1410:entity:ledger:local-2 proposes from block 3 on.\n");
    expect((await asProvider("publish", file, "--raw")).code).toBe(0);
    await agreeOn(3, "local-2");
    const again = await asOperator("change-proposer", "local-2");
    expect(again).toMatchObject({ code: 1, output: expect.stringContaining("proposes already") });
    const needless = await asOperator("change-proposer", "local-3", "--take-over");
    expect(needless).toMatchObject({ code: 1, output: expect.stringContaining("leave out --take-over") });

    const certificate = new X509Certificate(readFileSync(stack.ready.entities["ledger-2"]?.certificate ?? ""));
    await done("certs", "revoke", certificate.serialNumber, "--reason", "keyCompromise", "--dir", join(data, "pki"));
    await expect
      .poll(async () => (await nodes()).some(({ proposer }) => proposer), { interval: 500, timeout: 30_000 })
      .toBe(false);
    const orderly = await asOperator("change-proposer", "local-3");
    expect(orderly).toMatchObject({ code: 1, output: expect.stringContaining("--take-over") });
    const taken = await asOperator("change-proposer", "local-3", "--take-over");
    expect(taken).toMatchObject({ code: 0, output: "urn:x1410:entity:ledger:local-3 proposes from block 5 on.\n" });
    // Whoever knows the former proposer only may hear first that the outcome is not known, and repeats.
    const published = await asProvider("publish", file, "--raw");
    if (published.code !== 0) expect((await asProvider("resume")).code, published.output).toBe(0);
    expect((await nodes()).find(({ proposer }) => proposer)?.identity).toBe("urn:x1410:entity:ledger:local-3");
    expect(await stack.stop()).toMatchObject({ code: 0 });

    // The revoked node has a new certificate now, and follows.
    stack = await StackProcess.start(data, ...options);
    await agreeOn(5, "local-3");
    expect((await asProvider("publish", file, "--raw")).code).toBe(0);
    await agreeOn(6, "local-3");
    expect(await stack.stop()).toMatchObject({ code: 0 });
    for (const node of ["ledger-1", "ledger-2", "ledger-3"]) {
      expect(await done("ledger", "verify", "--data", data, "--node", node)).toContain(
        "intact: 6 blocks, 6 transactions",
      );
    }
  },
  240_000,
);
