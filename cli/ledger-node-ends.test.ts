// A ledger of several nodes under `x1410 up`: each node is a process, one that is killed is started again and catches up, one that its operator
// stops stays away until it is wanted back, and everything else goes on meanwhile (clause 6.1). Killed again and again in a campaign.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../reference/communications/refusal.ts";
import { DataConsumer } from "../reference/data-consumer/consumer.ts";
import { DataProvider } from "../reference/data-provider/provider.ts";
import { StackProcess } from "../reference/stack/crash.fixture.ts";
import { readProfile } from "../reference/user/profile.ts";
import { StateDirectory } from "../reference/user/state-directory.ts";
import { User } from "../reference/user/user.ts";
import { campaign } from "../tools/seeded-share.ts";
import { x1410InProcess } from "./in-process.fixture.ts";

const nodes = ["ledger-1", "ledger-2", "ledger-3"];
let folder: string;
let data: string;
let stack: StackProcess;
let users: User[];
let provider: DataProvider;
let consumer: DataConsumer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-node-ends-"));
  data = join(folder, "data");
  stack = await StackProcess.start(data, "--ledger-nodes", "3");
  const dependencies = async (name: "provider" | "consumer") => {
    const user = await User.connect(await readProfile(stack.ready.users[name].profile));
    const patience = { attempts: 1, firstPauseMs: 0, longestPauseMs: 0 };
    return { user, state: StateDirectory.open(join(folder, `${name}.state`)), patience };
  };
  const both = [await dependencies("provider"), await dependencies("consumer")] as const;
  users = both.map(({ user }) => user);
  provider = new DataProvider(both[0]);
  consumer = new DataConsumer(both[1]);
});
afterAll(async () => {
  for (const user of users) user.close();
  await stack.kill();
  await rm(folder, { recursive: true });
});

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function publish(): Promise<unknown> {
  const permission = { accessTimes: 10, expiration: new Date(Date.now() + 3_600_000), readOnly: true };
  return provider.publish(bytesOf("shared"), { attributes: { category: "ends", introduction: "killed" }, permission });
}

async function found(): Promise<number> {
  let count = 0;
  for await (const _ of consumer.search()) count += 1;
  return count;
}

/** Its process says who it is beside its database. */
function signal(node: string, name: NodeJS.Signals): void {
  process.kill(Number(readFileSync(join(data, node, "lock/holder"), "utf8")), name);
}

function operator(...args: string[]) {
  return x1410InProcess(folder, "operator", ...args, "--profile", join(data, "profiles/operator.json"));
}

interface NodeLine {
  readonly height: number;
  readonly head: string;
  readonly accepting: boolean;
}

async function states(): Promise<NodeLine[]> {
  const { stdout } = await operator("ledger-nodes", "--json");
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as NodeLine);
}

async function agree(): Promise<void> {
  const agreed = async () => {
    const all = await states();
    return [all.length, new Set(all.map(({ head }) => head)).size, all.every(({ accepting }) => accepting)];
  };
  await expect.poll(agreed, { interval: 200, timeout: 60_000 }).toEqual([nodes.length, 1, true]);
}

/** What was refused is done now, and so is something new. */
async function writesGoOn(): Promise<void> {
  const failed = async () => (await provider.resume()).filter(({ outcome }) => outcome === "failed");
  await expect.poll(failed, { interval: 200, timeout: 90_000 }).toEqual([]);
  await publish();
}

/** What has been told of ends, in order. */
const told: string[] = [];

/** Kills the node; it is told in one line how, and when it comes back. */
async function kill(node: string): Promise<void> {
  signal(node, "SIGKILL");
  const lines = await stack.errorLines(told.length + 1);
  const line = lines.at(-1) ?? "";
  expect(lines).toEqual([
    ...told,
    expect.stringMatching(`^x1410: ${node} has ended \\(SIGKILL\\); it is started again in \\d+ s$`),
  ]);
  told.push(line);
}

test("kill -9 of a follower: publishing goes on, and the node comes back and has the same head", async () => {
  await publish();
  for (const node of campaign ? ["ledger-2", "ledger-3", "ledger-2"] : ["ledger-2"]) {
    const ended = kill(node);
    for (let turn = 0; turn < 5; turn++) await publish();
    await ended;
    await publish();
    await agree();
  }
  expect(told[0]).toMatch(/in 1 s$/);
}, 120_000);

test("kill -9 of the proposer: reads go on, writes fail UNAVAILABLE, and go on after its return", async () => {
  for (let round = 0; round < (campaign ? 5 : 1); round++) {
    const before = await found();
    await kill("ledger-1");
    expect(await found()).toBe(before);
    const refused = await publish().catch(ConnectError.from);
    expect(refused).toMatchObject({ code: Code.Unavailable });
    expect([ErrorReason.LEDGER_UNAVAILABLE, ErrorReason.OUTCOME_UNKNOWN]).toContain(reasonOf(refused));
    expect(await found()).toBe(before);
    await writesGoOn();
    await agree();
    expect(await found()).toBe(before + 2);
  }
}, 400_000);

test("a node that is told to end stays stopped, another takes over, and it comes back when its operator wants it", async () => {
  signal("ledger-1", "SIGTERM");
  const line = `x1410: ledger-1 was stopped; make the file ${join(data, "ledger-1/start")} to start it again`;
  expect(await stack.errorLines(told.length + 1)).toEqual([...told, line]);
  told.push(line);
  expect(await states()).toHaveLength(nodes.length - 1);
  const { output } = await operator("change-proposer", "local-2", "--take-over");
  expect(output).toMatch(/ledger:local-2 proposes from block \d+ on/);
  // Whoever submits first may hear that the outcome is not known: the management knows the former proposer only.
  await publish().catch((cause) => expect(reasonOf(cause)).toBe(ErrorReason.OUTCOME_UNKNOWN));
  await writesGoOn();
  expect(await states()).toHaveLength(nodes.length - 1);
  const audit = await x1410InProcess(folder, "ledger", "verify", "--data", data, "--node", "ledger-1");
  expect(audit).toMatchObject({ code: 0, output: expect.stringContaining("intact") });
  writeFileSync(join(data, "ledger-1/start"), "");
  await agree();
  // Without what it holds it catches up from the others.
  signal("ledger-1", "SIGTERM");
  expect(await stack.errorLines(told.length + 1)).toEqual([...told, line]);
  told.push(line);
  for (const name of ["db", "closed.json"]) rmSync(join(data, "ledger-1", name), { recursive: true });
  writeFileSync(join(data, "ledger-1/start"), "");
  await agree();
}, 120_000);

test("stopping the stack ends every node, also one that is about to come back", async () => {
  await kill("ledger-2");
  const { code, errors } = await stack.stop();
  expect([code, errors]).toEqual([0, `${told.join("\n")}\n`]);
  for (const node of nodes)
    expect(await x1410InProcess(folder, "ledger", "verify", "--data", data, "--node", node)).toMatchObject({ code: 0 });
});
