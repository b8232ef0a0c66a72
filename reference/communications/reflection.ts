// Standard gRPC server reflection (grpc.reflection.v1 and v1alpha). Answers with the descriptors as compiled: comments aside, every option,
// the clauses and rules of this interface among them, reaches the client.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { implementFromProto, serviceFromProto } from "./proto-file.ts";
import type { Registration } from "./service.ts";

interface Request {
  host: string;
  messageRequest:
    | { case: "listServices" | "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType"; value: string }
    | { case: "fileContainingExtension"; value: { containingType: string; extensionNumber: number } }
    | { case: undefined };
}

export function reflection(services: readonly DescService[]): Registration[] {
  const packageRoot = dirname(createRequire(import.meta.url).resolve("@grpc/reflection"));
  const own = ["v1", "v1alpha"].map((version) =>
    serviceFromProto(
      join(packageRoot, "..", "proto", "grpc", "reflection", version, "reflection.proto"),
      `grpc.reflection.${version}.ServerReflection`,
    ),
  );
  const index = new DescriptorIndex([...services, ...own]);
  return own.map((service) =>
    implementFromProto(service, {
      async *serverReflectionInfo(requests: AsyncIterable<Request>) {
        for await (const request of requests) {
          yield { validHost: request.host, originalRequest: request, messageResponse: index.answer(request) };
        }
      },
    }),
  );
}

class DescriptorIndex {
  readonly #services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  constructor(services: readonly DescService[]) {
    this.#services = services.map(({ typeName }) => typeName);
    for (const { file } of services) this.#add(file);
  }

  answer({ messageRequest }: Request) {
    try {
      switch (messageRequest.case) {
        case "listServices":
          return { case: "listServicesResponse", value: { service: this.#services.map((name) => ({ name })) } };
        case "fileByFilename":
          return files(found(this.#files.get(messageRequest.value)));
        case "fileContainingSymbol":
          return files(found(this.#symbols.get(messageRequest.value)));
        case "fileContainingExtension": {
          const { containingType, extensionNumber } = messageRequest.value;
          return files(found(this.#extensions.get(containingType)?.get(extensionNumber)));
        }
        case "allExtensionNumbersOfType": {
          const numbers = found(this.#extensions.get(messageRequest.value));
          const value = { baseTypeName: messageRequest.value, extensionNumber: [...numbers.keys()] };
          return { case: "allExtensionNumbersResponse", value };
        }
        default:
          throw new ConnectError("no such request", Code.InvalidArgument);
      }
    } catch (cause) {
      const { code, rawMessage } = ConnectError.from(cause);
      return { case: "errorResponse", value: { errorCode: code, errorMessage: rawMessage } };
    }
  }

  #add(file: DescFile): void {
    const name = `${file.name}.proto`;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const service of file.services) {
      this.#symbols.set(service.typeName, file);
      for (const method of service.methods) this.#symbols.set(`${service.typeName}.${method.name}`, file);
    }
    const messages = [...file.messages];
    for (let message = messages.pop(); message !== undefined; message = messages.pop()) {
      this.#symbols.set(message.typeName, file);
      for (const { typeName } of message.nestedEnums) this.#symbols.set(typeName, file);
      for (const extension of message.nestedExtensions) this.#addExtension(extension, file);
      messages.push(...message.nestedMessages);
    }
    for (const { typeName } of file.enums) this.#symbols.set(typeName, file);
    for (const extension of file.extensions) this.#addExtension(extension, file);
    for (const dependency of file.dependencies) this.#add(dependency);
  }

  #addExtension(extension: DescFile["extensions"][number], file: DescFile): void {
    this.#symbols.set(extension.typeName, file);
    const numbers = this.#extensions.get(extension.extendee.typeName) ?? new Map<number, DescFile>();
    this.#extensions.set(extension.extendee.typeName, numbers.set(extension.number, file));
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new ConnectError("not found", Code.NotFound);
  return value;
}

/** The file asked for, then everything that it imports. */
function files(file: DescFile) {
  const closure = new Set<DescFile>();
  const add = (each: DescFile) => {
    if (closure.has(each)) return;
    for (const dependency of each.dependencies) add(dependency);
    closure.add(each);
  };
  add(file);
  const fileDescriptorProto = [...closure].reverse().map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}
