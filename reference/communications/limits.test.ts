// What one peer may take of a server, seen from bare HTTP/2: limits hold at the gRPC port and at the exposure port, and only whoever breaks
// them is cut.
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { Worker } from "node:worker_threads";
import { Code, createClient } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EchoService } from "./echo.fixture.ts";
import { startExposure } from "./exposure-host.ts";
import { grpcTransport } from "./grpc-transport.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";
import { secureContextOptions } from "./tls-credentials.ts";

let fixture: PkiFixture;
let kss: ReturnType<PkiFixture["issue"]>;
let alice: ReturnType<PkiFixture["issue"]>;
let bob: ReturnType<PkiFixture["issue"]>;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  alice = fixture.issue("user", "alice");
  bob = fixture.issue("user", "bob");
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

const doors = ["gRPC", "exposure API"] as const;
type Door = (typeof doors)[number];

/** Response messages that the implementation was asked for, and how its streams ended. */
let asked = 0;
let received = 0;
let ended: PromiseWithResolvers<void>;
const chunk = new Uint8Array(64 * 1024);

const echo = implement(EchoService, {
  say: ({ text }) => ({ text }),
  async *count({ text }, { signal }) {
    try {
      if (text === "quiet") await new Promise((resolve) => signal.addEventListener("abort", resolve));
      else for (; asked < 4000; asked++) yield { data: chunk };
    } finally {
      ended.resolve();
    }
  },
  async join(requests) {
    try {
      for await (const _ of requests) received++;
    } finally {
      ended.resolve();
    }
    return {};
  },
});

async function start(door: Door, limits: Partial<Limits> = {}) {
  asked = 0;
  received = 0;
  ended = Promise.withResolvers();
  const warned: string[] = [];
  const log: Log = {
    info: () => {},
    warn: (event) => void warned.push(event),
    error: (event) => void warned.push(event),
  };
  const options = { name: "test", credentials: kss.credentials, registrations: [echo], limits, log };
  const server = door === "gRPC" ? await startServer(options) : await startExposure(options);
  open.push({ close: () => server.close(0) });
  return { ...server, door, warned };
}

type Running = Awaited<ReturnType<typeof start>>;

/** Connections that come and are reset while this thread, the server's, waits: it accepts them afterwards. */
function resetBeforeAccepted({ port }: Running, count: number): void {
  const left = new Int32Array(new SharedArrayBuffer(4)).fill(count);
  const stranger = `
    const { port, count, left } = require("node:worker_threads").workerData;
    for (let index = 0; index < count; index++) {
      const socket = require("node:net").connect(port, "127.0.0.1", () => socket.resetAndDestroy());
      socket.once("close", () => {
        if (Atomics.sub(left, 0, 1) === 1) Atomics.notify(left, 0);
      });
    }`;
  const worker = new Worker(stranger, { eval: true, workerData: { port, count, left } });
  open.push({ close: () => worker.terminate() });
  for (let now = count; now > 0; now = Atomics.load(left, 0)) Atomics.wait(left, 0, now, 10_000);
}

function sessionTo({ port }: Running, caller = alice): ClientHttp2Session {
  const session = connect(`https://localhost:${port}`, {
    ...secureContextOptions(caller.credentials),
    checkServerIdentity: () => undefined,
    settings: { initialWindowSize: 64 * 1024 },
  });
  session.on("error", () => {});
  open.push({ close: () => session.destroy() });
  return session;
}

function request({ door }: Running, session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": `/x1410.test.EchoService/${method}`,
    ...(door === "gRPC"
      ? { "content-type": "application/grpc", te: "trailers" }
      : { "content-type": `application/${method === "Say" ? "" : "connect+"}proto`, "connect-protocol-version": "1" }),
  });
  stream.on("error", () => {});
  return stream;
}

/** A message in its envelope: a flag and four bytes of length. */
function framed(body: Uint8Array, length = body.byteLength): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, body]);
}

/** Note{text} */
const note = (text: string) => Buffer.concat([Buffer.from([0x0a, text.length]), Buffer.from(text)]);

/** Canonical code of the answer, as each protocol tells it. */
async function codeOf({ door }: Running, stream: ClientHttp2Stream): Promise<Code | "OK" | undefined> {
  const parts: Buffer[] = [];
  let headers: Record<string, unknown> = {};
  stream.on("response", (given) => {
    headers = { ...headers, ...given };
  });
  stream.on("trailers", (given) => {
    headers = { ...headers, ...given };
  });
  stream.on("data", (part: Buffer) => parts.push(part));
  // The server's half has ended, or all of it was reset.
  await new Promise<void>((resolve) => {
    stream.once("end", resolve);
    stream.once("close", resolve);
  });
  if (door === "gRPC") {
    const status = headers["grpc-status"];
    return status === undefined ? undefined : status === "0" ? "OK" : Number(status);
  }
  const body = Buffer.concat(parts).toString("latin1");
  const code = /"code":"([a-z_]+)"/.exec(body)?.[1];
  if (code !== undefined)
    return code === "resource_exhausted"
      ? Code.ResourceExhausted
      : code === "deadline_exceeded"
        ? Code.DeadlineExceeded
        : Code.Unknown;
  return headers[":status"] === 200 ? "OK" : undefined;
}

const [HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY] = [1, 3, 4, 6, 7] as const;

/** An HTTP/2 frame (RFC 9113, 4.1). */
function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.byteLength, 0, 3);
  header.set([type, flags], 3);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** A request and its cancellation in one breath (CVE-2023-44487). */
function openedAndReset(streamId: number): Buffer {
  const path = Buffer.from("/x1410.test.EchoService/Count");
  const literal = (index: number[], value: Buffer) => Buffer.concat([Buffer.from([...index, value.byteLength]), value]);
  const fields = Buffer.concat([
    // :method POST, :scheme https (RFC 7541, appendix A), then :path, :authority and content-type as literals.
    Buffer.from([0x83, 0x87]),
    literal([0x04], path),
    literal([0x01], Buffer.from("localhost")),
    literal([0x0f, 0x10], Buffer.from("application/grpc")),
  ]);
  const cancel = Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL]);
  return Buffer.concat([frame(HEADERS, 0x04, streamId, fields), frame(RST_STREAM, 0, streamId, cancel)]);
}

function framesIn(bytes: Buffer): { type: number; payload: Buffer }[] {
  const frames: { type: number; payload: Buffer }[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    frames.push({ type: bytes[at + 3] ?? 0, payload: bytes.subarray(at + 9, at + 9 + length) });
    at += 9 + length;
  }
  return frames;
}

/** The server still answers others. */
async function assertAlive(running: Running, caller = alice): Promise<void> {
  expect(await codeOf(running, said(running, sessionTo(running, caller)))).toBe("OK");
}

/** A whole unary call. */
function said(running: Running, session: ClientHttp2Session): ClientHttp2Stream {
  const stream = request(running, session, "Say");
  stream.end(running.door === "gRPC" ? framed(note("hi")) : note("hi"));
  return stream;
}

/** Connections from an address of this machine that never say a word of TLS. */
function crowd({ port }: Running, localAddress: string, count: number) {
  const sockets = Array.from({ length: count }, () => {
    const socket = connectTcp({ host: "127.0.0.1", port, localAddress }).resume();
    socket.on("error", () => {});
    open.push({ close: () => socket.destroy() });
    return socket;
  });
  return {
    connected: Promise.all(sockets.map((socket) => once(socket, "connect"))),
    open: () => sockets.filter(({ closed, readyState }) => !closed && readyState === "open").length,
  };
}

describe.each(doors)("at the %s port", (door) => {
  test("an oversize message is refused before all of it has come", async () => {
    const running = await start(door, { maxMessageBytes: 100_000 });
    const stream = request(running, sessionTo(running), "Join");
    const code = codeOf(running, stream);
    stream.write(framed(new Uint8Array(200_000)));
    expect(await code).toBe(Code.ResourceExhausted);
    expect(received).toBe(0);
    await assertAlive(running);
  });

  test("a declared length of 4 GiB is refused, and nothing is set aside for it", async () => {
    const running = await start(door);
    const before = process.memoryUsage().arrayBuffers;
    const stream = request(running, sessionTo(running), "Join");
    const code = codeOf(running, stream);
    stream.write(framed(new Uint8Array(10), 0xff_ff_ff_ff));
    expect(await code).toBe(Code.ResourceExhausted);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    await assertAlive(running);
  });

  test("a peer that never reads is cut, and the writer stops long before", async () => {
    const running = await start(door, { stallTimeoutMs: 100 });
    const session = sessionTo(running);
    const stream = request(running, session, "Count");
    stream.pause();
    stream.end(framed(note("all")));
    await once(session, "close");
    await ended.promise;
    expect(running.warned).toContain("stalled peer cut");
    // 4000 chunks of 64 KiB are 250 MiB; a few MiB lie in buffers of the stack and of the system.
    expect(asked).toBeLessThan(400);
    await assertAlive(running);
  });

  test("a stream that is merely quiet is not cut", async () => {
    const running = await start(door, { stallTimeoutMs: 20, requestTimeoutMs: 20 });
    const session = sessionTo(running);
    const stream = request(running, session, "Count");
    let closed = false;
    stream.once("close", () => {
      closed = true;
    });
    stream.end(framed(note("quiet")));
    // As many calls as take several of these times.
    const until = Date.now() + 150;
    while (Date.now() < until) await assertAlive(running);
    expect(closed).toBe(false);
    expect(running.warned).toEqual([]);
    stream.close(constants.NGHTTP2_CANCEL);
    await ended.promise;
  });

  test("a request stream that stops is ended by a deadline", async () => {
    const running = await start(door, { requestTimeoutMs: 50 });
    const stream = request(running, sessionTo(running), "Join");
    const code = codeOf(running, stream);
    stream.write(framed(note("one")));
    expect(await code).toBe(Code.DeadlineExceeded);
    await ended.promise;
    expect(received).toBe(1);
    await assertAlive(running);
  });

  test("a burst of resets closes that session, and no other", async () => {
    const running = await start(door);
    const steady = sessionTo(running);
    const held = request(running, steady, "Count");
    held.end(framed(note("quiet")));
    const attacker = connectTls({
      host: "localhost",
      port: running.port,
      ALPNProtocols: ["h2"],
      ...secureContextOptions(alice.credentials),
      checkServerIdentity: () => undefined,
    });
    open.push({ close: () => attacker.destroy() });
    attacker.on("error", () => {});
    const closed = once(attacker, "close");
    await once(attacker, "secureConnect");
    const frames: Buffer[] = [];
    attacker.on("data", (part: Buffer) => frames.push(part));
    attacker.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0)]));
    // A few are nothing: the session lives and answers.
    for (let id = 1; id < 100; id += 2) attacker.write(openedAndReset(id));
    attacker.write(frame(PING, 0, 0, Buffer.alloc(8)));
    await expect.poll(() => framesIn(Buffer.concat(frames)).some(({ type }) => type === PING)).toBe(true);
    // Far more than a client has reason for, far less than would hurt.
    for (let id = 101; id < 6000 && !attacker.destroyed; id += 2) attacker.write(openedAndReset(id));
    await closed;
    const goaway = framesIn(Buffer.concat(frames)).findLast(({ type }) => type === GOAWAY);
    expect([constants.NGHTTP2_INTERNAL_ERROR, constants.NGHTTP2_ENHANCE_YOUR_CALM]).toContain(
      goaway?.payload.readUInt32BE(4),
    );
    await assertAlive(running);
    expect(steady.destroyed).toBe(false);
    held.close(constants.NGHTTP2_CANCEL);
  });

  test("more streams at once than allowed are refused on that connection", async () => {
    const running = await start(door, { maxConcurrentCalls: 4 });
    const session = sessionTo(running);
    await once(session, "remoteSettings");
    expect(session.remoteSettings.maxConcurrentStreams).toBe(4);
    await assertAlive(running);
  });

  test("unfinished handshakes cost established peers and newcomers nothing, however many there are", async () => {
    const running = await start(door, { maxHandshakes: 8, maxHandshakesPerAddress: 4, maxConnections: 8 });
    const steady = sessionTo(running);
    const held = request(running, steady, "Count");
    held.end(framed(note("quiet")));
    await once(steady, "connect");
    const strangers = [1, 2, 3].map((host) => crowd(running, `127.0.0.${host}`, 20));
    await expect.poll(() => strangers.map((one) => one.open()).reduce((sum, one) => sum + one)).toBe(8);
    // From the address of the first of them.
    await assertAlive(running);
    expect(steady.destroyed).toBe(false);
    held.close(constants.NGHTTP2_CANCEL);
  });

  test("unfinished handshakes beyond the limit drive out the oldest of the address that has the most", async () => {
    const running = await start(door, { maxHandshakes: 4, maxHandshakesPerAddress: 3 });
    const many = crowd(running, "127.0.0.2", 6);
    await many.connected;
    await expect.poll(() => many.open()).toBe(3);
    const [one, other] = [crowd(running, "127.0.0.3", 1), crowd(running, "127.0.0.4", 1)];
    await Promise.all([one.connected, other.connected]);
    await expect.poll(() => many.open()).toBe(2);
    expect([one.open(), other.open()]).toEqual([1, 1]);
    await assertAlive(running);
  });

  test("connections that are reset before they are accepted cost newcomers nothing, however many there were", async () => {
    const running = await start(door, { maxHandshakes: 1 });
    resetBeforeAccepted(running, 40);
    await assertAlive(running);
  });

  test("more connections of one identity than allowed are refused, those of others are not", async () => {
    const running = await start(door, { maxConnectionsPerPeer: 2 });
    const sessions = [sessionTo(running), sessionTo(running)];
    await Promise.all(sessions.map((session) => once(session, "connect")));
    const surplus = sessionTo(running);
    await new Promise((resolve) => surplus.once("close", resolve));
    expect(running.warned).toEqual(["connection refused"]);
    await assertAlive(running, bob);
    const [leaving] = sessions;
    leaving?.destroy();
    await expect
      .poll(() =>
        assertAlive(running).then(
          () => "alive",
          () => "refused",
        ),
      )
      .toBe("alive");
  });

  test("a connection that makes no call is closed, one that has made a call is not", async () => {
    const running = await start(door, { firstCallMs: 300 });
    const used = sessionTo(running);
    const answer = codeOf(running, said(running, used));
    expect(await answer).toBe("OK");
    const unused = sessionTo(running);
    await new Promise((resolve) => unused.once("close", resolve));
    expect(await codeOf(running, said(running, used))).toBe("OK");
  });

  test("no more connections than allowed are taken", async () => {
    const running = await start(door, { maxConnections: 2 });
    const sessions = [sessionTo(running), sessionTo(running)];
    await Promise.all(sessions.map((session) => once(session, "connect")));
    const surplus = sessionTo(running);
    await new Promise((resolve) => surplus.once("close", resolve));
    const [leaving] = sessions;
    leaving?.destroy();
    // The server sees a place become free some time after.
    const outcome = () =>
      assertAlive(running).then(
        () => "alive",
        () => "refused",
      );
    await expect.poll(outcome, { timeout: 5000 }).toBe("alive");
  });
});

test("a request of a client library that is too large says so with its reason's code", async () => {
  const running = await start("gRPC", { maxMessageBytes: 1000 });
  const transport = grpcTransport({
    address: running.address,
    credentials: alice.credentials,
    serverIdentity: kss.identity,
  });
  open.push(transport);
  const call = createClient(EchoService, transport).say({ data: new Uint8Array(2000) });
  await expect(call).rejects.toMatchObject({ code: Code.ResourceExhausted });
});
