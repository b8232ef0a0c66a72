import { once } from "node:events";
import { connect } from "node:http2";
import { create } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessControl } from "./access-control.ts";
import { EchoService, type EchoServiceType, NoteSchema } from "./echo.fixture.ts";
import { type ClosableTransport, grpcTransport } from "./grpc-transport.ts";
import type { Log } from "./log.ts";
import { peerKey } from "./peer.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { reasonOf, refusal } from "./refusal.ts";
import { type RunningServer, type ServerOptions, startServer } from "./server.ts";
import { implement } from "./service.ts";
import { secureContextOptions } from "./tls-credentials.ts";

let fixture: PkiFixture;
let kss: ReturnType<PkiFixture["issue"]>;
let alice: ReturnType<PkiFixture["issue"]>;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  alice = fixture.issue("user", "alice");
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

type Echo = Partial<ServiceImpl<EchoServiceType>>;

async function start(implementation: Echo, options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const registrations = [implement(EchoService, implementation)];
  const server = await startServer({ name: "test", credentials: kss.credentials, registrations, ...options });
  open.push({ close: () => server.close(200) });
  return server;
}

function channelTo(server: RunningServer, credentials = alice.credentials): ClosableTransport {
  const transport = grpcTransport({ address: server.address, credentials, serverIdentity: kss.identity });
  open.push(transport);
  return transport;
}

function clientTo(server: RunningServer, credentials = alice.credentials): Client<EchoServiceType> {
  return createClient(EchoService, channelTo(server, credentials));
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (cause) {
    if (cause instanceof ConnectError) return cause;
    throw cause;
  }
  throw new Error("the call succeeded");
}

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

async function* notes(...texts: string[]) {
  for (const text of texts) yield { text };
}

describe("calls of each kind", () => {
  test("unary", async () => {
    const server = await start({ say: ({ text }) => ({ text: `${text}!` }) });
    const client = clientTo(server);
    expect((await client.say({ text: "hello" })).text).toBe("hello!");
    expect((await client.say({ text: "again" })).text).toBe("again!");
  });

  test("server stream", async () => {
    const server = await start({
      async *count({ text }) {
        for (let index = 0; index < Number(text); index++) yield { text: String(index) };
      },
    });
    const answers = await collect(clientTo(server).count({ text: "300" }));
    expect(answers.map(({ text }) => Number(text))).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(await collect(clientTo(server).count({ text: "0" }))).toEqual([]);
  });

  test("client stream", async () => {
    const server = await start({
      async join(requests) {
        const texts: string[] = [];
        for await (const { text } of requests) texts.push(text);
        return { text: texts.join("-") };
      },
    });
    expect((await clientTo(server).join(notes("a", "b", "c"))).text).toBe("a-b-c");
    expect((await clientTo(server).join(notes())).text).toBe("");
  });

  test("both at once", async () => {
    const server = await start({
      async *chat(requests) {
        for await (const { text } of requests) yield { text: text.toUpperCase() };
      },
    });
    const answers = await collect(clientTo(server).chat(notes("a", "b")));
    expect(answers.map(({ text }) => text)).toEqual(["A", "B"]);
  });

  test("a method left out answers UNIMPLEMENTED, as does an unknown service", async () => {
    const server = await start({});
    expect((await failure(clientTo(server).say({}))).code).toBe(Code.Unimplemented);
  });
});

describe("metadata and context", () => {
  test("pass both ways, binary ones too", async () => {
    const server = await start({
      say(_request, { requestHeader, responseHeader, responseTrailer }) {
        responseHeader.set("x-echo", requestHeader.get("x-sent") ?? "");
        responseHeader.set("x-echo-bin", requestHeader.get("x-sent-bin") ?? "");
        responseTrailer.set("x-after", "done");
        return {};
      },
    });
    const seen: Headers[] = [];
    const keep = (headers: Headers) => void seen.push(headers);
    const headers = { "x-sent": "value", "x-sent-bin": "AP8B" };
    await clientTo(server).say({}, { headers, onHeader: keep, onTrailer: keep });
    expect(seen[0]?.get("x-echo")).toBe("value");
    expect(seen[0]?.get("x-echo-bin")).toBe("AP8B");
    expect(seen[1]?.get("x-after")).toBe("done");
  });

  test("the peer is the certificate's identity and fingerprint", async () => {
    let context: HandlerContext | undefined;
    const server = await start({
      say(_request, given) {
        context = given;
        return {};
      },
    });
    await clientTo(server).say({});
    const peer = context?.values.get(peerKey);
    expect(peer).toMatchObject({ identity: alice.identity, fingerprint: alice.fingerprint, transport: "mtls" });
    expect(context?.method.name).toBe("Say");
    expect(context?.service.typeName).toBe(EchoService.typeName);
    expect(context?.signal.aborted).toBe(true);
  });
});

describe("errors", () => {
  test("keep code, reason and text", async () => {
    const server = await start({
      say() {
        throw refusal(ErrorReason.KEY_NOT_FOUND, "k1");
      },
      async *count() {
        yield { text: "first" };
        throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE);
      },
    });
    const error = await failure(clientTo(server).say({}));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, ErrorReason.KEY_NOT_FOUND]);
    expect(error.rawMessage).toContain("k1");
    const streamed = await failure(collect(clientTo(server).count({})));
    expect([streamed.code, reasonOf(streamed)]).toEqual([Code.OutOfRange, ErrorReason.OFFSET_OUT_OF_RANGE]);
  });

  test("a fault tells nothing but INTERNAL_FAULT, and is logged", async () => {
    const logged: unknown[] = [];
    const log: Log = { info: () => undefined, warn: () => undefined, error: (...entry) => void logged.push(entry) };
    const server = await start(
      {
        say() {
          throw new TypeError("secret inside");
        },
        join: () => Promise.reject(new Error("secret inside")),
      },
      { log },
    );
    for (const error of [await failure(clientTo(server).say({})), await failure(clientTo(server).join(notes("a")))]) {
      expect([error.code, reasonOf(error)]).toEqual([Code.Internal, ErrorReason.INTERNAL_FAULT]);
      expect(error.message).not.toContain("secret");
    }
    expect(JSON.stringify(logged)).toContain("secret inside");
  });

  test("an error text that cannot be percent-encoded does not break the call", async () => {
    const server = await start({
      say() {
        throw new ConnectError("\ud800 100% é", Code.NotFound);
      },
    });
    const error = await failure(clientTo(server).say({}));
    expect(error.code).toBe(Code.NotFound);
  });

  test("messages above the limit are refused both ways", async () => {
    const server = await start(
      { say: ({ data }) => ({ data: data.length === 0 ? new Uint8Array(2000) : new Uint8Array() }) },
      { limits: { maxMessageBytes: 1000 } },
    );
    expect((await failure(clientTo(server).say({ data: new Uint8Array(2000) }))).code).toBe(Code.ResourceExhausted);
    expect((await failure(clientTo(server).say({}))).code).toBe(Code.ResourceExhausted);
    expect((await clientTo(server).say({ data: new Uint8Array(900) })).data.length).toBe(0);
  });
});

describe("ends of calls", () => {
  test("a deadline reaches the implementation and the caller", async () => {
    const ended = Promise.withResolvers<unknown>();
    const server = await start({
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
    expect((await failure(clientTo(server).say({}, { timeoutMs: 100 }))).code).toBe(Code.DeadlineExceeded);
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

describe("access control (AAC3)", () => {
  const say: Echo = { say: () => ({}) };

  test("deny list, allow list and method list, replaced on open connections", async () => {
    const accessControl = new AccessControl();
    const server = await start(say, { accessControl });
    const client = clientTo(server);
    await client.say({});
    const refusedBy = async () => {
      const error = await failure(client.say({}));
      return [error.code, reasonOf(error)];
    };
    accessControl.replace({ deny: [{ fingerprint: alice.fingerprint.toUpperCase() }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
    accessControl.replace({ deny: [{ identity: "urn:x1410:user:*" }], allow: [{ identity: alice.identity }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
    accessControl.replace({ allow: [{ identity: "urn:x1410:user:bob" }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.NOT_ALLOW_LISTED]);
    accessControl.replace({ methods: { "x1410.test.EchoService/*": [{ identity: "urn:x1410:entity:dssm:*" }] } });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.CALLER_NOT_ALLOWED]);
    accessControl.replace({
      allow: [{ identity: alice.identity }],
      methods: { "x1410.test.EchoService/Say": [{ fingerprint: alice.fingerprint }] },
    });
    await client.say({});
  });
});

test("a port in use is said clearly", async () => {
  const server = await start({});
  await expect(start({}, { port: server.port })).rejects.toThrow(`127.0.0.1:${server.port} is in use`);
});

test("a server of another identity is not talked to", async () => {
  const server = await start({ say: () => create(NoteSchema) });
  const transport = grpcTransport({
    address: server.address,
    credentials: alice.credentials,
    serverIdentity: "urn:x1410:entity:kss:two",
  });
  open.push(transport);
  const error = await failure(createClient(EchoService, transport).say({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(error.message).toContain("not urn:x1410:entity:kss:two");
});
