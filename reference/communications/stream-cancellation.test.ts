import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { connectTransport } from "./connect-transport.ts";
import { EchoService, NoteSchema } from "./echo.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";

let fixture: PkiFixture;
beforeAll(() => {
  fixture = pkiFixture();
});
afterAll(() => fixture.remove());

const DEADLINE_MS = 3_600_000;
afterEach(() => void vi.restoreAllMocks());

const isDeadline = (delay?: number) => delay !== undefined && delay > DEADLINE_MS / 2 && delay <= DEADLINE_MS;

/** Timers of about the deadline that have been set and not cleared since. */
function pendingDeadlines(): Set<unknown> {
  const pending = new Set<unknown>();
  const [set, clear] = [globalThis.setTimeout, globalThis.clearTimeout];
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, delay?: number, ...rest: []) => {
    const timer = set(run, delay, ...rest);
    if (isDeadline(delay)) pending.add(timer);
    return timer;
  }) as typeof setTimeout);
  vi.spyOn(globalThis, "clearTimeout").mockImplementation((timer) => {
    pending.delete(timer);
    clear(timer);
  });
  return pending;
}

test.each([
  ["grpc-js", grpcTransport],
  ["connect-node", connectTransport],
] as const)("over %s a stream that its reader has cancelled leaves no timer behind", async (_, open) => {
  const kss = fixture.issue("kss", "cancelled");
  const { credentials } = fixture.issue("user", "alice");
  async function* count() {
    while (true) {
      yield create(NoteSchema, { text: "one more" });
      await new Promise(setImmediate);
    }
  }
  const registrations = [implement(EchoService, { count })];
  const server = await startServer({ name: "test", credentials: kss.credentials, registrations });
  const transport = open({ address: server.address, credentials, serverIdentity: kss.identity });
  try {
    const client = createClient(EchoService, transport);
    const read = async () => {
      const cancellation = new AbortController();
      for await (const _ of client.count({}, { signal: cancellation.signal, timeoutMs: DEADLINE_MS })) break;
      cancellation.abort();
    };
    const pending = pendingDeadlines();
    for (let round = 0; round < 3; round++) await read();
    expect(setTimeout).toHaveBeenCalledWith(expect.any(Function), expect.toSatisfy(isDeadline));
    await vi.waitFor(() => expect(pending.size).toBe(0), { timeout: 5_000 });
  } finally {
    transport.close();
    await server.close(100);
  }
});
