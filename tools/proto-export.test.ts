import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stubCommands } from "./proto-export.ts";
import { ROOT } from "./toolchain.ts";

test("the README shows the commands that proto:export prints", () => {
  expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(`\`\`\`sh\n${stubCommands("DIR")}\n\`\`\``);
});
