import { once } from "node:events";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { execute } from "./execution.ts";
import { preflight } from "./preflight.ts";
import { brokenRequestPurposes } from "./purposes/broken-requests.ts";
import { communicationsPurposes } from "./purposes/handshakes.ts";
import { preSharedKeyPurposes } from "./purposes/pre-shared-keys.ts";
import { authority, authorityForTests, cuttingProxy, stageAt } from "./stage.fixture.ts";

authorityForTests();

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Behaviour {
  /** Speaks HTTP/2 only after the client has begun. */
  readonly lazy?: boolean;
  /** Cuts the connection at a method that it does not know. */
  readonly abrupt?: boolean;
  /** Lets everybody through the handshake, and answers this status to whoever has no good certificate. */
  readonly toStrangers?: Code;
}

/** A key storage server that has no key: mutual TLS 1.3 and HTTP/2, on bare Node.js. */
async function keyless({ lazy = false, abrupt = false, toStrangers }: Behaviour = {}): Promise<string> {
  const { privateKeyPem, certificateChainPem } = authority.party("kss");
  const http2 = createHttp2Server();
  const strangers = new WeakSet<object>();
  http2.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (abrupt && headers[":path"] !== "/x1410.v1.KeyStorageService/GetKeyStatus") return stream.session?.destroy();
    const code = strangers.has(stream.session?.socket ?? {}) ? toStrangers : Code.NotFound;
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": String(code) },
      { endStream: true },
    );
  });
  const begin = (socket: TLSSocket) => {
    http2.once("session", ({ socket: seen }) => !socket.authorized && strangers.add(seen));
    http2.emit("connection", socket);
  };
  const sockets = new Set<TLSSocket>();
  const server = createServer(
    {
      key: privateKeyPem,
      cert: certificateChainPem,
      ca: [authority.trustAnchorPem, authority.intermediatePem],
      requestCert: true,
      rejectUnauthorized: toStrangers === undefined,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
    },
    (socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      if (lazy) socket.once("readable", () => begin(socket));
      else begin(socket);
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function cut(endpoint: string, first: number): Promise<string> {
  const proxy = await cuttingProxy(endpoint, first);
  closers.push(() => proxy.close());
  return proxy.endpoint;
}

const all = [...communicationsPurposes, ...brokenRequestPurposes, ...preSharedKeyPurposes];

async function verdictOn(id: string, endpoint: string, entity: object = {}) {
  const kss = { endpoint, identity: "urn:x1410:entity:kss:kit", ...entity };
  const stage = stageAt(endpoint, { entities: { dssm: kss, kss, dss: kss } });
  const results = await execute(
    all.filter((one) => one.id === id),
    stage,
    { parallel: 1, budgetMs: 60_000 },
  );
  await stage.close();
  const [result] = results;
  return { verdict: result?.verdict, actual: result?.actual };
}

describe("a network that dies", () => {
  test.each(["BI-01", "BI-08"])("after the good handshake proves no refusal (%s)", async (number) => {
    const id = `TP/KSS/AAC/${number}`;
    const server = await keyless();
    expect(await verdictOn(id, server)).toMatchObject({ verdict: "PASS" });
    expect(await verdictOn(id, await cut(server, 1))).toEqual({
      verdict: "INCONC",
      actual: expect.stringMatching(/proves nothing/),
    });
  });

  test("after the wrong handshake was served leaves that failure proven, and before it was nothing", async () => {
    const server = await keyless({ toStrangers: Code.NotFound });
    expect(await verdictOn("TP/KSS/AAC/BI-01", await cut(server, 3))).toEqual({
      verdict: "FAIL",
      actual: expect.stringMatching(/^a connection by TLSv1.3, and a call is served/),
    });
    expect(await verdictOn("TP/KSS/AAC/BI-01", await cut(server, 2))).toEqual({
      verdict: "INCONC",
      actual: expect.stringMatching(/^a connection by TLSv1.3; but afterwards .* proves nothing/),
    });
  });

  test("in the second good handshake is no fault of the server", async () => {
    expect(await verdictOn("TP/KSS/AAC/CA-01", await cut(await keyless(), 1))).toEqual({
      verdict: "INCONC",
      actual: expect.stringMatching(/ended without an alert/),
    });
  });

  test("after a right request proves nothing of what broken ones do", async () => {
    const server = await keyless({ abrupt: true });
    const id = "TP/KSS/API/BI-31";
    expect(await verdictOn(id, server)).toMatchObject({ verdict: "FAIL" });
    expect(await verdictOn(id, await cut(server, 1))).toEqual({
      verdict: "INCONC",
      actual: expect.stringMatching(/no connection to/),
    });
  });
});

describe("a server that waits for the client's first bytes of HTTP/2", () => {
  test("is reached, and lets a good certificate through and no other", async () => {
    const server = await keyless({ lazy: true });
    expect(await verdictOn("TP/KSS/AAC/BI-01", server)).toMatchObject({ verdict: "PASS" });
    const stage = stageAt(server);
    expect(await preflight(stage.target)).toMatchObject([
      { reached: true, protocol: "TLSv1.3" },
      { reached: true },
      { reached: true },
    ]);
    await stage.close();
  });
});

describe("a server that refuses beyond the handshake", () => {
  test("is right where it answers UNAUTHENTICATED to each call", async () => {
    const server = await keyless({ toStrangers: Code.Unauthenticated });
    expect(await verdictOn("TP/KSS/AAC/BI-01", server)).toMatchObject({ verdict: "PASS" });
  });

  test.each([Code.PermissionDenied, Code.NotFound])("is wrong where it answers code %i", async (code) => {
    const server = await keyless({ toStrangers: code });
    expect(await verdictOn("TP/KSS/AAC/BI-01", server)).toEqual({
      verdict: "FAIL",
      actual: expect.stringMatching(/^a connection by TLSv1.3, and a call is served/),
    });
  });
});
