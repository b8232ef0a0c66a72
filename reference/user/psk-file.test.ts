// Provider and consumer by pre-shared key (AAC1), on the command line: everything that the port for keys offers goes through it.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { silentLog } from "../communications/log.ts";
import { consumerCommand } from "../data-consumer/cli.ts";
import { providerCommand } from "../data-provider/cli.ts";
import { launchHere } from "../stack/one-process.ts";
import { type RunningStack, startStack, type UserName } from "../stack/stack.ts";
import { readPskFile, writePskFile } from "./psk-file.ts";

let folder: string;
let stack: RunningStack;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "x1410-psk-file-"));
  const options = { host: "127.0.0.1", basePort: 0, ledgerNodes: 1, revocationRefreshMs: 60_000, log: silentLog };
  const data = { dataDirectory: join(folder, "data"), introspection: "off", preSharedKeys: true } as const;
  stack = await startStack({ ...options, ...data }, launchHere);
  for (const name of ["provider", "consumer"] as const) withoutManagement(name);
}, 120_000);
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

const profileOf = (name: UserName) => join(dirname(stack.users[name].profile), `${name}-by-key.json`);
const keysOf = (name: UserName) => join(dirname(stack.users[name].profile), `${name}.psk.json`);

/** A profile that leads nowhere without the key: nothing can go to the management by certificate. */
function withoutManagement(name: UserName): void {
  const profile = JSON.parse(readFileSync(stack.users[name].profile, "utf8"));
  profile.management.endpoint = "127.0.0.1:1";
  writeFileSync(profileOf(name), JSON.stringify(profile));
}

/** What it printed. */
async function x1410(name: UserName, args: string[], keys = keysOf(name)): Promise<string> {
  let out = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text, ...rest) => {
    out += text;
    for (const done of rest) if (typeof done === "function") done();
    return true;
  });
  try {
    const command = name === "provider" ? providerCommand() : consumerCommand();
    const common = ["--profile", profileOf(name), ...(keys === "" ? [] : ["--psk-file", keys])];
    await command.parseAsync([...args, ...common], { from: "user" });
  } finally {
    write.mockRestore();
  }
  return out;
}

test("publishes, finds and accesses through the ports for keys; the token is redeemed by certificate", async () => {
  const file = join(folder, "records.txt");
  writeFileSync(file, "shared by key");
  const [, address = ""] = /^Published as (\S+)$/m.exec(await x1410("provider", ["publish", file, "--raw"])) ?? [];
  expect(await x1410("consumer", ["search"])).toContain(address);
  expect(await x1410("consumer", ["access", address, "--present"])).toBe("shared by key");
});

test("without the keys, or with another's, nothing is reached", async () => {
  await expect(x1410("consumer", ["search"], "")).rejects.toThrow("cannot reach the management at 127.0.0.1:1");
  await expect(x1410("consumer", ["search"], keysOf("provider"))).rejects.toThrow(
    `refused the key in ${keysOf("provider")}`,
  );
});

test("a file that others may read, or that names no key, is refused without a word of what is in it", async () => {
  const servers = await readPskFile(keysOf("provider"));
  expect(servers.map(({ server }) => server.split(":").at(-2))).toEqual(["kss", "dss", "dssm"]);
  const file = join(folder, "keys.json");
  writePskFile(file, servers);
  chmodSync(file, 0o644);
  await expect(readPskFile(file)).rejects.toThrow("is open to others (mode 644); run chmod 600 on it");
  chmodSync(file, 0o600);
  const secret = Buffer.from(servers[0]?.key ?? []).toString("base64");
  const refused = async (content: string): Promise<string> => {
    writeFileSync(file, content);
    const error = await readPskFile(file).catch((cause: Error) => cause);
    if (!(error instanceof Error)) return expect.unreachable("it should be refused");
    expect(error.message).not.toContain(secret);
    return error.message;
  };
  expect(await refused(`[{"key": "${secret}"`)).toMatch(/is not JSON$/);
  expect(await refused("[]")).toMatch(/lists no server$/);
  expect(await refused(`[{"server": "urn:x1410:entity:kss:local", "key": "${secret}"}]`)).toMatch(
    /entry 0 is not \{"server"/,
  );
  const short = [{ server: "urn:x1410:entity:kss:local", endpoint: "127.0.0.1:1", key: "c2hvcnQ=" }];
  expect(await refused(JSON.stringify(short))).toMatch(/entry 0: /);
  await expect(readPskFile(join(folder, "nothing.json"))).rejects.toThrow("is not there");
});
