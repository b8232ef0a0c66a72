// Writes what plain protoc takes: a self-contained tree of .proto files (ours and buf/validate) and the same as a descriptor set,
// x1410.binpb, with imports and comments.  npm run proto:export [-- DIR]
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { must, ROOT } from "./toolchain.ts";
import { writeValidateProto } from "./validate-proto.ts";

const DEFAULT_FOLDER = "build/proto";
export const DESCRIPTOR_SET = "x1410.binpb";

/** Exports into `folder`, creating it where needed; answers the .proto files, relative to it. */
export async function exportProto(folder: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  cpSync(join(ROOT, "proto/x1410"), join(folder, "x1410"), { recursive: true });
  writeValidateProto(folder);
  // buf takes the plain tree as one module, as protoc does: it shows at once that nothing else is needed. Its own copy keeps
  // whatever else is in the folder out of the set.
  const module = mkdtempSync(join(tmpdir(), "x1410-export-"));
  try {
    for (const name of ["x1410", "buf"]) cpSync(join(folder, name), join(module, name), { recursive: true });
    await must("buf", ["build", module, "--as-file-descriptor-set", "-o", resolve(folder, DESCRIPTOR_SET)]);
  } finally {
    rmSync(module, { recursive: true, force: true });
  }
  return protoFiles(folder);
}

function protoFiles(folder: string): string[] {
  return ["x1410", "buf"].flatMap((top) =>
    readdirSync(join(folder, top), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".proto"))
      .map((name) => `${top}/${name}`)
      .sort(),
  );
}

/** How stubs come out of the tree in `folder`, one block of shell; the README shows the same. */
export function stubCommands(folder: string): string {
  return `cd ${folder} && mkdir -p out && FILES=$(find x1410 buf -name '*.proto')

# Python
protoc -I . --python_out=out --grpc_python_out=out --plugin=protoc-gen-grpc_python=$(which grpc_python_plugin) $FILES
# Python, by the package grpcio-tools instead of protoc
python3 -m grpc_tools.protoc -I . --python_out=out --grpc_python_out=out $FILES
# Java
protoc -I . --java_out=out --grpc-java_out=out --plugin=protoc-gen-grpc-java=$(which protoc-gen-grpc-java) $FILES
# C++
protoc -I . --cpp_out=out --grpc_out=out --plugin=protoc-gen-grpc=$(which grpc_cpp_plugin) $FILES
# C#
protoc -I . --csharp_out=out --grpc_out=out --plugin=protoc-gen-grpc=$(which grpc_csharp_plugin) $FILES
# Go; buf/validate comes from its module
protoc -I . --go_out=out --go-grpc_out=out $(find x1410 -name '*.proto')`;
}

if (import.meta.main) {
  const folder = process.argv[2] ?? DEFAULT_FOLDER;
  try {
    await exportProto(resolve(folder));
    console.log(`Wrote ${folder}: the .proto files, and the same as a descriptor set, ${DESCRIPTOR_SET}.
protoc 3.21 or later takes either: --descriptor_set_in=${DESCRIPTOR_SET} in place of -I . takes the set.

${stubCommands(folder)}`);
  } catch (error) {
    console.error(`proto:export: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
