import type { Level } from "level";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { reasonOf } from "../communications/refusal.ts";
import { Clock, openDatabase, temporaryDirectory } from "../store/entity.fixture.ts";
import { Enrolments } from "./enrolment.ts";

const identity = "urn:x1410:user:alice";
const csr = new Uint8Array(1);

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let db: Level<string, string>;
let enrolments: Enrolments;

beforeEach(async () => {
  directory = await temporaryDirectory();
  db = await openDatabase(directory.path);
  enrolments = new Enrolments({ store: db, now: new Clock().now });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await db.close();
  await directory.remove();
});

test("a secret that is in use is ended when its certificate has been issued, and yields no other", async () => {
  const { secret } = await enrolments.prepare({ identity, hosts: [] });
  const other = await enrolments.prepare({ identity: "urn:x1410:user:bob", hosts: [] });
  const [claimed, gate, waiting] = [1, 2, 3].map(() => Promise.withResolvers<void>()) as [
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
  ];
  const commit = db.batch.bind(db) as (...operations: unknown[]) => Promise<void>;
  vi.spyOn(db, "batch").mockImplementationOnce((async (...operations: unknown[]) => {
    await commit(...operations);
    claimed.resolve();
    await gate.promise;
  }) as never);
  const done: string[] = [];
  const use = enrolments.use(secret, csr, () => {
    done.push("issued");
    return "fingerprint";
  });
  await claimed.promise;
  const run = KeyedMutex.prototype.run;
  vi.spyOn(KeyedMutex.prototype, "run").mockImplementation(function (this: KeyedMutex, key, task) {
    const turn = run.call(this, key, task);
    waiting.resolve();
    return turn as never;
  });
  const cancel = enrolments.cancel(identity).then((count) => done.push(`ended ${count}`));
  await Promise.race([waiting.promise, cancel]);
  gate.resolve();
  await Promise.all([use, cancel]);
  expect(done).toEqual(["issued", "ended 1"]);
  const again = enrolments.use(secret, csr, () => "another").catch(reasonOf);
  expect(await again).toBe(ErrorReason.ENROLMENT_INVALID);
  expect(await enrolments.use(other.secret, csr, () => "another")).toBe("another");
});
