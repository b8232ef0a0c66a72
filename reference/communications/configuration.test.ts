import { chmodSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AccessPolicy } from "./access-control.ts";
import { AccessFileError, openAccessFile, parseAccessFile } from "./access-file.ts";
import { EchoService } from "./echo.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import type { Log } from "./log.ts";
import { pkiFixture } from "./pki.fixture.ts";
import { createPreSharedKeyFile, openPreSharedKeyFile } from "./pre-shared-key-file.ts";
import { reasonName, reasonOf } from "./refusal.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";

const open: { close(): unknown }[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-configuration-"));
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Lines logged, and a way to wait for the next one. */
class LogBook implements Log {
  readonly lines: string[] = [];
  #waiting: (() => void)[] = [];

  readonly info = (event: string, fields?: Record<string, unknown>) => this.#write("info", event, fields);
  readonly warn = (event: string, fields?: Record<string, unknown>) => this.#write("warn", event, fields);
  readonly error = (event: string, fields?: Record<string, unknown>) => this.#write("error", event, fields);

  async next(after: number): Promise<string> {
    for (;;) {
      const line = this.lines[after];
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #write(level: string, event: string, fields: Record<string, unknown> = {}): void {
    this.lines.push(`${level} ${event} ${JSON.stringify(fields)}`);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

describe("access lists in a file (AAC3)", () => {
  const served = { kss: [EchoService], dss: [] };
  const parse = (text: string): AccessPolicy => parseAccessFile(text, "kss", served);

  test("for all entities and for one", () => {
    const fingerprint = "ab".repeat(32);
    const text = `
      allow: ["urn:x1410:entity:*", "urn:x1410:user:alice"]
      deny: ["sha256:${fingerprint}"]
      entities:
        kss:
          deny: ["urn:x1410:user:bob"]
          methods:
            x1410.test.EchoService/*: ["urn:x1410:user:*"]
            grpc.reflection.v1.ServerReflection/*: []
        dss:
          allow: ["urn:x1410:user:carol"]`;
    expect(parse(text)).toEqual({
      allow: [{ identity: "urn:x1410:entity:*" }, { identity: "urn:x1410:user:alice" }],
      deny: [{ fingerprint }, { identity: "urn:x1410:user:bob" }],
      methods: {
        "x1410.test.EchoService/*": [{ identity: "urn:x1410:user:*" }],
        "grpc.reflection.v1.ServerReflection/*": [],
      },
    });
    expect(parseAccessFile(text, "dss", served)).toMatchObject({ allow: [{ identity: "urn:x1410:user:carol" }] });
    expect(parse("")).toEqual({ deny: [], methods: {} });
    expect(parse("# nothing\n")).toEqual({ deny: [], methods: {} });
  });

  test.each([
    ["deny: [urn:x1410:user:Alice]", "deny[0] is neither"],
    ["deny: [alice]", "deny[0] is neither"],
    ["deny: ['*']", "deny[0] is neither"],
    ["deny: ['sha256:abcd']", "deny[0] is neither"],
    ["deny: urn:x1410:user:alice", "deny is no list"],
    ["denied: []", "denied is unknown"],
    ["methods: {}", "methods is unknown"],
    ["entities: { kms: {} }", "entities: kms is unknown"],
    ["entities: { operator: {} }", "entities: operator is unknown"],
    ["entities: { dss: { deny: [x] } }", "entities.dss.deny[0] is neither"],
    ["entities: { kss: { methods: { Say: [] } } }", "Say is not of the form"],
    ["entities: { kss: { methods: { x1410.test.EchoService/Sya: [] } } }", "EchoService/Sya is no method"],
    ["entities: { dss: { methods: { x1410.test.EchoService/Say: [] } } }", "entities.dss.methods: x1410.test"],
    ["- deny", "the file is no mapping"],
    ["deny: [", "line 1"],
  ])("%s is refused", (text, message) => {
    expect(() => parse(text)).toThrow(AccessFileError);
    expect(() => parse(text)).toThrow(message);
  });

  test("take effect on open connections, and a malformed file keeps the former ones", async () => {
    const fixture = pkiFixture();
    open.push({ close: () => fixture.remove() });
    const path = join(directory, "access.yaml");
    const log = new LogBook();
    const file = openAccessFile({ path, kind: "kss", served, log });
    open.push(file);
    const kss = fixture.issue("kss", "one");
    const alice = fixture.issue("user", "alice");
    const server = await startServer({
      name: "test",
      credentials: kss.credentials,
      registrations: [implement(EchoService, { say: () => ({}) })],
      accessControl: file.accessControl,
    });
    open.push({ close: () => server.close(0) });
    const transport = grpcTransport({
      address: server.address,
      credentials: alice.credentials,
      serverIdentity: kss.identity,
    });
    open.push(transport);
    const client = createClient(EchoService, transport);
    const outcome = () =>
      client.say({}).then(
        () => "OK",
        (cause: unknown) => `${Code[ConnectError.from(cause).code]} ${reasonName(reasonOf(cause))}`,
      );
    const write = async (text: string): Promise<string> => {
      const seen = log.lines.length;
      // Another file in its place, as editors do.
      writeFileSync(join(directory, ".access.yaml.new"), text);
      renameSync(join(directory, ".access.yaml.new"), path);
      return log.next(seen);
    };

    expect(await outcome()).toBe("OK");
    expect(await write(`deny: ["sha256:${alice.fingerprint}"]`)).toContain("access lists replaced");
    expect(await outcome()).toBe("PermissionDenied DENY_LISTED");
    expect(await write("deny: [alice")).toMatch(/^error configuration not taken over, the former one holds .*line 1/);
    expect(await outcome()).toBe("PermissionDenied DENY_LISTED");
    expect(log.lines).toHaveLength(2);

    // Neither does one with the other: credentials renewed, the lists stay.
    server.reload({ ...kss.credentials, revocationLists: [fixture.pki.crlPem] });
    expect(await outcome()).toBe("PermissionDenied DENY_LISTED");

    expect(await write("allow: ['urn:x1410:user:bob']")).toContain("replaced");
    expect(await outcome()).toBe("PermissionDenied NOT_ALLOW_LISTED");
    expect(await write("entities: {kss: {methods: {x1410.test.EchoService/Say: ['urn:x1410:entity:*']}}}")).toContain(
      "replaced",
    );
    expect(await outcome()).toBe("PermissionDenied CALLER_NOT_ALLOWED");

    const seen = log.lines.length;
    rmSync(path);
    expect(await log.next(seen)).toContain("is gone; an empty file lifts the lists");
    expect(await outcome()).toBe("PermissionDenied CALLER_NOT_ALLOWED");
    await write("");
    expect(await outcome()).toBe("OK");
  });

  test("that are malformed at the start stop it", () => {
    const path = join(directory, "access.yaml");
    writeFileSync(path, "deny: alice");
    const start = () => openAccessFile({ path, kind: "kss", served, log: new LogBook() });
    expect(start).toThrow(AccessFileError);
    expect(start).toThrow(`${path}: deny is no list`);
  });
});

describe("pre-shared keys in a file", () => {
  const identities = ["urn:x1410:user:alice", "urn:x1410:user:bob"];

  test("are made once, for the owner alone, and followed", async () => {
    const path = join(directory, "pre-shared-keys.json");
    const log = new LogBook();
    createPreSharedKeyFile(path, identities);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const file = openPreSharedKeyFile(path, log);
    open.push(file);
    const former = file.keys.keyOf("urn:x1410:user:alice");
    expect(former?.byteLength).toBe(32);
    expect(file.keys.keyOf("urn:x1410:user:bob")).not.toEqual(former);
    createPreSharedKeyFile(path, identities);
    expect(openAgain(path).keyOf("urn:x1410:user:alice")).toEqual(former);

    const key = Buffer.alloc(32, 7).toString("base64");
    const gone = Promise.withResolvers<ReadonlySet<string>>();
    file.keys.onWithdrawal(gone.resolve);
    writeFileSync(path, JSON.stringify([{ identity: "urn:x1410:user:alice", key }]));
    expect(await log.next(0)).toContain("pre-shared keys replaced");
    expect(await gone.promise).toEqual(new Set(identities));
    expect(file.keys.keyOf("urn:x1410:user:alice")).toEqual(Buffer.alloc(32, 7));

    writeFileSync(path, `[{"identity": "urn:x1410:user:alice", "key": "${key}"`);
    const line = await log.next(1);
    expect(line).toContain("not JSON");
    expect(line).not.toContain(key);
    expect(file.keys.keyOf("urn:x1410:user:alice")).toEqual(Buffer.alloc(32, 7));
  });

  test.each([
    ["nothing", "[{}]", "entry 0"],
    ["a list of strings", '["key"]', "entry 0"],
    ["no list", "{}", "the whole"],
    ["an entity's key", `[{"identity":"urn:x1410:entity:kss:one","key":"${"A".repeat(44)}"}]`, "no user's identity"],
    ["a short key", '[{"identity":"urn:x1410:user:alice","key":"AAAA"}]', "3 bytes"],
  ])("that hold %s are refused", (_what, text, message) => {
    const path = join(directory, "pre-shared-keys.json");
    writeFileSync(path, text, { mode: 0o600 });
    expect(() => openAgain(path)).toThrow(message);
  });

  test("that others may read are refused", () => {
    const path = join(directory, "pre-shared-keys.json");
    createPreSharedKeyFile(path, identities);
    chmodSync(path, 0o640);
    expect(() => openAgain(path)).toThrow("open to others (mode 640)");
    rmSync(path);
    expect(() => openAgain(path)).toThrow("is not there");
  });

  function openAgain(path: string) {
    const file = openPreSharedKeyFile(path, new LogBook());
    open.push(file);
    return file.keys;
  }
});
