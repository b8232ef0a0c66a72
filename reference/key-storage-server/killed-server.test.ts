// Redemption over the wire, at a key storage server in a process of its own that is killed in between (TV, KSM6): a key leaves once for
// one request id, whatever happens. X1410_CAMPAIGN makes it a hundred rounds.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type ClosableTransport, grpcTransport } from "../communications/grpc-transport.ts";
import type { Peer } from "../communications/peer.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import type { Instant, KilledServerOrder } from "./killed-server.fixture.ts";
import { KSS, TokenIssuer } from "./token.fixture.ts";

const DSSM = "urn:x1410:entity:dssm:one";
const REDEEMED = "FailedPrecondition TOKEN_REDEEMED";
const LOST = "Unavailable UNSPECIFIED";
const rounds = process.env["X1410_CAMPAIGN"] === undefined ? 1 : 100;

let fixture: PkiFixture;
let issuer: TokenIssuer;
let order: string;
let alice: ReturnType<PkiFixture["issue"]>;
let carol: ReturnType<PkiFixture["issue"]>;
let server: ServerProcess | undefined;

class ServerProcess {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #ended: Promise<unknown>;
  readonly #transports: ClosableTransport[] = [];
  #address = "";

  private constructor() {
    const program = fileURLToPath(new URL("killed-server.fixture.ts", import.meta.url));
    this.#child = spawn(process.execPath, [program, order], { stdio: ["pipe", "pipe", "inherit"] });
    this.#ended = once(this.#child, "exit");
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
  }

  static async start(): Promise<ServerProcess> {
    const started = new ServerProcess();
    [started.#address = ""] = (await Promise.race([
      once(started.#lines, "line"),
      started.#ended.then(() => Promise.reject(new Error("the server did not start"))),
    ])) as string[];
    return started;
  }

  as({ credentials }: ReturnType<PkiFixture["issue"]>): Client<typeof KeyStorageService> {
    const transport = grpcTransport({ address: this.#address, credentials, serverIdentity: KSS });
    this.#transports.push(transport);
    return createClient(KeyStorageService, transport);
  }

  async killItself(instant: Instant): Promise<void> {
    const armed = once(this.#lines, "line");
    this.#child.stdin?.write(`${instant}\n`);
    await armed;
  }

  /** kill -9, where that has not happened yet. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
    for (const transport of this.#transports) transport.close();
  }

  async hasDied(): Promise<void> {
    await this.#ended;
    await this.kill();
  }
}

beforeAll(async () => {
  fixture = pkiFixture();
  alice = fixture.issue("user", "alice");
  carol = fixture.issue("user", "carol");
  issuer = new TokenIssuer(DSSM, () => new Date());
  const { jwks } = await issuer.client.listTokenKeys({});
  const { credentials } = fixture.issue("kss", "one");
  order = join(fixture.directory, "order.json");
  const content: KilledServerOrder = { dataDirectory: fixture.directory, credentials, issuer: DSSM, jwks };
  writeFileSync(order, JSON.stringify(content));
});
afterAll(async () => {
  await server?.kill();
  fixture.remove();
});

/** The server as the test before has left it. */
async function present(): Promise<ServerProcess> {
  server ??= await ServerProcess.start();
  return server;
}

async function restart(): Promise<ServerProcess> {
  await server?.kill();
  server = undefined;
  return present();
}

/** A stored key and a token for it. */
async function scene(running: ServerProcess) {
  const key = randomBytes(32);
  const provider = running.as(alice);
  const { keyId } = await provider.registerKey({ managementIdentity: DSSM, requestId: randomBytes(16) });
  await provider.storeKey({ keyId, key });
  const consumer = { identity: carol.identity, fingerprint: carol.fingerprint } as Peer;
  return { key, keyId, accessToken: await issuer.issue({ keyId, consumer }) };
}

type Scene = Awaited<ReturnType<typeof scene>>;

/** "key" where it came, else how it was refused. */
async function redeem(client: Client<typeof KeyStorageService>, { key, ...request }: Scene, requestId: Uint8Array) {
  try {
    const answer = await client.getKey({ ...request, requestId });
    return Buffer.from(answer.key).equals(key) ? "key" : "another key";
  } catch (cause) {
    const error = ConnectError.from(cause);
    return `${Code[error.code]} ${reasonName(reasonOf(error))}`;
  }
}

test("of 100 redemptions at once over the wire exactly one wins, and wins again", async () => {
  const running = await present();
  const given = await scene(running);
  const ids = Array.from({ length: 100 }, () => randomBytes(16));
  // Over ten connections.
  const clients = Array.from({ length: 10 }, () => running.as(carol));
  const all = () =>
    Promise.all(ids.map((id, index) => redeem(clients[index % 10] as (typeof clients)[number], given, id)));
  const first = await all();
  expect(first.filter((outcome) => outcome === "key")).toHaveLength(1);
  expect(first.filter((outcome) => outcome === REDEEMED)).toHaveLength(99);
  expect(await all()).toEqual(first);
});

test("killed after the record and before the answer, the same request gets the key and no other does", async () => {
  let running = await present();
  const given = await scene(running);
  const requestId = randomBytes(16);
  await running.killItself("after the record");
  expect(await redeem(running.as(carol), given, requestId)).toBe(LOST);
  await running.hasDied();
  running = await restart();
  expect(await redeem(running.as(carol), given, randomBytes(16))).toBe(REDEEMED);
  expect(await redeem(running.as(carol), given, requestId)).toBe("key");
});

test("killed before the record, no key has left and the token is as good as new", async () => {
  let running = await present();
  const given = await scene(running);
  await running.killItself("before the record");
  expect(await redeem(running.as(carol), given, randomBytes(16))).toBe(LOST);
  await running.hasDied();
  running = await restart();
  const [other, late] = [randomBytes(16), randomBytes(16)];
  expect(await redeem(running.as(carol), given, other)).toBe("key");
  expect(await redeem(running.as(carol), given, late)).toBe(REDEEMED);
});

test(
  "killed at any instant among many redemptions, one request alone has the key, before and after",
  async () => {
    let running = await present();
    for (let round = 0; round < rounds; round++) {
      const given = await scene(running);
      const ids = Array.from({ length: 20 }, () => randomBytes(16));
      const client = running.as(carol);
      // The connection stands, so that the instant falls among the redemptions.
      await expect(redeem(client, { ...given, accessToken: "x" }, randomBytes(16))).resolves.toContain("TOKEN_INVALID");
      const before = Promise.all(ids.map((id) => redeem(client, given, id)));
      await delay(randomInt(20));
      await running.kill();
      const early = await before;
      running = await restart();
      const late = await Promise.all(ids.map((id) => redeem(running.as(carol), given, id)));
      expect(late.filter((outcome) => outcome === "key")).toHaveLength(1);
      expect(late.filter((outcome) => outcome === REDEEMED)).toHaveLength(19);
      for (const [index, outcome] of early.entries()) {
        if (outcome === "key") expect(late[index]).toBe("key");
        else expect([REDEEMED, LOST]).toContain(outcome);
      }
    }
  },
  30_000 + rounds * 10_000,
);
