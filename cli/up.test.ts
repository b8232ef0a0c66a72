// The whole stack as a newcomer starts it: what answers on its ports, what its command refuses, how it ends.
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fromJson } from "@bufbuild/protobuf";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath as healthProto } from "grpc-health-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readTargetSettings } from "../conformance/target.ts";
import { ErrorDetailSchema, ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { type Ready, StackProcess } from "../reference/stack/crash.fixture.ts";
import type { ServerKind } from "../reference/stack/plan.ts";
import { servedServices } from "../reference/stack/served-services.ts";
import { ROOT, run } from "../tools/toolchain.ts";
import { x1410InProcess } from "./in-process.fixture.ts";

let folder: string;
let data: string;
let stack: StackProcess;
let ready: Ready;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-up-"));
  data = join(folder, "data");
  stack = await StackProcess.start(data);
  ready = stack.ready;
});
afterAll(async () => {
  await stack.stop();
  await rm(folder, { recursive: true });
});

const x1410 = (...args: string[]) => run(process.execPath, [join(ROOT, "bin/x1410.js"), ...args], { cwd: folder });

function entity(name: string) {
  const found = ready.entities[name];
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

test("the target file tells the kit of the exposure API too, and how soon a revocation arrives", async () => {
  const { entities, ixit } = await readTargetSettings(ready.targetFile);
  expect(entities.kss?.exposure).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(entities.kss?.exposure).not.toBe(entity("kss").endpoint);
  expect(ixit.crlRefreshSeconds).toBe(60);
});

describe("standard services", () => {
  /** A client of one of gRPC's own services, by nothing but grpc-js and the service's file. */
  function client(file: string, service: string, endpoint: string): Client {
    const { certificate, privateKey } = ready.users.provider;
    const [ca, key, chain] = [ready.trustAnchor, privateKey, certificate].map((path) => readFileSync(path));
    const anonymous = Object.values(ready.entities).some(({ enrolmentEndpoint }) => enrolmentEndpoint === endpoint);
    const tls = anonymous ? credentials.createSsl(ca) : credentials.createSsl(ca, key, chain);
    const definition = loadPackageDefinition(loadSync(file, { enums: String }));
    const made = service.split(".").reduce<object>((at, name) => Reflect.get(at, name), definition);
    return new (made as ServiceClientConstructor)(endpoint, tls);
  }

  const endpoints = () =>
    Object.entries(ready.entities).flatMap(([name, { endpoint, enrolmentEndpoint }]) => [
      [name, endpoint],
      ...(enrolmentEndpoint === undefined ? [] : [[`${name} enrolment`, enrolmentEndpoint]]),
    ]) as [string, string][];

  test("health answers on every server", async () => {
    const told = await Promise.all(
      endpoints().map(async ([name, endpoint]) => {
        const health = client(healthProto, "grpc.health.v1.Health", endpoint);
        const status = await new Promise((resolve, reject) => {
          Reflect.get(health, "check").call(health, { service: "" }, (error: unknown, answer: { status: string }) =>
            error === null ? resolve(answer.status) : reject(error),
          );
        });
        health.close();
        return [name, status];
      }),
    );
    expect(Object.fromEntries(told)).toEqual({
      ca: "SERVING",
      "ca enrolment": "SERVING",
      "ledger-1": "SERVING",
      kss: "SERVING",
      dss: "SERVING",
      dssm: "SERVING",
    });
  });

  test("reflection lists the services of every server", async () => {
    const file = join(ROOT, "node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto");
    const told = await Promise.all(
      endpoints().map(async ([name, endpoint]) => {
        const reflection = client(file, "grpc.reflection.v1.ServerReflection", endpoint);
        const stream = Reflect.get(reflection, "serverReflectionInfo").call(reflection);
        const services = await new Promise<{ name: string }[]>((resolve, reject) => {
          stream.on("data", (answer: { listServicesResponse: { service: { name: string }[] } }) =>
            resolve(answer.listServicesResponse.service),
          );
          stream.on("error", reject);
          stream.write({ listServices: "" });
        });
        stream.end();
        reflection.close();
        return [name, services.map((service) => service.name.replace("x1410.v1.", ""))] as const;
      }),
    );
    for (const [name, services] of told) {
      const kind = name.replace(/-1$| enrolment$/, "") as ServerKind;
      const ours = services.filter((service) => !service.startsWith("grpc."));
      // What access lists may name is what is served, no more and no less.
      expect([name, ours.sort()]).toEqual([name, servedServices[kind].map((service) => service.name).sort()]);
      expect(services).toContain("grpc.health.v1.Health");
    }
  });
});

test("a configuration that is not taken over is told on standard error, unasked: a line for each entity, with the file", async () => {
  const told = () =>
    stack.errors
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, string>)
      .map(({ level, event, entity, file }) => ({ level, event, entity, file }));
  const line = (entity: string, file: string) => ({
    level: "error",
    event: "configuration not taken over, the former one holds",
    entity,
    file,
  });
  expect(told()).toEqual([]);
  const access = join(data, "access.yaml");
  writeFileSync(access, "entities: {kss: {methods: {x1410.v1.KeyStorageService/GetKye: []}}}");
  const names = Object.keys(ready.entities);
  await expect.poll(() => told().length).toBe(names.length);
  expect(told()).toEqual(expect.arrayContaining(names.map((name) => line(name, access))));
  const { certificate } = entity("kss");
  writeFileSync(certificate, "no certificate");
  await expect.poll(() => told().at(-1)).toEqual(line("kss", certificate));
});

describe("the exposure APIs answer curl", () => {
  /** As docs/exposure.md writes it. */
  async function curl(name: string, method: string, body: object): Promise<Record<string, unknown>> {
    const tls = ["--cacert", "ca.pem", "--cert", "chain.pem", "--key", "key.pem"];
    const uri = `https://${entity(name).exposureEndpoint}/x1410.v1.${method}`;
    const { stdout, output } = await run("curl", ["-sS", ...tls, "--json", JSON.stringify(body), uri], {
      cwd: dirname(ready.users.provider.certificate),
    });
    if (stdout === "") throw new Error(output);
    return JSON.parse(stdout);
  }

  test("with JSON", async () => {
    const { parameters } = await curl("dssm", "SystemManagementService/GetNetworkParameters", {});
    expect(parameters).toMatchObject({
      networkId: "local",
      entities: expect.arrayContaining([expect.objectContaining({ identity: "urn:x1410:entity:kss:local" })]),
    });
  });

  const unknown = "0123456789abcdef0123456789abcdef";
  test.each([
    ["dssm", "DataSharingPolicyService/ListPolicies", {}, "unauthenticated", ErrorReason.SESSION_REQUIRED],
    ["kss", "KeyStorageService/GetKeyStatus", { keyId: unknown }, "not_found", ErrorReason.KEY_NOT_FOUND],
    ["dss", "DataStorageService/GetPackageStatus", { packageId: unknown }, "not_found", ErrorReason.PACKAGE_NOT_FOUND],
    ["kss", "KeyStorageService/GetKeyStatus", { keyId: "../x" }, "invalid_argument", ErrorReason.REQUEST_INVALID],
  ])("with code and reason of an error: %s %s %j", async (name, method, body, code, reason) => {
    const answer = await curl(name, method, body);
    const [detail] = answer["details"] as { type: string; debug: never }[];
    expect(answer["code"]).toBe(code);
    expect(detail?.type).toBe("x1410.v1.ErrorDetail");
    expect(fromJson(ErrorDetailSchema, detail?.debug ?? {}).reason).toBe(reason);
  });
});

describe("refused in one line", () => {
  const refused = (...args: string[]) => x1410InProcess(folder, ...args);
  const line = (text: string) => new RegExp(`^x1410: [^\\n]*${text}[^\\n]*\\n$`);

  test("a data directory in use", async () => {
    const { code, output } = await refused("up", "--base-port", "0", "--data", data);
    expect(code).toBe(1);
    expect(output).toMatch(line(`is in use by process ${stack.pid}; stop it, or name another with --data`));
  });

  test("a busy port, and nothing stays locked", async () => {
    const port = Number(entity("dssm").endpoint.split(":")[1]);
    const other = join(folder, "busy");
    for (let round = 0; round < 2; round++) {
      const { code, output } = await x1410("up", "--base-port", `${port}`, "--data", other);
      expect(code).toBe(1);
      expect(output).toMatch(
        // That of the management, or a neighbour that this stack happens to have as well.
        line("127.0.0.1:\\d+ is in use by another process: choose another port with --base-port"),
      );
    }
  });

  test("a data directory that is a file, or somebody else's", async () => {
    writeFileSync(join(folder, "file"), "");
    expect((await refused("up", "--data", "file")).output).toMatch(line("is a file, not a directory; name another"));
    expect((await refused("up", "--data", "file/below")).output).toMatch(
      line("(ENOTDIR|EEXIST).*name another with --data"),
    );
    const { code, output } = await refused("up", "--data", ".");
    expect(code).toBe(1);
    expect(output).toMatch(
      line("is no data directory \\(it holds [^ ]+ but no format.json\\); name an empty or a new one"),
    );
  });

  test("options that are none", async () => {
    const wrong = [["--nope"], ["--base-port", "70000"], ["--crl-refresh", "301"], ["--introspection", "some"]];
    for (const { code, output } of await Promise.all(wrong.map((args) => refused("up", ...args)))) {
      expect([code, output]).toEqual([1, expect.stringMatching(/^x1410: [^\n]+\n$/)]);
    }
  });

  test("a target that cannot be used, with exit code 3", async () => {
    const here = dirname(ready.targetFile);
    const text = readFileSync(ready.targetFile, "utf8");
    writeFileSync(join(here, "garbled.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const targets: [string, string][] = [
      [text.replace("user-provider/chain", "user-consumer/chain"), "credentials.provider.privateKey is not that of"],
      [text.replace(/anchors: .*/, "anchors: garbled.pem"), "trust.anchors does not parse"],
      ["entities: [", "is not YAML"],
    ];
    const ended = targets.map(([text], index) => {
      const path = join(here, `target-${index}.yaml`);
      writeFileSync(path, text);
      return refused("conformance", "run", "--target", path);
    });
    for (const [index, { code, output }] of (await Promise.all(ended)).entries()) {
      expect(code).toBe(3);
      expect(output).toMatch(line(targets[index]?.[1] ?? ""));
    }
  });

  test("a missing target, with exit code 3; a stack trace comes only where asked for", async () => {
    const [plain, traced, option] = await Promise.all([
      refused("conformance", "run", "--target", "none"),
      refused("--debug", "conformance", "run", "--target", "none"),
      refused("conformance", "run", "--nope"),
    ]);
    expect([plain.code, traced.code, option.code]).toEqual([3, 3, 3]);
    expect(plain.output).toMatch(line("cannot read the target file none \\(ENOENT\\)"));
    expect(traced.output).toMatch(/\n +at .*\n/);
  });
});

test("it starts again on the same data after kill -9, and Ctrl-C ends it", async () => {
  const other = join(folder, "other");
  const first = await StackProcess.start(other);
  expect(await first.kill()).toMatchObject({ signal: "SIGKILL" });
  const again = await StackProcess.start(other);
  expect(again.ready.entities["dssm"]?.identity).toBe("urn:x1410:entity:dssm:local");
  expect(await again.stop("SIGINT")).toEqual({ code: 0, signal: null, errors: "" });
});
