// Writes buf/validate/validate.proto, which the protocol imports, into build/validate/ where buf reads it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { printProto } from "./print-proto.ts";

// Printed from a descriptor, which has lost its comments: the licence of the original goes with it.
const LICENCE = `// Copyright Buf Technologies, Inc.
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//      http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Printed from the descriptor in the npm package @bufbuild/protovalidate; the comments of the original are lost.
`;

export function validateProto(): string {
  return `${LICENCE}${printProto(file_buf_validate_validate)}`;
}

export function writeValidateProto(folder: string): void {
  const path = join(folder, "buf/validate/validate.proto");
  const text = validateProto();
  // A file that is right already stays untouched: another buf may be reading it.
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** The folder that buf.yaml names as its second module. */
export const VALIDATE_MODULE = join(import.meta.dirname, "../build/validate");

if (import.meta.main) writeValidateProto(VALIDATE_MODULE);
