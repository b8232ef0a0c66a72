// A service with one method of each kind, for the tests of what carries services.
import { create, createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

export type Note = Message<"x1410.test.Note"> & { text: string; data: Uint8Array };
export type NoteSchema = GenMessage<Note>;

type EchoMethod<Kind extends string> = { methodKind: Kind; input: NoteSchema; output: NoteSchema };
export type EchoServiceType = GenService<{
  say: EchoMethod<"unary">;
  count: EchoMethod<"server_streaming">;
  join: EchoMethod<"client_streaming">;
  chat: EchoMethod<"bidi_streaming">;
}>;

const type = ".x1410.test.Note";
const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
  name,
  inputType: type,
  outputType: type,
  clientStreaming,
  serverStreaming,
});
const field = (name: string, number: number, fieldType: FieldDescriptorProto_Type) => ({
  name,
  jsonName: name,
  number,
  type: fieldType,
  label: FieldDescriptorProto_Label.OPTIONAL,
});

const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "x1410/test/echo.proto",
    package: "x1410.test",
    syntax: "proto3",
    messageType: [
      {
        name: "Note",
        field: [field("text", 1, FieldDescriptorProto_Type.STRING), field("data", 2, FieldDescriptorProto_Type.BYTES)],
      },
    ],
    service: [
      {
        name: "EchoService",
        method: [
          method("Say", false, false),
          method("Count", false, true),
          method("Join", true, false),
          method("Chat", true, true),
        ],
      },
    ],
  }),
  () => undefined,
);

export const EchoService = registry.getService("x1410.test.EchoService") as unknown as EchoServiceType;
export const NoteSchema = registry.getMessage("x1410.test.Note") as unknown as NoteSchema;
