// How calls end: by deadline, by either side, by a server that closes.
import { once } from "node:events";
import { connect } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { alice, clientTo, collect, echoServersOfFile, failure, notes, open, start } from "./echo-server.fixture.ts";
import { secureContextOptions } from "./tls-credentials.ts";

echoServersOfFile();

describe("ends of calls", () => {
  test("a deadline reaches the implementation and the caller", async () => {
    const ended = Promise.withResolvers<unknown>();
    const server = await start({
      join: async () => ({}),
      say(_request, { signal, timeoutMs }) {
        expect(timeoutMs()).toBeGreaterThan(0);
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            ended.resolve(signal.reason);
            reject(signal.reason);
          });
        });
      },
    });
    const client = clientTo(server);
    // Connected first: the deadline must not pass before the call has left.
    await client.join(notes());
    expect((await failure(client.say({}, { timeoutMs: 300 }))).code).toBe(Code.DeadlineExceeded);
    // The server's own clock and the client's cancellation race.
    expect([Code.DeadlineExceeded, Code.Canceled]).toContain(ConnectError.from(await ended.promise).code);
  });

  test("a cancelled stream ends the implementation", async () => {
    const ended = Promise.withResolvers<void>();
    const server = await start({
      async *count(_request, { signal }) {
        try {
          yield { text: "one" };
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          yield { text: "too late" };
        } finally {
          ended.resolve();
        }
      },
    });
    const controller = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { text } of clientTo(server).count({}, { signal: controller.signal })) {
        seen.push(text);
        controller.abort();
      }
    })();
    expect((await failure(reading)).code).toBe(Code.Canceled);
    await ended.promise;
    expect(seen).toEqual(["one"]);
  });

  test("a reader that stops holds the writer", async () => {
    let written = 0;
    const data = new Uint8Array(256 * 1024);
    const server = await start({
      say: () => ({}),
      async *count() {
        for (; written < 400; written++) yield { data };
      },
    });
    const client = clientTo(server);
    const iterator = client.count({})[Symbol.asyncIterator]();
    await iterator.next();
    // A writer that waited for nobody would be done before the first of these comes back.
    for (let index = 0; index < 20; index++) await client.say({});
    expect(written).toBeLessThan(100);
    let rest = 1;
    while ((await iterator.next()).done !== true) rest++;
    expect(rest).toBe(400);
  });

  test("a request stream that dries up is ended", async () => {
    const server = await start(
      {
        async join(requests) {
          await collect(requests);
          return {};
        },
      },
      { limits: { requestTimeoutMs: 50 } },
    );
    async function* stalled() {
      yield { text: "one" };
      await new Promise(() => undefined);
    }
    expect((await failure(clientTo(server).join(stalled()))).code).toBe(Code.DeadlineExceeded);
  });

  test("a request that never arrives is ended", async () => {
    const server = await start({ say: () => ({}) }, { limits: { requestTimeoutMs: 50 } });
    const session = connect(`https://${server.address}`, {
      ...secureContextOptions(alice.credentials),
      checkServerIdentity: () => undefined,
    });
    open.push({ close: () => session.destroy() });
    const stream = session.request({
      ":method": "POST",
      ":path": "/x1410.test.EchoService/Say",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const [headers] = await once(stream, "response");
    expect(headers["grpc-status"]).toBe(String(Code.DeadlineExceeded));
  });

  test("closing finishes unary calls and ends streams with UNAVAILABLE", async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const server = await start({
      async say() {
        begun.resolve();
        await release.promise;
        return { text: "finished" };
      },
      async *count(_request, { signal }) {
        yield { text: "one" };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    const client = clientTo(server);
    const stream = client.count({})[Symbol.asyncIterator]();
    await stream.next();
    const unary = client.say({});
    await begun.promise;
    const closed = server.close(5000);
    expect((await failure(stream.next())).code).toBe(Code.Unavailable);
    release.resolve();
    expect((await unary).text).toBe("finished");
    await closed;
    expect((await failure(client.say({}))).code).toBe(Code.Unavailable);
  });

  test("closing cuts what does not end in time", async () => {
    const begun = Promise.withResolvers<void>();
    const server = await start({
      say() {
        begun.resolve();
        return new Promise(() => undefined);
      },
    });
    const unary = clientTo(server).say({});
    await begun.promise;
    const outcome = failure(unary);
    await server.close(50);
    expect((await outcome).code).toBe(Code.Unavailable);
  });
});
