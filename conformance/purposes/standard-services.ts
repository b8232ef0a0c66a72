// The services that gRPC itself defines, where a server claims them: health checking and reflection (clause 6.2; choices of the profile).
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { protoPath } from "grpc-health-check";
import { serviceFromProto } from "../../reference/communications/proto-file.ts";
import { expect } from "../procedures/procedure.ts";
import { servedBy } from "../protocol.ts";
import { expectRefusalOf } from "../refusal.ts";
import { type EntityRole, entityRoles } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, purpose } from "./purpose.ts";

interface Health {
  check(request: { service?: string }): Promise<{ status: number }>;
}

interface Reflection {
  serverReflectionInfo(requests: AsyncIterable<object>): AsyncIterable<{ messageResponse: ReflectionAnswer }>;
}

type ReflectionAnswer =
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } }
  | { case: undefined };

const SERVING = 1;

function health(t: TestCase, role: EntityRole): Health {
  return t.provider.client(serviceFromProto(protoPath, "grpc.health.v1.Health"), role) as unknown as Health;
}

/** Asks by the current version of the service, else by the one before, which older libraries have alone. */
async function reflected(t: TestCase, role: EntityRole, request: object): Promise<ReflectionAnswer> {
  const root = join(dirname(createRequire(import.meta.url).resolve("@grpc/reflection")), "..", "proto");
  const ask = async (version: string) => {
    const path = join(root, "grpc", "reflection", version, "reflection.proto");
    const service = serviceFromProto(path, `grpc.reflection.${version}.ServerReflection`);
    const client = t.provider.client(service, role) as unknown as Reflection;
    const requests = (async function* () {
      yield request;
    })();
    for await (const { messageResponse } of client.serverReflectionInfo(requests)) return messageResponse;
    return { case: undefined } as const;
  };
  return ask("v1").catch((cause: unknown) => {
    if (ConnectError.from(cause).code !== Code.Unimplemented) throw cause;
    return ask("v1alpha");
  });
}

function standardServicesOf(role: EntityRole): readonly Purpose[] {
  const of = `TP/${role.toUpperCase() as Uppercase<EntityRole>}/API` as const;
  const names = servedBy[role].map(({ typeName }) => typeName);
  const shared = { clause: "6.2", initialState: "the entity serves" } as const;
  return [
    purpose({
      ...shared,
      id: `${of}/CA-02`,
      title: "says by the health service of gRPC that it serves, as a whole and each service",
      requires: ["HEALTH"],
      stimulus: 'Check of "", of each service by its full name, of a name that there is not',
      expected: "SERVING, SERVING, and NOT_FOUND",
      likelyMistake:
        "only the whole server is registered at the health service: balancers that ask by name get NOT_FOUND",
      async run(t) {
        const service = health(t, role);
        for (const name of ["", ...names])
          expect((await service.check({ service: name })).status === SERVING, `SERVING for "${name}"`);
        const unknown = () => service.check({ service: "x1410.v1.NothingService" });
        await expectRefusalOf(unknown, { code: Code.NotFound, reason: undefined });
      },
    }),
    purpose({
      ...shared,
      id: `${of}/CA-03`,
      title: "describes by reflection every service that it has",
      requires: ["REFLECTION"],
      stimulus: "list_services; file_containing_symbol of each service",
      expected: "each service of the interface among them, and a file that defines it with all of its methods",
      likelyMistake: "the services are listed, and their descriptors were left out of the build",
      async run(t) {
        const list = await reflected(t, role, { messageRequest: { case: "listServices", value: "" } });
        expect(list.case === "listServicesResponse", "a list of the services");
        const listed = list.value.service.map(({ name }) => name);
        for (const { typeName, name, methods } of servedBy[role]) {
          // Optional services may be missing altogether.
          if (!listed.includes(typeName) && name === "SystemManagementService") continue;
          expect(listed.includes(typeName), `${typeName} in the list`);
          const answer = await reflected(t, role, {
            messageRequest: { case: "fileContainingSymbol", value: typeName },
          });
          expect(answer.case === "fileDescriptorResponse", `the file of ${typeName}`);
          const files = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
          const described = files.flatMap((file) =>
            file.service.filter((one) => `${file.package}.${one.name}` === typeName),
          );
          const missing = methods.filter((method) => !described[0]?.method.some((one) => one.name === method.name));
          expect(described.length === 1 && missing.length === 0, `${typeName} with its methods`);
        }
      },
    }),
  ];
}

export const standardServicesPurposes: readonly Purpose[] = entityRoles.flatMap(standardServicesOf);
