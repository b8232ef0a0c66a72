import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
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

const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

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
      for await (const _ of client.count({}, { signal: cancellation.signal, timeoutMs: 3_600_000 })) break;
      cancellation.abort();
    };
    // What the connection itself keeps is there after the first.
    await read();
    const before = timers();
    for (let round = 0; round < 3; round++) await read();
    expect(timers()).toBe(before);
  } finally {
    transport.close();
    await server.close(100);
  }
});
