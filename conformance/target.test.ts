import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultIxit, readTarget, readTargetSettings, TargetError } from "./target.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-target-"));
  await writeFile(join(folder, "cert.pem"), "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
  await writeFile(join(folder, "key.pem"), "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
});
afterEach(() => rm(folder, { recursive: true }));

const good = `
name: a stack
entities:
  dssm: { endpoint: "localhost:7001", identity: "urn:x1410:entity:dssm:a" }
  kss: { endpoint: "localhost:7002", identity: "urn:x1410:entity:kss:a" }
  dss: { endpoint: "localhost:7003", identity: "urn:x1410:entity:dss:a" }
trust: { anchors: cert.pem }
credentials:
  provider: { certificate: cert.pem, privateKey: key.pem }
  consumer: { certificate: cert.pem, privateKey: key.pem }
`;

async function read(text: string) {
  const path = join(folder, "target.yaml");
  await writeFile(path, text);
  return readTarget(path);
}

test("a target file is read, its paths relative to it", async () => {
  const target = await read(good);
  expect(target.name).toBe("a stack");
  expect(target.entities.kss).toEqual({ endpoint: "localhost:7002", identity: "urn:x1410:entity:kss:a" });
  expect(target.provider.privateKeyPem).toContain("PRIVATE KEY");
  expect(target.operator).toBeUndefined();
});

test.each([
  ["not YAML", "a: [", /is not YAML \(line 1\)/],
  ["not a mapping", "- a", /the file must be a mapping/],
  ["a missing entity", good.replace(/ {2}kss:.*\n/, ""), /entities\.kss is missing/],
  ["an unknown member", `${good}colour: red\n`, /colour is unknown; known here: name/],
  ["a bad endpoint", good.replace('"localhost:7001"', '"https://x/"'), /entities\.dssm\.endpoint must be host:port/],
  ["another entity's identity", good.replace("entity:kss:a", "entity:dss:a"), /entities\.kss\.identity must be urn/],
  [
    "a missing file",
    good.replace("anchors: cert.pem", "anchors: no.pem"),
    /trust\.anchors: cannot read .*no\.pem \(ENOENT\)/,
  ],
  ["no PEM", good.replace("privateKey: key.pem", "privateKey: cert.pem"), /has no PEM block "PRIVATE KEY"/],
])("%s is refused in one line that says where", async (_, text, message) => {
  const refused = read(text);
  await expect(refused).rejects.toThrow(TargetError);
  await expect(refused).rejects.toThrow(message);
});

test("a missing target file says how to get one", async () => {
  await expect(readTarget(join(folder, "none.yaml"))).rejects.toThrow(/cannot read the target file/);
});

async function settings(text: string) {
  const path = join(folder, "target.yaml");
  await writeFile(path, text);
  return readTargetSettings(path);
}

const part = `
entities:
  kss: { endpoint: "localhost:7002", identity: "urn:x1410:entity:kss:a", exposure: "localhost:7012" }
harness: { directory: kit }
`;

test("a part of an implementation needs no more than the harness's folder", async () => {
  const { entities, harness, credentials, trustAnchorsPem, ixit } = await settings(part);
  expect(Object.keys(entities)).toEqual(["kss"]);
  expect(entities.kss?.exposure).toBe("localhost:7012");
  expect(harness).toEqual({ directory: join(folder, "kit"), host: "127.0.0.1", basePort: 7510 });
  expect([credentials, trustAnchorsPem, ixit]).toEqual([{}, "", defaultIxit]);
});

test("pre-shared keys of the kit's users come in a file, which is read as the reference's own", async () => {
  const key = Buffer.alloc(32, 7).toString("base64");
  await writeFile(join(folder, "keys.json"), JSON.stringify([{ identity: "urn:x1410:user:kit-consumer", key }]), {
    mode: 0o600,
  });
  const psk = (keys: string) =>
    settings(part.replace("exposure:", `psk: { endpoint: "localhost:7042", keys: ${keys} }, exposure:`));
  expect((await psk("keys.json")).entities.kss?.psk).toEqual({
    endpoint: "localhost:7042",
    keys: [{ identity: "urn:x1410:user:kit-consumer", key: Buffer.alloc(32, 7) }],
  });
  await expect(psk("none.json")).rejects.toThrow(/none\.json is not there/);
});

test("an operator's certificates may take the place of the kit's own, for the peers as well", async () => {
  const given = `  dssm: { certificate: cert.pem, privateKey: key.pem }\nharness: { basePort: 9000 }\n`;
  const { harness, credentials } = await settings(`${good.replace(/ {2}dssm:.*\n/, "")}${given}`);
  expect(harness).toEqual({ directory: undefined, host: "127.0.0.1", basePort: 9000 });
  expect(Object.keys(credentials)).toEqual(["provider", "consumer", "dssm"]);
});

test("the timers of the IXIT are read", async () => {
  const { ixit } = await settings(`${part}ixit: { crlRefreshSeconds: 5, callTimeoutSeconds: 3 }\n`);
  expect(ixit).toEqual({ crlRefreshSeconds: 5, callTimeoutSeconds: 3, startupSeconds: defaultIxit.startupSeconds });
});

test.each([
  ["nothing under test", "entities: {}\nharness: { directory: kit }", /entities names none of dssm, kss, dss/],
  ["neither certificates nor a harness", part.replace(/harness.*/, ""), /credentials is missing/],
  ["a party that nobody plays", `${part}credentials: { auditor: {} }`, /credentials\.auditor is unknown/],
  ["a port that is none", part.replace("directory: kit", "basePort: 70000"), /harness\.basePort must be a number/],
  ["a timer that is none", `${part}ixit: { startupSeconds: soon }`, /ixit\.startupSeconds must be a number/],
])("%s is refused in one line that says where", async (_, text, message) => {
  const refused = settings(text);
  await expect(refused).rejects.toThrow(TargetError);
  await expect(refused).rejects.toThrow(message);
});
