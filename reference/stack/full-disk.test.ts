// The whole stack on a file system that takes no more: writes are refused and say why, reads go on, faults are told though nobody asked for a
// log, and with room again everything goes on without a restart, and is there after one.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { DataConsumer } from "../data-consumer/consumer.ts";
import { DataProvider } from "../data-provider/provider.ts";
import { readProfile } from "../user/profile.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { User } from "../user/user.ts";
import { StackProcess } from "./crash.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-stack-disk-"));
/** What users keep lies elsewhere. */
const elsewhere = mkdtempSync(join(tmpdir(), "x1410-stack-disk-users-"));
const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=24m", "x1410", folder], { encoding: "utf8" });
const mounted = mount.status === 0;
const why = mounted ? "" : (mount.error?.message ?? mount.stderr).trim().split("\n")[0];
const data = join(folder, "data");
let stack: StackProcess | undefined;
const open: User[] = [];

afterAll(async () => {
  for (const user of open) user.close();
  await stack?.kill();
  if (mounted) spawnSync("umount", [folder]);
  rmdirSync(folder);
  rmSync(elsewhere, { recursive: true });
});

/** Each with a session of its own. */
async function connected({ ready }: StackProcess, name: "provider" | "consumer") {
  const user = await User.connect(await readProfile(ready.users[name].profile));
  open.push(user);
  const patience = { attempts: 1, firstPauseMs: 0, longestPauseMs: 0 };
  return { user, state: StateDirectory.open(join(elsewhere, name)), patience };
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function publishedBy(provider: DataProvider) {
  const permission = { accessTimes: 100, expiration: new Date(Date.now() + 3_600_000), readOnly: true };
  return provider.publish(bytesOf("shared"), { attributes: { category: "disk", introduction: "full" }, permission });
}

async function count(all: AsyncIterable<unknown>): Promise<number> {
  let found = 0;
  for await (const _ of all) found += 1;
  return found;
}

/** Takes what is left of the file system. */
function fill(path: string): void {
  const file = openSync(path, "w");
  const chunk = Buffer.alloc(4096);
  try {
    for (;;) writeSync(file, chunk);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause;
  } finally {
    closeSync(file);
  }
}

async function refused(call: Promise<unknown>): Promise<void> {
  const answer = await call.catch(ConnectError.from);
  expect(answer).toMatchObject({ code: Code.Unavailable });
  expect(reasonOf(answer)).toBe(ErrorReason.STORAGE_UNAVAILABLE);
}

test.skipIf(!mounted)(
  mounted ? "a full disk: writes are refused, reads go on, and all goes on with room again" : `NOT RUN: ${why}`,
  async () => {
    stack = await StackProcess.start(data, "--ledger-nodes", "3");
    const provider = new DataProvider(await connected(stack, "provider"));
    const consumer = new DataConsumer(await connected(stack, "consumer"));
    const { contractAddress } = await publishedBy(provider);
    const access = async () => {
      const session = await consumer.access(contractAddress);
      await session.close();
    };
    await access();
    let [policies, accesses] = [1, 1];
    for (let round = 0; round < 2; round++) {
      const ballast = join(folder, "ballast");
      fill(ballast);
      for (let turn = 0; turn < 3; turn++) {
        await refused(publishedBy(provider));
        await refused(access());
        // Whoever comes now may read as well.
        for (const reading of [consumer, new DataConsumer(await connected(stack, "consumer"))]) {
          expect(await count(reading.search())).toBe(policies);
          expect(await count(reading.records())).toBe(accesses);
        }
      }
      unlinkSync(ballast);
      const resumed = await provider.resume();
      expect(resumed.filter(({ outcome }) => outcome === "failed")).toEqual([]);
      await publishedBy(provider);
      await access();
      policies = await count(consumer.search());
      accesses += 1;
      expect(policies).toBeGreaterThan(round + 1);
      expect(await count(consumer.records())).toBe(accesses);
    }
    // The worst end that there is: what was acknowledged after the disk was full is there all the same.
    const { errors } = await stack.kill();
    const lines = errors.trim().split("\n");
    expect(lines[0]).toMatch(/"event":"storage failed".*(ENOSPC|No space left)/);
    expect(lines.length).toBeLessThan(20);
    stack = await StackProcess.start(data, "--ledger-nodes", "3");
    const again = new DataConsumer(await connected(stack, "consumer"));
    expect(await count(again.search())).toBe(policies);
    expect(await count(again.records())).toBe(accesses);
    expect(await stack.stop()).toEqual({ code: 0, signal: null, errors: "" });
  },
  120_000,
);
