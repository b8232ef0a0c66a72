import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { AnswerStore, type SignedAnswerKey } from "./answer-store.ts";

const start = Date.parse("2026-01-01T00:00:00Z");
let folder: string;
let db: Level<string, Uint8Array>;
let time: number;
let effects: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "x1410-answers-"));
  db = new Level(folder, { valueEncoding: "view" });
  await db.open();
  time = start;
  effects = 0;
});

afterEach(async () => {
  await db.close();
  rmSync(folder, { recursive: true });
});

const answersLevel = () => db.sublevel<string, Uint8Array>("answers", { valueEncoding: "view" });
const open = () => new AnswerStore(answersLevel(), () => new Date(time));

function keyOf(bytes: string, nonce = 1, identity = "urn:x1410:user:a"): SignedAnswerKey {
  const payloadSha256 = createHash("sha256").update(bytes).digest();
  return { identity, nonce: new Uint8Array(16).fill(nonce), payloadSha256, issuedAt: new Date(start) };
}

const produce = async () => Buffer.from(`answer ${++effects}`);

async function refusedWith(work: Promise<unknown>): Promise<[Code, ErrorReason]> {
  const error = await work.then(() => expect.unreachable("it should be refused"), ConnectError.from);
  return [error.code, reasonOf(error)];
}

test("identical bytes get the first answer again, over a restart too, with one effect", async () => {
  const answers = open();
  expect(Buffer.from(await answers.once(keyOf("x"), produce)).toString()).toBe("answer 1");
  expect(Buffer.from(await answers.once(keyOf("x"), produce)).toString()).toBe("answer 1");
  await db.close();
  await db.open();
  expect(Buffer.from(await open().once(keyOf("x"), produce)).toString()).toBe("answer 1");
  expect(effects).toBe(1);
});

test("the nonce under other bytes is refused, while at work and after; another identity may use it", async () => {
  const answers = open();
  const gate = Promise.withResolvers<void>();
  const first = answers.once(keyOf("x"), () => gate.promise.then(produce));
  expect(await refusedWith(answers.once(keyOf("y"), produce))).toEqual([Code.AlreadyExists, ErrorReason.NONCE_REUSED]);
  gate.resolve();
  await first;
  expect(await refusedWith(answers.once(keyOf("y"), produce))).toEqual([Code.AlreadyExists, ErrorReason.NONCE_REUSED]);
  await answers.once(keyOf("x", 1, "urn:x1410:user:b"), produce);
  await answers.once(keyOf("y", 2), produce);
  expect(effects).toBe(3);
});

test("duplicates at the same time share one effect", async () => {
  const answers = open();
  const all = await Promise.all(Array.from({ length: 50 }, () => answers.once(keyOf("x"), produce)));
  expect(new Set(all.map((answer) => Buffer.from(answer).toString()))).toEqual(new Set(["answer 1"]));
});

test("a failure is not kept", async () => {
  const answers = open();
  await expect(answers.once(keyOf("x"), () => Promise.reject(new Error("disk")))).rejects.toThrow("disk");
  expect(Buffer.from(await answers.once(keyOf("x"), produce)).toString()).toBe("answer 1");
});

test("answer and effect can share one batch", async () => {
  const answers = open();
  const records = db.sublevel<string, string>("records", {});
  await answers.once(keyOf("x"), async (write) => {
    const answer = Buffer.from("stored");
    const effect = { type: "put", sublevel: records, key: "r", value: "1", valueEncoding: "utf8" } as const;
    await db.batch<string, string | Uint8Array>([effect, ...write(answer)], { sync: true });
    return answer;
  });
  expect(await records.get("r")).toBe("1");
  expect(Buffer.from(await open().once(keyOf("x"), produce)).toString()).toBe("stored");
  expect(effects).toBe(0);
});

test("nonces are kept for the window and forgotten after it", async () => {
  const answers = open();
  await answers.once(keyOf("x"), produce);
  time = start + 360_000;
  expect(await refusedWith(answers.once(keyOf("y"), produce))).toEqual([Code.AlreadyExists, ErrorReason.NONCE_REUSED]);
  time = start + 500_000;
  await answers.once({ ...keyOf("z", 3), issuedAt: new Date(time) }, produce);
  expect((await answersLevel().keys().all()).filter((key) => key.startsWith("n!"))).toHaveLength(1);
});

test("request ids: the same contents get the first answer, others are refused, apart from nonces", async () => {
  const answers = open();
  const request = (contents: string) => ({
    identity: "urn:x1410:user:a",
    requestId: new Uint8Array(16).fill(1),
    requestSha256: createHash("sha256").update(contents).digest(),
    keepUntil: new Date(start + 1000),
  });
  await answers.once(keyOf("x"), produce);
  expect(Buffer.from(await answers.onceForRequestId(request("p"), produce)).toString()).toBe("answer 2");
  expect(Buffer.from(await answers.onceForRequestId(request("p"), produce)).toString()).toBe("answer 2");
  expect(await refusedWith(answers.onceForRequestId(request("q"), produce))).toEqual([
    Code.AlreadyExists,
    ErrorReason.REQUEST_ID_REUSED,
  ]);
});
