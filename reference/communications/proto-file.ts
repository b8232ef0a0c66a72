// Services of gRPC itself, whose .proto files come with packages, as descriptors of the kind that registrations need.
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { loadSync } from "@grpc/proto-loader";
import type { Registration } from "./service.ts";

/** `implement` for a service that has no generated types. */
export function implementFromProto(service: DescService, implementation: Record<string, unknown>): Registration {
  return { service, implementation: implementation as Registration["implementation"] };
}

/** @throws Error where the one file at `path` does not define the service */
export function serviceFromProto(path: string, typeName: string): DescService {
  const bytes = Object.values(loadSync(path))
    .flatMap((definition) =>
      "fileDescriptorProtos" in definition ? (definition.fileDescriptorProtos as Buffer[]) : [],
    )
    .at(0);
  if (bytes === undefined) throw new Error(`${path} defines nothing`);
  const file = fromBinary(FileDescriptorProtoSchema, bytes);
  // proto-loader leaves the syntax out, and names types relative to where they are used (grpc-node issue 2595).
  file.syntax = "proto3";
  qualifyTypeNames(file);
  const service = createFileRegistry(file, () => undefined).getService(typeName);
  if (service === undefined) throw new Error(`${path} does not define ${typeName}`);
  return service;
}

function qualifyTypeNames(file: FileDescriptorProto): void {
  const known = new Set<string>();
  const visit = (
    scope: string,
    messages: readonly DescriptorProto[],
    each: (scope: string, message: DescriptorProto) => void,
  ) => {
    for (const message of messages) {
      const name = `${scope}.${message.name}`;
      each(name, message);
      visit(name, message.nestedType, each);
    }
  };
  const qualified = (scope: string, name: string): string => {
    if (name === "" || name.startsWith(".")) return name;
    for (let outer = scope; outer !== ""; outer = outer.slice(0, outer.lastIndexOf("."))) {
      if (known.has(`${outer}.${name}`)) return `${outer}.${name}`;
    }
    throw new Error(`${file.name} does not define ${name}`);
  };
  const root = `.${file.package}`;
  for (const { name } of file.enumType) known.add(`${root}.${name}`);
  visit(root, file.messageType, (name, { enumType }) => {
    known.add(name);
    for (const nested of enumType) known.add(`${name}.${nested.name}`);
  });
  visit(root, file.messageType, (name, { field: fields }) => {
    for (const field of fields) field.typeName = qualified(name, field.typeName);
  });
  for (const method of file.service.flatMap((service) => service.method)) {
    method.inputType = qualified(root, method.inputType);
    method.outputType = qualified(root, method.outputType);
  }
}
