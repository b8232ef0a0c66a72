// Every file of a stopped stack's data directory damaged in turn: the command says so in one line and leaves the file as it is, or it is
// one that the command can write again. A share by default, all of them in the campaign.
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readIfPresent } from "../certs/durable-file.ts";
import { StackProcess } from "../reference/stack/crash.fixture.ts";
import { seededShare } from "../tools/seeded-share.ts";
import { ROOT, run } from "../tools/toolchain.ts";

let folder: string;
let data: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-damage-"));
  data = join(folder, "data");
  await (await StackProcess.start(data)).stop();
});
afterAll(() => rm(folder, { recursive: true }));

/** Copies of what is kept elsewhere, written at each start; LevelDB's own log is for people; the root has no issuers. */
const rewritten =
  /^(network\.json|target\.yaml|profiles\/.*|.*\/(crl\.(pem|der)|chain\.pem|ca\.pem)|pki\/root\/issuers\.pem|.*\/LOG(\.old)?)$/;

const damages: Record<string, (whole: Buffer) => Buffer> = {
  emptied: () => Buffer.alloc(0),
  "cut in half": (whole) => whole.subarray(0, whole.length >> 1),
  garbled: (whole) => {
    const garbled = Buffer.from(whole);
    const middle = whole.length >> 1;
    for (let at = middle; at < Math.min(middle + 16, whole.length); at++) garbled[at] = (garbled[at] ?? 0) ^ 0x55;
    return garbled;
  },
};

function files(): string[] {
  return readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "LOCK" && entry.name !== ".gitignore")
    .map((entry) => relative(data, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)lock\//.test(path))
    .sort();
}

/** What is in the file then. */
function damagedBy(damage: string, path: string): Buffer {
  return damages[damage]?.(readFileSync(path)) ?? Buffer.alloc(0);
}

/** Each file and damage, where that is one. */
function cases(): [string, string][] {
  const differs = (path: string, damage: string) =>
    damagedBy(damage, path).toString("latin1").trim() !== readFileSync(path, "latin1").trim();
  return files()
    .filter((path) => !rewritten.test(path))
    .flatMap((path) => Object.keys(damages).map((damage): [string, string] => [path, damage]))
    .filter(([path, damage]) => differs(join(data, path), damage));
}

async function onCopy<T>(use: (copy: string) => Promise<T>): Promise<T> {
  const copy = await mkdtemp(join(folder, "copy-"));
  cpSync(data, copy, { recursive: true });
  try {
    return await use(copy);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

test("damage to what is kept elsewhere as well is mended", async () => {
  for (const damage of seededShare(Object.keys(damages), 1)) {
    await onCopy(async (copy) => {
      const paths = files().filter((path) => rewritten.test(path));
      for (const path of paths) writeFileSync(join(copy, path), damagedBy(damage, join(copy, path)));
      await (await StackProcess.start(copy)).stop();
    });
  }
}, 120_000);

test("other damage is told in one line, and what is damaged is left as it is", async () => {
  const wrong: string[] = [];
  for (const [path, damage] of seededShare(cases(), 2)) {
    await onCopy(async (copy) => {
      const damaged = damagedBy(damage, join(copy, path));
      writeFileSync(join(copy, path), damaged);
      const command = [join(ROOT, "bin/x1410.js"), "up", "--json", "--base-port", "0", "--data", copy];
      const { code, output } = await run(process.execPath, command, { timeoutMs: 20_000 });
      const file = readIfPresent(join(copy, path)) ?? Buffer.alloc(0);
      // Of a log of certificates the line that was cut may be gone.
      const kept = path.endsWith(".jsonl") ? damaged.subarray(0, file.length).equals(file) : file.equals(damaged);
      const line = /^x1410: [^\n]+(restore|remove|run the version|name another)[^\n]+\n$/.test(output);
      if (code !== 1 || !kept || !line) wrong.push(`${path} ${damage}: ${code} ${kept ? "kept" : "changed"} ${output}`);
    });
  }
  expect(wrong).toEqual([]);
}, 1_800_000);
