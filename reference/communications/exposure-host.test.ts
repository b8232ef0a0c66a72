import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ErrorDetailSchema, ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessControl } from "./access-control.ts";
import { type ConnectChannelOptions, connectTransport } from "./connect-transport.ts";
import { EchoService, type EchoServiceType } from "./echo.fixture.ts";
import { type ExposureOptions, type RunningExposure, startExposure } from "./exposure-host.ts";
import { peerKey } from "./peer.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { reasonOf, refusal } from "./refusal.ts";
import { implement } from "./service.ts";

let fixture: PkiFixture;
let kss: ReturnType<PkiFixture["issue"]>;
let alice: ReturnType<PkiFixture["issue"]>;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  alice = fixture.issue("user", "alice");
  writeFileSync(join(fixture.directory, "key.pem"), alice.privateKeyPem);
  writeFileSync(join(fixture.directory, "chain.pem"), alice.chainPem);
  writeFileSync(join(fixture.directory, "ca.pem"), alice.caPem);
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

const echo: Partial<ServiceImpl<EchoServiceType>> = {
  say: ({ text }, { values }) => ({ text: `${text} from ${values.get(peerKey).identity}` }),
  async *count({ text }) {
    for (let index = 0; index < Number(text); index++) yield { text: String(index) };
  },
  async join(requests) {
    const texts: string[] = [];
    for await (const { text } of requests) texts.push(text);
    return { text: texts.join("-") };
  },
};

async function start(options: Partial<ExposureOptions> = {}, implementation = echo): Promise<RunningExposure> {
  const registrations = [implement(EchoService, implementation)];
  const exposure = await startExposure({ name: "test", credentials: kss.credentials, registrations, ...options });
  open.push({ close: () => exposure.close(200) });
  return exposure;
}

function clientTo({ address }: RunningExposure, options: Partial<ConnectChannelOptions>) {
  const transport = connectTransport({
    address,
    credentials: alice.credentials,
    serverIdentity: kss.identity,
    ...options,
  });
  open.push(transport);
  return createClient(EchoService, transport);
}

async function curl(exposure: RunningExposure, ...more: string[]): Promise<{ status: number; body: string }> {
  const file = (name: string) => join(fixture.directory, name);
  const certificate = ["--cacert", file("ca.pem"), "--cert", file("chain.pem"), "--key", file("key.pem")];
  const { stdout } = await promisify(execFile)("curl", [
    ...["--silent", "--max-time", "10", "--write-out", "\n%{http_code}", "--header", "content-type: application/json"],
    ...certificate,
    ...more,
    `https://localhost:${exposure.port}/x1410.test.EchoService/Say`,
  ]);
  const [status = "", ...body] = stdout.split("\n").reverse();
  return { status: Number(status), body: body.reverse().join("\n") };
}

describe("by curl, with JSON and a client certificate", () => {
  test.each(["--http1.1", "--http2"])("%s", async (version) => {
    const { status, body } = await curl(await start(), version, "--data", '{"text": "hello"}');
    expect([status, JSON.parse(body)]).toEqual([200, { text: "hello from urn:x1410:user:alice" }]);
  });

  test("a refusal carries code and reason", async () => {
    const accessControl = new AccessControl({ deny: [{ identity: alice.identity }] });
    const { status, body } = await curl(await start({ accessControl }), "--data", "{}");
    const { code, details } = JSON.parse(body);
    expect([status, code, details[0].type]).toEqual([403, "permission_denied", "x1410.v1.ErrorDetail"]);
    const { reason } = fromBinary(ErrorDetailSchema, Buffer.from(details[0].value, "base64"));
    expect(reason).toBe(ErrorReason.DENY_LISTED);
  });

  test("without a certificate there is no connection", async () => {
    const exposure = await start();
    const bare = promisify(execFile)("curl", [
      ...["--silent", "--max-time", "10", "--cacert", join(fixture.directory, "ca.pem")],
      `https://localhost:${exposure.port}/`,
    ]);
    // curl's codes for a connection lost while sending or receiving.
    await expect(bare).rejects.toSatisfy(({ code }) => code === 55 || code === 56);
  });

  test("an oversized body is refused", async () => {
    const exposure = await start({ limits: { maxMessageBytes: 100 } });
    const { status, body } = await curl(exposure, "--data", JSON.stringify({ text: "x".repeat(200) }));
    expect([status, JSON.parse(body).code]).toEqual([429, "resource_exhausted"]);
  });
});

describe.each(["connect", "grpc-web", "grpc"] as const)("by a %s client", (protocol) => {
  test("unary calls and streams", async () => {
    const client = clientTo(await start(), { protocol });
    expect((await client.say({ text: "hello" })).text).toBe("hello from urn:x1410:user:alice");
    const counted: string[] = [];
    for await (const { text } of client.count({ text: "3" })) counted.push(text);
    expect(counted).toEqual(["0", "1", "2"]);
    async function* notes() {
      yield { text: "a" };
      yield { text: "b" };
    }
    expect((await client.join(notes())).text).toBe("a-b");
  });

  test("errors keep code and reason, faults say nothing", async () => {
    const client = clientTo(
      await start(
        {},
        {
          say() {
            throw refusal(ErrorReason.KEY_NOT_FOUND);
          },
          async *count() {
            yield { text: "0" };
            throw new TypeError("secret inside");
          },
        },
      ),
      { protocol },
    );
    const error = await client.say({}).catch(ConnectError.from);
    expect([(error as ConnectError).code, reasonOf(error)]).toEqual([Code.NotFound, ErrorReason.KEY_NOT_FOUND]);
    const fault = await (async () => {
      for await (const _ of client.count({}));
    })().catch(ConnectError.from);
    expect([(fault as ConnectError).code, reasonOf(fault)]).toEqual([Code.Internal, ErrorReason.INTERNAL_FAULT]);
    expect(String(fault)).not.toContain("secret");
  });
});

test("revocation reaches open connections", async () => {
  const bob = fixture.issue("user", "bob");
  const exposure = await start();
  const client = clientTo(exposure, { protocol: "connect", credentials: bob.credentials });
  await client.say({});
  fixture.pki.intermediate.revoke(bob.serialNumber);
  exposure.reload({ ...kss.credentials, revocationLists: [fixture.pki.crlPem] });
  const error = await client.say({}).catch(ConnectError.from);
  expect([(error as ConnectError).code, reasonOf(error)]).toEqual([
    Code.Unauthenticated,
    ErrorReason.CERTIFICATE_REVOKED,
  ]);
});

test("a body that does not arrive is cut", async () => {
  const exposure = await start({ limits: { requestTimeoutMs: 100 } });
  const stalled = curl(exposure, "--http1.1", "--header", "content-length: 100", "--data", "{");
  await expect(stalled).rejects.toThrow();
});
