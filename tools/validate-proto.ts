// Writes buf/validate/validate.proto, which the protocol imports, into build/validate/ where buf reads it.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { printProto } from "./print-proto.ts";

export function writeValidateProto(folder: string): void {
  const path = join(folder, "buf/validate/validate.proto");
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, printProto(file_buf_validate_validate));
}

if (import.meta.main) writeValidateProto(join(import.meta.dirname, "../build/validate"));
