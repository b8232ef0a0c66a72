// Proves the package: packs it, installs the tarball into an empty folder and runs it there under every Node.js that engines names, and
// under one that is too old. Takes the dependencies and the other Node.js versions from the npm registry.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type Check, conclude, failure, type Outcome, PASSED, report, type Tally } from "./tally.ts";
import { must, ROOT, type RunResult, run } from "./toolchain.ts";

const SUPPORTED = ["22.12.0", "24.0.0"];
const TOO_OLD = "20.19.0";
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };

const CONSUMER = `
import { create } from "@bufbuild/protobuf";
import { formatIdentity } from "x1410/certs/identity";
import { GetKeyRequestSchema, type GetKeyRequest } from "x1410/gen/key_storage_pb";
import * as provider from "x1410/data-provider";
import * as consumer from "x1410/data-consumer";
import * as conformance from "x1410/conformance";
import { createSigner } from "x1410/envelope/signer";
import type { LedgerEngine } from "x1410/ledger";
import { applyTransaction } from "x1410/ledger/contract-rules";
import { engineSuite } from "x1410/ledger/engine-suite";
import { signTransaction } from "x1410/ledger/transaction";
import { verifyChain } from "x1410/ledger/verify";
const request: GetKeyRequest = create(GetKeyRequestSchema, { keyId: "0".repeat(32) });
if (formatIdentity("user", "alice") !== "urn:x1410:user:alice" || request.keyId.length !== 32) throw new Error("unexpected");
for (const module of [provider, consumer, conformance]) if (Object.keys(module).length === 0) throw new Error("nothing exported");
for (const part of [createSigner, applyTransaction, signTransaction, verifyChain]) if (typeof part !== "function") throw new Error("missing");
const tests: string[] = [];
engineSuite({ test: (name) => void tests.push(name), factory: () => Promise.reject(new Error("no ledger")) });
if (tests.length < 10) throw new Error("no suite");
const noEngine: LedgerEngine | undefined = undefined;
if (noEngine !== undefined) throw new Error("unexpected");
`;

/** What a reader of the page would try. */
function exampleOf(page: string): string {
  const [, program] = /```js\n(.*?)```/s.exec(readFileSync(join(ROOT, page), "utf8")) ?? [];
  if (program === undefined) throw new Error(`${page} has no example`);
  return program;
}

/** Stands for another ledger behind the port: the embedded one, reached past the entry points, for which nobody else has a use. */
const FOREIGN_ENGINE = `
import { Level } from "level";
import { createLedgerNode } from "./node_modules/x1410/dist/reference/ledger/server.js";
export const MyEngine = {
  async open({ networkId, folder, trust, node: signer }) {
    const db = new Level(folder);
    const options = { db, signer, trust, networkId, proposer: signer.identity, peers: [], quorum: 1, now: () => new Date() };
    const ledger = await createLedgerNode({ ...options, parameters: () => { throw new Error("not asked for"); } });
    await ledger.start();
    const { engine } = ledger;
    const methods = ["submit", "get", "contract", "subscribe", "head"].map((name) => [name, engine[name].bind(engine)]);
    return { info: engine.info, ...Object.fromEntries(methods), close: () => ledger.close().then(() => db.close()) };
  },
};
`;

/** The environment of a user: no tool of this project in PATH, nothing that an npm above has set, the wanted Node.js first. */
function environment(...first: string[]): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_|^INIT_CWD$/i.test(name));
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  return { ...Object.fromEntries(inherited), PATH: [...first, ...path].join(delimiter) };
}

async function installNode(folder: string, wanted: string): Promise<string> {
  const home = join(folder, `node-${wanted}`);
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), "{}");
  const name = `node-${process.platform}-${process.arch}`;
  await must("npm", ["install", "--no-audit", "--no-fund", `${name}@${wanted}`], { cwd: home, env: environment() });
  return join(home, "node_modules", name, "bin");
}

/** Packs, and installs into a folder that holds nothing else. */
async function installPackage(folder: string): Promise<string> {
  const packed = join(folder, "packed");
  mkdirSync(packed);
  await must("npm", ["pack", "--pack-destination", packed], {});
  const [tarball] = readdirSync(packed);
  if (tarball === undefined) throw new Error("npm pack made no tarball");
  const home = join(folder, "empty");
  mkdirSync(home);
  await must("npm", ["install", "--no-audit", "--no-fund", join(packed, tarball)], { cwd: home, env: environment() });
  return home;
}

function expectRun({ code, output, stdout }: RunResult, wantedCode: number, holds: boolean): Outcome {
  return code === wantedCode && holds ? PASSED : failure(`exit code ${code}\n${output === "" ? stdout : output}`);
}

function checks(home: string, nodes: ReadonlyMap<string, string>): Check[] {
  const installed = join(home, "node_modules/x1410");
  const npx = (node: string, ...args: string[]): Promise<RunResult> =>
    run("npx", ["--no", "--", "x1410", ...args], { cwd: home, env: environment(nodes.get(node) ?? "") });
  const onEach = SUPPORTED.flatMap((node): Check[] => [
    {
      name: `x1410 --version, Node.js ${node}`,
      run: async () => {
        const result = await npx(node, "--version");
        return expectRun(result, 0, result.stdout === `${version}\n`);
      },
    },
    {
      name: `x1410 --help, Node.js ${node}`,
      run: async () => {
        const result = await npx(node, "--help");
        return expectRun(result, 0, result.stdout.startsWith("Usage: x1410"));
      },
    },
    {
      name: `as a library, Node.js ${node}`,
      run: async () => {
        // Without its types the program is plain JavaScript.
        writeFileSync(
          join(home, "use.mjs"),
          CONSUMER.replace(", type GetKeyRequest", "")
            .replace('import type { LedgerEngine } from "x1410/ledger";', 'import "x1410/ledger";')
            .replace(/: (?:GetKeyRequest|string\[\]|LedgerEngine \| undefined) =/g, " ="),
        );
        return expectRun(await run(join(nodes.get(node) ?? "", "node"), ["use.mjs"], { cwd: home }), 0, true);
      },
    },
    {
      name: `the example of docs/ledger.md, Node.js ${node}`,
      run: async () => {
        writeFileSync(join(home, "my-engine.mjs"), FOREIGN_ENGINE);
        writeFileSync(join(home, "my-ledger.test.mjs"), exampleOf("docs/ledger.md"));
        const args = ["--test", "--test-reporter", "tap", "my-ledger.test.mjs"];
        const result = await run(join(nodes.get(node) ?? "", "node"), args, { cwd: home, env: environment() });
        return expectRun(result, 0, /^# pass [1-9][0-9]+$/m.test(result.stdout) && /^# fail 0$/m.test(result.stdout));
      },
    },
  ]);
  const running = SUPPORTED.flatMap((node): Check[] => [
    {
      name: `x1410 up, Node.js ${node}`,
      run: () => startAndStop(join(home, "node_modules/.bin/x1410"), home, environment(nodes.get(node) ?? "")),
    },
    {
      name: `the example of docs/library.md, Node.js ${node}`,
      run: () =>
        startAndStop(join(home, "node_modules/.bin/x1410"), home, environment(nodes.get(node) ?? ""), async (data) => {
          writeFileSync(join(home, "example.mjs"), exampleOf("docs/library.md"));
          const env = { ...environment(), X1410_PROFILES: join(data, "profiles") };
          const result = await run(join(nodes.get(node) ?? "", "node"), ["example.mjs"], { cwd: home, env });
          return expectRun(result, 0, /^2 records .*\nid\n1\n2\n\ntrue\n$/.test(result.stdout));
        }),
    },
    {
      name: `x1410 conformance run, Node.js ${node}`,
      run: async () => expectRun(await npx(node, "conformance", "run", "--procedures"), 0, true),
    },
  ]);
  return [
    {
      name: "contents of the package",
      async run() {
        const wanted = [
          "bin/x1410.js",
          "LICENSE",
          "NOTICE",
          "README.md",
          "dist/cli/main.js",
          "dist/certs/identity.d.ts",
          "docs/conformance.md",
          "docs/desensitization/example-rules.yaml",
        ];
        const protos = ["x1410/v1/key_storage.proto", "buf/validate/validate.proto", "x1410.binpb"];
        const absent = [...wanted, ...protos.map((name) => `dist/proto/${name}`)].filter(
          (name) => !existsSync(join(installed, name)),
        );
        const tests = readdirSync(installed, { recursive: true, encoding: "utf8" }).filter((name) =>
          /\.(test|fixture)\./.test(name),
        );
        const wrong = [...absent.map((name) => `${name} is missing`), ...tests.map((name) => `${name} is inside`)];
        return wrong.length === 0 ? PASSED : failure(wrong.join("\n"));
      },
    },
    {
      name: "type declarations",
      async run() {
        writeFileSync(join(home, "use.mts"), CONSUMER);
        const options = ["--noEmit", "--strict", "--target", "es2024", "--module", "nodenext", "--types", "node"];
        const roots = ["--typeRoots", join(ROOT, "node_modules/@types")];
        return expectRun(await run("tsc", [...options, ...roots, join(home, "use.mts")], { cwd: home }), 0, true);
      },
    },
    ...onEach,
    ...running,
    {
      name: `one line under Node.js ${TOO_OLD}`,
      async run() {
        const bin = join(home, "node_modules/.bin/x1410");
        const result = await run(bin, ["up"], { cwd: home, env: environment(nodes.get(TOO_OLD) ?? "") });
        return expectRun(result, 1, /^x1410: needs Node\.js 22\.12 [^\n]+\n$/.test(result.output));
      },
    },
  ];
}

/** Starts the stack on free ports, waits for its ready line, uses it, stops it by SIGTERM. */
function startAndStop(
  command: string,
  cwd: string,
  env: NodeJS.ProcessEnv,
  use: (dataDirectory: string) => Promise<Outcome> = async () => PASSED,
): Promise<Outcome> {
  const data = mkdtempSync(join(cwd, "data-"));
  const child = spawn(command, ["up", "--json", "--base-port", "0", "--data", data], { cwd, env });
  const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
  let stdout = "";
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  let used: Promise<Outcome> = Promise.resolve(failure("there was no ready line"));
  child.stdout.on("data", (text) => {
    stdout += text;
    if (stdout.endsWith("\n")) used = use(data).finally(() => child.kill("SIGTERM"));
  });
  return new Promise((resolve) => {
    child.on("error", ({ message }) => resolve(failure(message)));
    child.on("close", (code, signal) => {
      clearTimeout(deadline);
      const ready = stdout.startsWith('{"ready":true');
      if (!ready || code !== 0) resolve(failure(`ended with ${code ?? signal}\n${stdout}${stderr}`));
      else resolve(used);
    });
  });
}

const folder = mkdtempSync(join(tmpdir(), "x1410-package-"));
const tallies: Tally[] = [];
try {
  const home = await installPackage(folder);
  const nodes = new Map<string, string>();
  for (const wanted of [...SUPPORTED, TOO_OLD]) nodes.set(wanted, await installNode(folder, wanted));
  for (const check of checks(home, nodes)) tallies.push(await report(check));
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
  tallies.push(failure(""));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
conclude(tallies);
