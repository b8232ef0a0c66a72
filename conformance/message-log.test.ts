import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { DataStorageService } from "../gen/x1410/v1/data_storage_pb.ts";
import { SignedEnvelopeSchema } from "../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationStatementSchema } from "../gen/x1410/v1/user_authentication_pb.ts";
import { refusal } from "../reference/communications/refusal.ts";
import { payloadTypeOf } from "../reference/envelope/sign.ts";
import { decoded } from "./decoded-message.ts";
import { MessageLog, recorded } from "./message-log.ts";

const secret = new Uint8Array(32).fill(0xa5);
const hex = Buffer.from(secret).toString("hex");

const transport = createRouterTransport(({ service }) => {
  service(KeyStorageService, {
    getKey: ({ keyId }) => {
      if (keyId === "missing") throw refusal(ErrorReason.KEY_NOT_FOUND);
      return { key: secret };
    },
    storeKey: (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new ConnectError("", Code.Canceled)))),
  });
  service(DataStorageService, {
    storePackage: async (requests) => {
      for await (const _ of requests);
      return { size: 9n };
    },
  });
});

function logged(signal = new AbortController().signal) {
  const log = new MessageLog();
  const recording = { log, from: "urn:x1410:user:alice", to: "kss", signal: () => signal, timeoutMs: 5_000 };
  return { log, transport: recorded(transport, recording) };
}

test("calls are kept decoded, and without secrets", async () => {
  const { log, transport } = logged();
  const kss = createClient(KeyStorageService, transport);
  const { key } = await kss.getKey({ keyId: "k", accessToken: `token ${hex}`, requestId: new Uint8Array(16) });
  await kss.getKey({ keyId: "missing", accessToken: "token" }).catch(() => {});
  expect(key).toEqual(secret);
  expect(log.calls).toMatchObject([
    {
      method: "KeyStorageService/GetKey",
      requests: [{ access_token: "[redacted]", key_id: "k", request_id: "0".repeat(32) }],
      responses: [{ key: "[redacted]" }],
      code: "OK",
    },
    { code: "NOT_FOUND", reason: "KEY_NOT_FOUND", responses: [] },
  ]);
  expect(JSON.stringify(log.calls)).not.toContain(hex);
});

test("of a stream the first messages are kept, and all are counted; long bytes are cut", async () => {
  const { log, transport } = logged();
  async function* parts() {
    yield { part: { case: "open" as const, value: { packageId: "p", size: 9n } } };
    for (let i = 0; i < 9; i++) yield { part: { case: "data" as const, value: new Uint8Array(1000) } };
  }
  await createClient(DataStorageService, transport).storePackage(parts());
  const [call] = log.calls;
  expect(call).toMatchObject({ requestCount: 10, responseCount: 1, code: "OK" });
  expect(call?.requests).toHaveLength(4);
  expect(call?.requests.slice(0, 2)).toEqual([
    { open: { package_id: "p", size: "9" } },
    { data: expect.stringMatching(/^1000 bytes, SHA-256 [0-9a-f]{64}$/) },
  ]);
});

test("a call ends with its purpose", async () => {
  const controller = new AbortController();
  const { log, transport } = logged(controller.signal);
  const call = createClient(KeyStorageService, transport).storeKey({ keyId: "k" });
  controller.abort();
  await expect(call).rejects.toMatchObject({ code: Code.Canceled });
  expect(log.calls).toMatchObject([{ code: "CANCELED" }]);
});

test("a signed payload is opened, one that does not parse is shown as bytes", () => {
  const payload = toBinary(
    UserAuthenticationStatementSchema,
    create(UserAuthenticationStatementSchema, { userIdentity: "urn:x1410:user:alice" }),
  );
  const payloadType = payloadTypeOf(UserAuthenticationStatementSchema);
  const shown = (bytes: Uint8Array) =>
    decoded(SignedEnvelopeSchema, create(SignedEnvelopeSchema, { payload: bytes, payloadType }));
  expect(shown(payload)).toMatchObject({ payload: { user_identity: "urn:x1410:user:alice" } });
  expect(shown(new Uint8Array([0xff, 0xff]))).toMatchObject({ payload: "ffff" });
});

test("of a flood the first and the last calls are kept, and all are known", () => {
  const log = new MessageLog();
  const begun = Array.from({ length: 100 }, (_, at) => log.begin("kit", "kss", `KeyStorageService/${at}`));
  expect(log.calls).toEqual([...begun.slice(0, 30), ...begun.slice(-30)]);
  const last = begun.at(-1) as (typeof begun)[number];
  expect(log.anyBefore(last, ["KeyStorageService/50"])).toBe(true);
  expect(log.anyBefore(last, ["KeyStorageService/99", "KeyStorageService/100"])).toBe(false);
});
