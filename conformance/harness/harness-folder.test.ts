import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { x1410InProcess } from "../../cli/in-process.fixture.ts";
import { ROOT } from "../../tools/toolchain.ts";
import { campaign } from "../campaign.ts";
import { openTarget } from "../commands/open-target.ts";
import { readPics } from "../pics.ts";
import { blackHole } from "../stage.fixture.ts";
import { purposes } from "../suite.ts";
import { readTargetSettings } from "../target.ts";
import { harnessPeers } from "./harness.ts";
import { writeHarnessFolder } from "./harness-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-harness-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The first of `count` ports in a row that were free a moment ago, below those that systems hand out to whoever asks for any. */
async function freePorts(count: number): Promise<number> {
  while (true) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const held = Array.from({ length: count }, () => createServer());
    try {
      await Promise.all(held.map((server, at) => once(server.listen(first + at, "127.0.0.1"), "listening")));
      return first;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EADDRINUSE") throw cause;
    } finally {
      await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
    }
  }
}

async function written(): Promise<{ targetFile: string; kssPort: number }> {
  const basePort = await freePorts(harnessPeers.length + 2);
  const kssPort = basePort + harnessPeers.length + 1;
  const { targetFile } = await writeHarnessFolder({
    directory: folder,
    roles: ["kss"],
    name: "iut",
    host: "127.0.0.1",
    basePort,
    endpoints: new Map([["kss", `127.0.0.1:${kssPort}`]]),
  });
  return { targetFile, kssPort };
}

const kit = (...args: string[]) => x1410InProcess(ROOT, "conformance", "run", ...args);

const plain = { reference: [], pics: [], client: "grpc", seed: "1410", recordBytes: 10_000 } as const;

/** Whether the process is there, and not only because nobody has asked how it ended. */
function running(pid: string): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !/\) Z /.test(readFileSync(stat, "utf8"));
}

describe("a harness folder", () => {
  test("holds a target file and a proforma that the kit reads", async () => {
    const { targetFile, kssPort } = await written();
    const settings = await readTargetSettings(targetFile);
    expect(settings.entities).toEqual({
      kss: { endpoint: `127.0.0.1:${kssPort}`, identity: "urn:x1410:entity:kss:iut" },
    });
    expect(settings.harness?.directory).toBe(folder);
    await expect(readPics(join(folder, "pics-kss.yaml"))).rejects.toThrow(/support must be yes or no/);
  });

  test("names every peer with endpoint and certificate in its registry", async () => {
    await written();
    const { entities } = JSON.parse(readFileSync(join(folder, "registry.json"), "utf8")) as {
      entities: { identity: string; endpoint: string; certificate: { certificates: string[] } }[];
    };
    expect(entities.map(({ identity }) => identity)).toEqual([
      "urn:x1410:entity:dssm:kit",
      "urn:x1410:entity:kss:kit",
      "urn:x1410:entity:dss:kit",
      "urn:x1410:entity:dssm:kit-second",
      "urn:x1410:entity:ca:kit",
      "urn:x1410:entity:kss:iut",
    ]);
    for (const { certificate } of entities) expect(certificate.certificates).toHaveLength(2);
  });

  test("keeps certificates and a statement that was begun when it is written again", async () => {
    await written();
    const key = readFileSync(join(folder, "pki/identities/kss-iut/key.pem"), "utf8");
    writeFileSync(join(folder, "pics-kss.yaml"), "begun");
    await written();
    expect(readFileSync(join(folder, "pki/identities/kss-iut/key.pem"), "utf8")).toBe(key);
    expect(readFileSync(join(folder, "pics-kss.yaml"), "utf8")).toBe("begun");
  });

  test("is all that a program needs to be started and tested by the kit", { timeout: 60_000 }, async () => {
    const { targetFile, kssPort } = await written();
    const program = fileURLToPath(new URL("reference-kss.fixture.ts", import.meta.url));
    const data = mkdtempSync(join(folder, "data-"));
    const json = join(folder, "report.json");
    const command = `'${process.execPath}' '${program}' '${folder}' ${kssPort} '${data}'`;
    const filters = ["--id", "TP/KSS/TV/BI-0*", "TP/KSS/KSM/BV-0*"];
    const { code, output } = await kit("--target", targetFile, "--command", command, "--json", json, ...filters);
    expect([code, output]).toEqual([0, expect.stringContaining("Verdict: PASS, partial")]);
    const { results } = JSON.parse(readFileSync(json, "utf8")) as { results: { verdict: string }[] };
    expect(results.length).toBeGreaterThan(10);
  });

  test("a program that does not start is told of in one line, with its last words, whoever holds its port", {
    timeout: 60_000,
  }, async () => {
    const { targetFile, kssPort } = await written();
    const hole = await blackHole(kssPort);
    const { code, output } = await kit("--target", targetFile, "--command", "echo no licence found; exit 7");
    await hole.close();
    expect(code).toBe(3);
    expect(output).toMatch(
      /^Starting [^\n]+\n\nx1410: the implementation does not serve: it ended with code 7; .*no licence found\n$/,
    );
  });

  test("a program that ends during the run is told of once, with its last words, and nothing is judged by its absence", {
    timeout: 60_000,
  }, async () => {
    const { targetFile, kssPort } = await written();
    const program = fileURLToPath(new URL("reference-kss.fixture.ts", import.meta.url));
    const arguments_ = `'${program}' '${folder}' ${kssPort} '${mkdtempSync(join(folder, "data-"))}'`;
    const gate = join(folder, "gate");
    execFileSync("mkfifo", [gate]);
    // The shell ends its program as soon as somebody writes to the pipe, and then itself.
    const line = `'${process.execPath}' ${arguments_} & read word < '${gate}'; kill -9 $!; wait; echo out of memory; exit 9`;
    const target = await openTarget({ ...plain, file: targetFile, command: line });
    const { ended } = target;
    const report = await campaign(target.stage, {
      purposes,
      filters: { ids: ["TP/KSS/KSM/BV-0*"] },
      pics: target.pics,
      expectedFailures: new Map(),
      parallel: 1,
      budgetMs: 60_000,
      reproduce: (id) => id,
      ...(ended && { stop: ended }),
      onResult: (_, { id }) => id.endsWith("BV-01") && writeFileSync(gate, "now\n"),
    });
    await target.close();
    const how = "the implementation has ended during the run: it ended with code 9";
    expect(report.results[0]).toMatchObject({ id: "TP/KSS/KSM/BV-01", verdict: "PASS" });
    expect(report.results.filter(({ verdict }) => !["PASS", "INCONC"].includes(verdict))).toEqual([]);
    expect(report.results.at(-1)).toMatchObject({ verdict: "INCONC", actual: how });
    expect(report.run.ended).toBe(`${how}; its last words: out of memory`);
  });

  test("a peer's port that somebody else holds is told of with the member that names it", async () => {
    const { targetFile, kssPort } = await written();
    const hole = await blackHole(kssPort - harnessPeers.length - 1);
    const { code, output } = await kit("--target", targetFile);
    await hole.close();
    expect([code, output]).toEqual([
      3,
      expect.stringMatching(/127\.0\.0\.1:\d+ is in use .*: choose other ports with harness\.basePort\n$/),
    ]);
  });

  test("an interrupt gives no verdict and leaves nothing running", { timeout: 60_000 }, async () => {
    const { targetFile } = await written();
    const started = join(folder, "started");
    const line = `echo $$ > '${started}.new'; mv '${started}.new' '${started}'; sleep 1000; echo still here`;
    const args = [join(ROOT, "bin/x1410.js"), "conformance", "run", "--target", targetFile, "--command", line];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const changes = watch(folder);
    const gone = ended.then(() => {
      throw new Error(`the kit has ended: ${said}`);
    });
    while (!existsSync(started)) await Promise.race([once(changes, "change"), gone]);
    gone.catch(() => undefined);
    changes.close();
    child.kill("SIGINT");
    expect([await ended, said]).toEqual([130, "x1410: interrupted by SIGINT, without a verdict\n"]);
    expect(running(readFileSync(started, "utf8").trim())).toBe(false);
  });
});
