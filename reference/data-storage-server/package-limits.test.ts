// What one identity may register, announce and store (DSM1 to DSM3), whether or not it has an account anywhere.
import { expect, test, vi } from "vitest";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  brokenOff,
  chunks,
  clock,
  DAY,
  HOUR,
  heldUpload,
  mallory,
  random,
  register,
  restart,
  restartWith,
  serverForEachTest,
  storageAs,
  store,
  stored,
} from "./data-storage-server.fixture.ts";

serverForEachTest();

const EXCEEDED = "RESOURCE_EXHAUSTED QUOTA_EXCEEDED";

test("registrations of one identity are limited while they are open, also after a restart; another identity is served", async () => {
  await restartWith({ openRegistrations: 2 });
  const requestId = random(16);
  const first = await register({ requestId });
  const second = await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  expect(await register({ requestId })).toEqual(first);
  await restart();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  await register({}, mallory);
  await store(first.packageId, random(10));
  await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  await storageAs(alice).deletePackage({ packageId: second.packageId });
  await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  clock.advance(DAY);
  await register();
});

test("a package above the limit is refused at its announcement; one at the limit is stored", async () => {
  await restartWith({ packageBytes: 100 });
  const { packageId } = await register();
  expect(await refusalOf(store(packageId, random(101)))).toBe(EXCEEDED);
  expect(await refusalOf(store(packageId, random(10), { size: 2 ** 50 }))).toBe(EXCEEDED);
  await store(packageId, random(100));
});

test("packages of one identity are limited in number, also after a restart; a deleted one frees its place; another identity is served", async () => {
  await restartWith({ storedPackages: 2 });
  const content = random(10);
  const first = await stored(content);
  await stored(random(10));
  const { packageId } = await register();
  expect(await refusalOf(store(packageId, content))).toBe(EXCEEDED);
  await store(first, content);
  await restart();
  expect(await refusalOf(store(packageId, content))).toBe(EXCEEDED);
  const other = await register({}, mallory);
  await store(other.packageId, content, {}, mallory);
  await storageAs(alice).deletePackage({ packageId: first });
  await storageAs(alice).deletePackage({ packageId: first });
  await store(packageId, content);
  expect(await refusalOf(stored(content))).toBe(EXCEEDED);
});

test("bytes of one identity are limited, those announced by uploads under way among them", async () => {
  await restartWith({ storedBytes: 100 });
  const content = random(60);
  const [one, two, three] = [await register(), await register(), await register()];
  const upload = heldUpload(one.packageId, content, [...chunks(content.subarray(0, 10))]);
  await upload.reached;
  expect(await refusalOf(store(two.packageId, random(41)))).toBe(EXCEEDED);
  await store(two.packageId, random(40));
  upload.goOn([...chunks(content.subarray(10))]);
  await upload.outcome;
  expect(await refusalOf(store(three.packageId, random(1)))).toBe(EXCEEDED);
  await restart();
  expect(await refusalOf(store(three.packageId, random(1)))).toBe(EXCEEDED);
  const other = await register({}, mallory);
  await store(other.packageId, random(100), {}, mallory);
  await storageAs(alice).deletePackage({ packageId: two.packageId });
  await store(three.packageId, random(40));
});

test("an upload that was broken off counts as announced also after a restart; a false one not at all", async () => {
  await restartWith({ storedBytes: 100 });
  const content = random(60);
  const [one, two] = [await register(), await register()];
  await brokenOff(one.packageId, content, [...chunks(content.subarray(0, 10))]);
  expect(await refusalOf(store(two.packageId, random(41)))).toBe(EXCEEDED);
  await restart();
  expect(await refusalOf(store(two.packageId, random(41)))).toBe(EXCEEDED);
  await store(one.packageId, content, { offset: 10 });
  expect(await refusalOf(store(two.packageId, random(40), { sha256: random(32) }))).toBe(
    "DATA_LOSS PACKAGE_DIGEST_MISMATCH",
  );
  await brokenOff(two.packageId, random(40), []);
  await stored(random(40));
});

test("what an ended registration has left counts until it is swept away, while the server runs", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    await restartWith({ storedBytes: 100 });
    const content = random(60);
    const left = await register();
    await brokenOff(left.packageId, content, [...chunks(content.subarray(0, 10))]);
    clock.advance(DAY);
    const { packageId } = await register();
    expect(await refusalOf(store(packageId, content))).toBe(EXCEEDED);
    vi.advanceTimersByTime(HOUR);
    await vi.waitFor(() => store(packageId, content));
  } finally {
    vi.useRealTimers();
  }
});
