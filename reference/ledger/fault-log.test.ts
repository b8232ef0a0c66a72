// Why a node cannot write: its callers learn only that it does not, whoever runs it learns the cause.
import { expect, test } from "vitest";
import { type Log, silentLog } from "../communications/log.ts";
import type { FixtureNode } from "./ledger.fixture.ts";
import { create3, engineOf, networksOfFile, reaches, refusedWith, sign, submit } from "./network.fixture.ts";

networksOfFile();

type Operations = readonly { readonly key: string }[];
type Write = (operations: Operations, options?: object) => Promise<void>;

function book(): { readonly log: Log; readonly told: string[] } {
  const told: string[] = [];
  const error: Log["error"] = (event, fields) => {
    told.push(`${event}, ${fields?.["method"]}: ${String(fields?.["cause"]).split("\n")[0]}`);
  };
  return { log: { ...silentLog, error }, told };
}

/** Lets one write of this kind fail. */
function failOnce({ db }: FixtureNode, kind: (operations: Operations) => boolean, failure: Error): void {
  const write = db.batch.bind(db) as unknown as Write;
  const failing: Write = async (operations, options) => {
    if (!kind(operations)) return write(operations, options);
    Object.assign(db, { batch: write });
    throw failure;
  };
  Object.assign(db, { batch: failing });
}

const full = (): Error => Object.assign(new Error("no space left on device"), { code: "LEVEL_IO_ERROR" });
const block = ({ length }: Operations): boolean => length > 1;
const final = (operations: Operations): boolean => !block(operations) && operations[0]?.key === "final";
const receipt = (operations: Operations): boolean => !block(operations) && !final(operations);

test.each([
  ["a full disk", full(), "storage failed, propose: Error: no space left on device"],
  ["a mistake of the program", new TypeError("not a function"), "fault, propose: TypeError: not a function"],
])("the proposer tells of %s when it cannot write a block", async (_, failure, line) => {
  const [first] = create3();
  const { log, told } = book();
  // The others are away: that is no fault of this node.
  await first.start({ log, quorum: 1 });
  await submit(first);
  expect(told).toEqual([]);
  failOnce(first, block, failure);
  expect(await refusedWith(engineOf(first).submit([sign().envelope]))).toEqual(["Unavailable", "LEDGER_UNAVAILABLE"]);
  expect(told).toEqual([line]);
});

test.each([
  ["another node's receipt", receipt, "storage failed, distribute: Error: no space left on device"],
  ["what is final", final, "storage failed, keep what is final: Error: no space left on device"],
])("the proposer tells that it cannot keep %s", async (_, kind, line) => {
  const [first, second] = create3();
  const { log, told } = book();
  await first.start({ log });
  await second.start();
  failOnce(first, kind, full());
  await submit(first);
  await expect.poll(() => told, { interval: 5, timeout: 10_000 }).toContain(line);
});

test("a follower tells why it cannot take a block", async () => {
  const [first, second] = create3();
  const { log, told } = book();
  await first.start();
  await second.start({ log });
  failOnce(second, block, full());
  await submit(first);
  await reaches(second, 1n);
  expect(told).toEqual(["storage failed, accept: Error: no space left on device"]);
});
