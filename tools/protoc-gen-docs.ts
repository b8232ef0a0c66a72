// The protoc plugin that writes docs/protocol/ from the descriptors (listed in buf.gen.yaml).
import { create } from "@bufbuild/protobuf";
import {
  CodeGeneratorResponse_Feature,
  CodeGeneratorResponse_FileSchema,
  CodeGeneratorResponseSchema,
} from "@bufbuild/protobuf/wkt";
import { type Plugin, runNodeJs } from "@bufbuild/protoplugin";
import { errorsPage } from "./protocol-docs/errors-page.ts";
import { indexPage } from "./protocol-docs/index-page.ts";
import { messagesPage } from "./protocol-docs/messages-page.ts";
import { readProtocol } from "./protocol-docs/protocol.ts";
import { servicePage } from "./protocol-docs/service-page.ts";

const plugin: Plugin = {
  name: "protoc-gen-docs",
  version: "1",
  run(request) {
    const protocol = readProtocol(request);
    const pages: [string, string][] = [
      ["README.md", indexPage(protocol)],
      ["messages.md", messagesPage(protocol)],
      ["errors.md", errorsPage(protocol)],
      ...protocol.services.map((service): [string, string] => [protocol.page(service), servicePage(protocol, service)]),
    ];
    return create(CodeGeneratorResponseSchema, {
      supportedFeatures: BigInt(CodeGeneratorResponse_Feature.PROTO3_OPTIONAL),
      file: pages.map(([name, content]) => create(CodeGeneratorResponse_FileSchema, { name, content })),
    });
  },
};

runNodeJs(plugin);
