import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PkiFixture, pkiFixture } from "../reference/communications/pki.fixture.ts";
import { ROOT, run } from "../tools/toolchain.ts";

const x1410 = (...args: string[]) => run(process.execPath, [join(ROOT, "bin/x1410.js"), ...args], { cwd: folder });

let folder = "";
let pki: PkiFixture;
beforeAll(() => {
  pki = pkiFixture();
  folder = mkdtempSync(join(tmpdir(), "x1410-cli-"));
});
afterAll(() => {
  pki.remove();
  rmSync(folder, { recursive: true, force: true });
});

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

  test("goes on to its own end and exit code where nobody reads on", async () => {
    const target = join(folder, "target.yaml");
    const dead = (identity: string) => `{ endpoint: "127.0.0.1:1", identity: "urn:x1410:entity:${identity}:one" }`;
    const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o600 });
    const users = ["provider", "consumer"].map((name) => {
      const { caPem, crlPem, chainPem, privateKeyPem } = pki.issue("user", name);
      write("ca.pem", caPem);
      write("crl.pem", crlPem);
      write(`${name}.pem`, chainPem);
      write(`${name}.key`, privateKeyPem);
      return `${name}: { certificate: ${name}.pem, privateKey: ${name}.key }`;
    });
    writeFileSync(
      target,
      [
        `entities: { dssm: ${dead("dssm")}, kss: ${dead("kss")}, dss: ${dead("dss")} }`,
        "trust: { anchors: ca.pem, revocationLists: crl.pem }",
        `credentials: { ${users.join(", ")} }`,
      ].join("\n"),
    );
    const report = join(folder, "report.json");
    const { code, output } = await run("bash", [
      "-o",
      "pipefail",
      "-c",
      `"${process.execPath}" "${join(ROOT, "bin/x1410.js")}" conformance run --target "${target}" --id "TP/ALL/*" --json "${report}" | true`,
    ]);
    expect(code, output).toBe(2);
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({ verdict: "INCONC" });
  });
});
