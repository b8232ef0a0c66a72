import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { must } from "./toolchain.ts";
import { writeValidateProto } from "./validate-proto.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-validate-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the printed validate.proto compiles to the very descriptor of @bufbuild/protovalidate", async () => {
  writeValidateProto(folder);
  const compiled = join(folder, "validate.binpb");
  await must("buf", ["build", folder, "--exclude-source-info", "-o", compiled]);
  const file = fromBinary(FileDescriptorSetSchema, readFileSync(compiled)).file.find(
    ({ name }) => name === "buf/validate/validate.proto",
  );
  if (file === undefined) throw new Error("validate.proto was not compiled");
  // A field of buf's own image format rides along as an unknown field.
  delete file.$unknown;
  const bytes = toBinary(FileDescriptorProtoSchema, file);
  expect(Buffer.from(bytes).equals(toBinary(FileDescriptorProtoSchema, file_buf_validate_validate.proto))).toBe(true);
});
