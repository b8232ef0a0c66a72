import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, run } from "../tools/toolchain.ts";

const x1410 = (...args: string[]) => run(process.execPath, [join(ROOT, "bin/x1410.js"), ...args], { cwd: folder });

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("x1410", () => {
  test("says its version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(await x1410("--version")).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  test("lists its commands, and the options of one", async () => {
    const all = await x1410("--help");
    expect(all).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: x1410 /) });
    expect((await x1410("help", "certs")).stdout).toMatch(/^Usage: x1410 certs .*init/s);
  });

  test.each([[["nope"]], [["--nope"]], [["certs", "--nope"]], [["certs", "show", "--dir", "absent"]]])(
    "%j is refused in one line",
    async (args) => {
      const { code, output, stdout } = await x1410(...args);
      expect([code, stdout]).toEqual([1, ""]);
      expect(output).toMatch(/^x1410[^\n]+\n$/);
    },
  );

  test("ends quietly where its reader stops early", async () => {
    const { code, output } = await run("bash", [
      "-o",
      "pipefail",
      "-c",
      `"${process.execPath}" "${join(ROOT, "bin/x1410.js")}" certs --help | true`,
    ]);
    expect([code, output]).toEqual([0, ""]);
  });
});
