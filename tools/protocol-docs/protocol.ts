// The protocol as the pages need it: services, messages and reasons with their requirements, and the page that each one stands on.
// Options are read through the descriptors of the request itself, not through gen/, which the same run may be writing anew.

import type {
  AnyDesc,
  DescEnum,
  DescEnumValue,
  DescField,
  DescFile,
  DescMethod,
  DescService,
} from "@bufbuild/protobuf";
import { create, createFileRegistry, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { type CodeGeneratorRequest, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { getComments } from "@bufbuild/protoplugin";
import type {
  FieldRequirement,
  MessageRequirement,
  MethodRequirement,
  ServiceRequirement,
} from "../../gen/x1410/v1/annotations_pb.ts";
import type { ErrorRequirement } from "../../gen/x1410/v1/error_pb.ts";

const PACKAGE = "x1410.v1";
const ON_ERRORS_PAGE = ["ErrorDetail", "ErrorReason"];

export interface Protocol {
  /** In the order of their names. */
  readonly services: readonly DescService[];
  /** Messages and enums that no service page has, in the order of their files. */
  readonly shared: readonly (DescMessage | DescEnum)[];
  /** Values of ErrorReason that are sent. */
  readonly reasons: readonly DescEnumValue[];
  /** The detail that carries them. */
  readonly errorDetail: DescMessage;
  readonly service: (desc: DescService) => ServiceRequirement;
  readonly method: (desc: DescMethod) => MethodRequirement;
  readonly message: (desc: DescMessage) => MessageRequirement;
  readonly field: (desc: DescField) => FieldRequirement;
  readonly error: (desc: DescEnumValue) => ErrorRequirement;
  /** Messages and enums on the page of a service, in the order of the file. */
  readonly own: (desc: DescService) => (DescMessage | DescEnum)[];
  /** The page of a message, an enum or a service. */
  readonly page: (desc: DescMessage | DescEnum | DescService) => string;
  /** The name of a value without the prefix that all values of its enum share, in lower case: `mandatory`, `not found`. */
  readonly word: (enumeration: string, value: number) => string;
  /** The same as it stands in the IDL: `NOT_FOUND`. */
  readonly constant: (enumeration: string, value: number) => string;
}

export function readProtocol(request: CodeGeneratorRequest): Protocol {
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: request.protoFile }));
  const files = request.fileToGenerate.map((name) => present(registry.getFile(name), name));
  const services = files.flatMap((file) => file.services).sort((a, b) => a.name.localeCompare(b.name, "en"));
  const option =
    <D extends AnyDesc, T extends Message>(name: string) =>
    (desc: D): T => {
      const extension = present(registry.getExtension(`${PACKAGE}.${name}`), name);
      return getOption(desc as never, extension as never) as T;
    };
  const enumeration = (name: string): DescEnum => present(registry.getEnum(`${PACKAGE}.${name}`), name);
  const constant = (name: string, value: number): string => {
    const desc = enumeration(name);
    return present(desc.value[value], `${name} ${value}`).name.slice(desc.sharedPrefix?.length ?? 0);
  };

  const home = new Map<string, string>();
  for (const service of services) home.set(service.typeName, `${kebab(service.name)}.md`);
  for (const service of services) {
    for (const { input, output } of service.methods)
      for (const desc of [input, output]) home.set(desc.typeName, present(home.get(service.typeName), service.name));
  }
  const shared: (DescMessage | DescEnum)[] = [];
  for (const file of files) {
    const [first] = file.services;
    for (const desc of typesOf(file)) {
      if (home.has(desc.typeName)) continue;
      if (ON_ERRORS_PAGE.includes(desc.name)) home.set(desc.typeName, "errors.md");
      else if (first !== undefined) home.set(desc.typeName, present(home.get(first.typeName), first.name));
      else {
        home.set(desc.typeName, "messages.md");
        shared.push(desc);
      }
    }
  }
  const page = (desc: DescMessage | DescEnum | DescService): string => present(home.get(desc.typeName), desc.typeName);
  return {
    services,
    shared,
    reasons: enumeration("ErrorReason").values.filter(({ number }) => number > 0),
    errorDetail: present(registry.getMessage(`${PACKAGE}.ErrorDetail`), "ErrorDetail"),
    service: option("service"),
    method: option("method"),
    message: option("message"),
    field: option("field"),
    error: option("error"),
    own: (service) => typesOf(service.file).filter((desc) => page(desc) === page(service)),
    page,
    word: (name, value) => constant(name, value).toLowerCase().replaceAll("_", " "),
    constant,
  };
}

/** The comment in front of a declaration as one paragraph for each paragraph of it. */
export function comment(desc: Exclude<AnyDesc, DescFile>): string {
  const { leading } = getComments(desc);
  const paragraphs = present(leading, `comment of ${desc.toString()}`).split(/\n[ \t]*\n/);
  return paragraphs.map((text) => text.trim().replace(/\s*\n\s*/g, " ")).join("\n\n");
}

export function present<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`missing: ${what}`);
  return value;
}

function typesOf(file: DescFile): (DescMessage | DescEnum)[] {
  return [...file.enums, ...file.messages];
}

function kebab(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
}
