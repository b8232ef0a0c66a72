// Builds dist/, what the package carries: compiled JavaScript with its declarations, and the .proto files with all that they import.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { exportProto } from "./proto-export.ts";
import { must, ROOT } from "./toolchain.ts";

const dist = join(ROOT, "dist");
// A file whose source is gone must not ride along.
rmSync(dist, { recursive: true, force: true });
try {
  await must("tsc", ["-p", "tsconfig.build.json"]);
  await exportProto(join(dist, "proto"));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
