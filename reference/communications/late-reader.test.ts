import { once } from "node:events";
import {
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readableWhenLate } from "./late-reader.ts";

let server: Http2Server;
let client: ReturnType<typeof connect>;
beforeEach(async () => {
  server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  client = connect(place());
});
afterEach(async () => {
  client.destroy();
  await new Promise((resolve) => server.close(resolve));
});

function place(): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function request(answer: (stream: ServerHttp2Stream) => void): ClientHttp2Stream {
  server.once("stream", (stream) => {
    stream.on("error", () => undefined);
    answer(stream);
  });
  const stream = client.request({ ":method": "POST" });
  stream.end();
  return stream;
}

async function contentOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

test("a response that was complete before anybody read it is read whole", async () => {
  const stream = readableWhenLate(
    request((answering) => {
      answering.respond({ ":status": 200 });
      answering.end("answered");
    }),
  );
  await once(stream, "response");
  while (!stream.closed) await new Promise((resolve) => setImmediate(resolve));
  expect(await contentOf(stream)).toBe("answered");
});

test("one that is cut short fails, before anybody reads it or while somebody does", async () => {
  const half = () =>
    readableWhenLate(
      request((answering) => {
        answering.respond({ ":status": 200 });
        answering.write("half", () => answering.session?.destroy());
      }),
    );
  const late = half();
  const closed = Promise.withResolvers<void>();
  late.once("close", closed.resolve);
  await closed.promise;
  await expect(contentOf(late)).rejects.toThrow(/cut short/);
  client = connect(place());
  await expect(contentOf(half())).rejects.toThrow(/cut short/);
});

test("a reader that stops holds the writer", async () => {
  let taken = 0;
  const stream = readableWhenLate(
    request((answering) => {
      answering.respond({ ":status": 200 });
      const write = () => {
        while (taken < 64 << 20) {
          taken += 1 << 16;
          if (!answering.write(Buffer.alloc(1 << 16))) return void answering.once("drain", write);
        }
      };
      write();
    }),
  );
  await once(stream, "response");
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  // The answer to a ping comes after all data that was under way, and takes along every window update that it caused.
  let before = -1;
  while (before !== taken) {
    before = taken;
    for (let round = 0; round < 3; round += 1) {
      await new Promise<void>((resolve) => client.ping(() => resolve()));
    }
  }
  expect(taken).toBeLessThan(8 << 20);
  stream.close(constants.NGHTTP2_CANCEL);
});
