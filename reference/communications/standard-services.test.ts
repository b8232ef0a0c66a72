// Health, reflection, and the rules that the interface states on its methods and fields, on a real service over both client stacks.
import { fromBinary, getOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, MethodOptionsSchema } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { protoPath } from "grpc-health-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { method } from "../../gen/x1410/v1/annotations_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { connectTransport } from "./connect-transport.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { serviceFromProto } from "./proto-file.ts";
import { reflection } from "./reflection.ts";
import { reasonOf, subjectOf } from "./refusal.ts";
import { type RunningServer, startServer } from "./server.ts";
import { implement } from "./service.ts";

type Issued = ReturnType<PkiFixture["issue"]>;
// biome-ignore lint/suspicious/noExplicitAny: services of gRPC itself have no generated types here
type Call = (request: any, options?: object) => any;

function call(client: object, name: string, ...parameters: Parameters<Call>): ReturnType<Call> {
  return (Reflect.get(client, name) as Call)(...parameters);
}

let fixture: PkiFixture;
let kss: Issued;
let alice: Issued;
let server: RunningServer;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  fixture = pkiFixture();
  kss = fixture.issue("kss", "one");
  alice = fixture.issue("user", "alice");
  const registrations = [implement(KeyStorageService, { getKeyStatus: () => ({ state: KeyState.STORED }) })];
  server = await startServer({ name: "kss", credentials: kss.credentials, registrations });
});
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});
afterAll(async () => {
  await server.close(200);
  fixture.remove();
});

function transport(stack: typeof grpcTransport, holder: Issued): Transport {
  const made = stack({ address: server.address, credentials: holder.credentials, serverIdentity: kss.identity });
  open.push(made);
  return made;
}

async function refused(call: Promise<unknown>): Promise<[Code, ErrorReason, string]> {
  const error = await call.then(() => new ConnectError("succeeded", 0 as Code), ConnectError.from);
  return [error.code, reasonOf(error), subjectOf(error)];
}

describe.each([
  ["grpc-js", grpcTransport],
  ["connect-node", connectTransport],
] as const)("over %s", (_name, stack) => {
  const keys = (holder: Issued): Client<typeof KeyStorageService> =>
    createClient(KeyStorageService, transport(stack, holder));
  const request = { keyId: "0123456789abcdef0123456789abcdef" };

  test("a method answers the callers that its descriptor names, and nobody else", async () => {
    expect((await keys(alice).getKeyStatus(request)).state).toBe(KeyState.STORED);
    expect((await keys(fixture.issue("dssm", "one")).getKeyStatus(request)).state).toBe(KeyState.STORED);
    for (const other of [fixture.issue("dss", "one"), fixture.issue("operator", "olga"), fixture.issue("ca", "one")]) {
      expect(await refused(keys(other).getKeyStatus(request))).toEqual([
        Code.PermissionDenied,
        ErrorReason.CALLER_NOT_ALLOWED,
        "GetKeyStatus",
      ]);
    }
  });

  test("a broken rule names the field", async () => {
    expect(await refused(keys(alice).getKeyStatus({ keyId: "../x" }))).toEqual([
      Code.InvalidArgument,
      ErrorReason.REQUEST_INVALID,
      "key_id",
    ]);
    // Who may not call learns nothing about the rules.
    const dss = fixture.issue("dss", "two");
    expect((await refused(keys(dss).getKeyStatus({ keyId: "../x" })))[0]).toBe(Code.PermissionDenied);
  });

  test("a method without implementation answers UNIMPLEMENTED", async () => {
    expect((await refused(keys(alice).deleteKey(request)))[0]).toBe(Code.Unimplemented);
  });

  test("health is told, watched and changed", async () => {
    const service = serviceFromProto(protoPath, "grpc.health.v1.Health");
    const health = createClient(service, transport(stack, alice));
    const status = async (name: string) => (await call(health, "check", { service: name })).status;
    expect([await status(""), await status(KeyStorageService.typeName)]).toEqual([1, 1]);
    expect((await refused(status("x1410.v1.Nothing")))[0]).toBe(Code.NotFound);
    const controller = new AbortController();
    const watch = call(health, "watch", { service: "" }, { signal: controller.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value.status).toBe(1);
    server.setServing(false);
    expect((await watch.next()).value.status).toBe(2);
    expect(await status(KeyStorageService.typeName)).toBe(2);
    server.setServing(true);
    expect((await watch.next()).value.status).toBe(1);
    controller.abort();
    expect((await refused(watch.next()))[0]).toBe(Code.Canceled);
  });

  test.each([0, 1])("reflection gives the descriptors with their options (%i)", async (version) => {
    const service = reflection([])[version]?.service;
    if (service === undefined) throw new Error("no such version");
    const client = createClient(service, transport(stack, alice));
    async function* asked() {
      yield { messageRequest: { case: "listServices", value: "" } };
      yield { messageRequest: { case: "fileContainingSymbol", value: "x1410.v1.KeyStorageService.GetKey" } };
      yield { messageRequest: { case: "fileByFilename", value: "x1410/v1/annotations.proto" } };
      yield { messageRequest: { case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" } };
      yield { messageRequest: { case: "fileContainingSymbol", value: "x1410.v1.Nothing" } };
    }
    const answers = [];
    for await (const { messageResponse } of call(client, "serverReflectionInfo", asked()))
      answers.push(messageResponse);
    expect(answers.map((answer) => answer.case)).toEqual([
      "listServicesResponse",
      "fileDescriptorResponse",
      "fileDescriptorResponse",
      "allExtensionNumbersResponse",
      "errorResponse",
    ]);
    expect(answers[0].value.service.map(({ name }: { name: string }) => name)).toContain(KeyStorageService.typeName);
    const [file] = answers[1].value.fileDescriptorProto.map((bytes: Uint8Array) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    expect(file.name).toBe("x1410/v1/key_storage.proto");
    const getKey = file.service[0].method.find(({ name }: { name: string }) => name === "GetKey");
    expect(getOption(KeyStorageService.method.getKey, method).steps.length).toBeGreaterThan(0);
    expect(getKey.options.$typeName).toBe(MethodOptionsSchema.typeName);
    expect(getKey.options.$unknown.length).toBeGreaterThan(0);
    expect(answers[3].value.extensionNumber).toEqual([51411]);
    expect(answers[4].value.errorCode).toBe(Code.NotFound);
  });
});
