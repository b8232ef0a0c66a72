// Attacks by load and by breaking the protocol, against the running stack (clause 7.2.5): what one peer does costs nobody else anything.
import { randomBytes } from "node:crypto";
import { request as requestHttp } from "node:https";
import { gzipSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { startExposure } from "../communications/exposure-host.ts";
import { reasonOf } from "../communications/refusal.ts";
import { type RunningServer, startServer } from "../communications/server.ts";
import { implement } from "../communications/service.ts";
import { secureContextOptions } from "../communications/tls-credentials.ts";
import { type Door, doors, rigForFile } from "./attack-rig.fixture.ts";
import { framed, openTls, RawConnection } from "./raw-call.fixture.ts";

const rig = rigForFile();
const register = "x1410.v1.KeyStorageService/RegisterKey";
const silent = () => {};

const connect = (door: Door) =>
  RawConnection.open(rig().endpoint("kss", door), rig().tlsCredentials(rig().target.provider), door);

/** The entity answers whoever behaves. */
async function alive(door: Door): Promise<void> {
  await rig().provider(door).registerKey(silent);
}

describe.each(doors)("through the %s", (door) => {
  const framing = (message: Uint8Array) => (door === "gRPC" ? framed(message) : message);

  async function codeOf(body: Uint8Array, headers: Record<string, string> = {}, path = register) {
    const connection = await connect(door);
    try {
      return (await connection.call({ path, body, headers })).code;
    } finally {
      connection.close();
    }
  }

  test("a message above the limit: RESOURCE_EXHAUSTED", async () => {
    const tooLong = new Uint8Array((4 << 20) + 1);
    expect(await codeOf(framing(tooLong))).toBe(Code.ResourceExhausted);
    const packages = rig().provider(door).client(DataStorageService, "dss");
    const oversize = { part: { case: "data" as const, value: tooLong } };
    const failure = await packages
      .storePackage(
        (async function* () {
          yield oversize;
        })(),
      )
      .catch(ConnectError.from);
    expect(failure).toMatchObject({ code: Code.ResourceExhausted });
    await alive(door);
  });

  test("a few bytes that inflate to more than the limit: RESOURCE_EXHAUSTED, or compression refused", async () => {
    const bomb = gzipSync(new Uint8Array(64 << 20));
    const headers: Record<string, string> =
      door === "gRPC" ? { "grpc-encoding": "gzip" } : { "content-encoding": "gzip" };
    const code = await codeOf(door === "gRPC" ? framed(bomb, bomb.length, 1) : bomb, headers);
    expect([Code.ResourceExhausted, Code.Unimplemented]).toContain(code);
    await alive(door);
  });

  test("a body that does not parse: INVALID_ARGUMENT; INTERNAL where the library says it", async () => {
    const expected = door === "gRPC" ? Code.InvalidArgument : Code.Internal;
    expect(await codeOf(framing(Buffer.from("0affffffff7f", "hex")))).toBe(expected);
    expect(await codeOf(framing(randomBytes(64).fill(0xff)))).toBe(expected);
    await alive(door);
  });

  test("an unknown method, an unknown service: UNIMPLEMENTED", async () => {
    const empty = framing(new Uint8Array());
    expect(await codeOf(empty, {}, "x1410.v1.KeyStorageService/TakeEverything")).toBe(Code.Unimplemented);
    expect(await codeOf(empty, {}, "x1410.v1.Nothing/RegisterKey")).toBe(Code.Unimplemented);
    expect(await codeOf(empty, {}, "../../etc/passwd")).toBe(Code.Unimplemented);
  });

  test("100,000 bytes of metadata are refused, and cost nobody else anything", async () => {
    const code = await codeOf(framing(new Uint8Array()), { "x1410-session": "x".repeat(100_000) });
    expect(code).not.toBe(0);
    await alive(door);
  });

  test("rapid reset: that session may end, the entity goes on", async () => {
    const connection = await connect(door);
    for (let count = 0; count < 3_000 && !connection.session.closed; count++) {
      const stream = connection.session.request({
        ":method": "POST",
        ":path": `/${register}`,
        "content-type": "application/grpc",
      });
      stream.on("error", silent);
      stream.close();
    }
    await alive(door);
    connection.close();
  });

  test("what is no HTTP/2 after the handshake ends that connection alone", async () => {
    const socket = openTls(rig().endpoint("kss", door), rig().tlsCredentials(rig().target.provider));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", silent);
    socket.resume();
    socket.once("secureConnect", () => socket.write(randomBytes(4_096)));
    await closed;
    await alive(door);
  });

  test("a flood of subscriptions: RESOURCE_EXHAUSTED for that user, who gets its place back on leaving", async () => {
    const flooder = rig().consumer(door, await rig().newcomer());
    await flooder.authenticate(silent);
    const abort = new AbortController();
    const subscribe = async () => {
      const options = { ...flooder.inSession, signal: abort.signal };
      for await (const _ of flooder
        .client(InformationSubscriptionService, "dssm")
        .subscribe({ afterPosition: 0n }, options));
    };
    const reasons: ErrorReason[] = [];
    for (let count = 0; count < 20; count++) void subscribe().catch((cause: unknown) => reasons.push(reasonOf(cause)));
    await vi.waitFor(() => expect(reasons.filter((each) => each === ErrorReason.SUBSCRIPTION_LIMIT).length).toBe(4));
    const neighbour = rig().consumer(door);
    await neighbour.authenticate(silent);
    const mine = neighbour
      .client(InformationSubscriptionService, "dssm")
      .subscribe({ afterPosition: 0n }, { ...neighbour.inSession, timeoutMs: 100 });
    const end = await (async () => {
      for await (const _ of mine);
    })().catch(ConnectError.from);
    expect(end).toMatchObject({ code: Code.DeadlineExceeded });
    abort.abort();
  });
});

describe("framing of gRPC", () => {
  const headers = { "content-type": "application/grpc", te: "trailers" };

  async function codeOf(body: Uint8Array) {
    const connection = await connect("gRPC");
    try {
      return (await connection.call({ path: register, body, headers })).code;
    } finally {
      connection.close();
    }
  }

  test("a declared length of 4 GiB: RESOURCE_EXHAUSTED, nothing is allocated for it", async () => {
    const before = process.memoryUsage().arrayBuffers;
    expect(await codeOf(framed(new Uint8Array(10), 0xffffffff))).toBe(Code.ResourceExhausted);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
    await alive("gRPC");
  });

  test.each([
    ["no message", Buffer.alloc(0)],
    ["half a frame header", Buffer.from([0, 0])],
    ["a frame that breaks off", framed(new Uint8Array(4), 100)],
    ["two messages for one", Buffer.concat([framed(new Uint8Array()), framed(new Uint8Array())])],
    ["compressed, by its flag, without an encoding", framed(new Uint8Array(4), 4, 1)],
    ["an unknown flag", framed(new Uint8Array(4), 4, 0x80)],
  ])("refused: %s", async (_, body) => {
    const code = await codeOf(body);
    expect(code).not.toBe(0);
    await alive("gRPC");
  });
});

describe("deadlines, shortened on servers of their own", () => {
  const limits = { handshakeTimeoutMs: 150, requestTimeoutMs: 150 };
  const registrations = [
    implement(KeyStorageService, {
      getKeyStatus: () => ({}) as never,
      getKey: () => ({ key: new Uint8Array() }) as never,
    }),
  ];

  async function withServer(door: Door, use: (server: Pick<RunningServer, "address" | "close">) => Promise<void>) {
    const options = {
      name: "impatient",
      credentials: rig().tlsCredentials(rig().credentialOf("kss")),
      registrations,
      limits,
    };
    const server = await (door === "gRPC" ? startServer(options) : startExposure(options));
    try {
      await use(server);
    } finally {
      await server.close(0);
    }
  }

  test.each(doors)("a stalled body is ended, %s", async (door) => {
    await withServer(door, async ({ address }) => {
      const connection = await RawConnection.open(address, rig().tlsCredentials(rig().target.provider), door);
      const stream = connection.session.request({
        ":method": "POST",
        ":path": "/x1410.v1.KeyStorageService/GetKey",
        "content-type": door === "gRPC" ? "application/grpc" : "application/proto",
        te: "trailers",
      });
      stream.on("error", silent);
      stream.on("data", silent);
      // By a status where the server can still send one, else by a reset.
      const ended = new Promise((resolve) => stream.once("end", resolve).once("close", resolve));
      stream.write(Buffer.from([0, 0]));
      await ended;
      connection.close();
    });
  });

  test.each(doors)("a stalled handshake is ended, %s", async (door) => {
    await withServer(door, async ({ address }) => {
      const { connect: connectTcp } = await import("node:net");
      const socket = connectTcp(Number(address.split(":")[1]), "127.0.0.1");
      socket.on("error", silent);
      await new Promise((resolve) => socket.once("close", resolve));
    });
  });
});

describe("the exposure API alone", () => {
  const ask = (options: { method?: string; path?: string; headers?: Record<string, string>; body?: string }) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const { method = "POST", path = `/${register}`, headers = {}, body = "{}" } = options;
      const endpoint = rig().endpoint("kss", "exposure API");
      const sent = requestHttp(
        {
          host: "127.0.0.1",
          port: endpoint.slice(endpoint.lastIndexOf(":") + 1),
          method,
          path,
          headers: { "content-type": "application/json", ...headers },
          ...secureContextOptions(rig().tlsCredentials(rig().target.provider)),
          checkServerIdentity: () => undefined,
          agent: false,
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (part: string) => {
            text += part;
          });
          response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        },
      );
      sent.on("error", reject);
      sent.end(method === "POST" ? body : undefined);
    });
  const good = () =>
    JSON.stringify({ requestId: randomBytes(16).toString("base64"), managementIdentity: rig().identity("dssm") });

  test("a GET has no effect, whatever it asks for; a POST of the same has", async () => {
    const query = `?encoding=json&connect=v1&message=${encodeURIComponent(good())}`;
    expect((await ask({ method: "GET", path: `/${register}${query}` })).status).toBeGreaterThanOrEqual(400);
    expect((await ask({ body: good() })).status).toBe(200);
  });

  test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])(
    "a form of another site (%j) is no request",
    async (contentType) => {
      expect((await ask({ headers: { "content-type": contentType }, body: good() })).status).toBeGreaterThanOrEqual(
        400,
      );
    },
  );

  test("no other site is told that it may call", async () => {
    const { status } = await ask({
      method: "OPTIONS",
      headers: { origin: "https://attacker.example", "access-control-request-method": "POST" },
    });
    expect(status).toBeGreaterThanOrEqual(400);
  });

  test("hostile JSON is refused as an invalid argument, and nothing of it comes back", async () => {
    const marker = "secret-marker-4711";
    const bodies = [
      `{"requestId":"${marker}"`,
      `{"__proto__":{"polluted":"${marker}"}}`,
      `{"managementIdentity":{"$ne":"${marker}"}}`,
      `${"[".repeat(100_000)}`,
      `{"managementIdentity":"${marker}\\u0000"}`,
    ];
    for (const body of bodies) {
      const { status, text } = await ask({ body });
      expect([status, text.includes('"code":"invalid_argument"')]).toEqual([400, true]);
    }
    expect(({} as { polluted?: string }).polluted).toBeUndefined();
    await alive("exposure API");
  });
});
