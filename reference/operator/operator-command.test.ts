// The commands of an operator on a running stack.
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { buildCertificationRequest } from "../../certs/certification-request.ts";
import { fingerprintOf } from "../../certs/identity.ts";
import { generateKeyPair } from "../../certs/key-pair.ts";
import { createPki } from "../../certs/pki.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { silentLog } from "../communications/log.ts";
import { Peers } from "../communications/peers.ts";
import { launchHere } from "../stack/one-process.ts";
import { type RunningStack, startStack } from "../stack/stack.ts";
import { type Profile, readProfile, tlsCredentials } from "../user/profile.ts";
import { User } from "../user/user.ts";
import { operatorCommand } from "./cli.ts";

let folder: string;
let stack: RunningStack;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "x1410-operator-"));
  stack = await startStack(
    {
      dataDirectory: join(folder, "data"),
      host: "127.0.0.1",
      basePort: 0,
      ledgerNodes: 1,
      revocationRefreshMs: 60_000,
      introspection: "off",
      log: silentLog,
    },
    launchHere,
  );
}, 120_000);
afterAll(async () => {
  await stack.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What it printed. */
async function operator(...args: string[]): Promise<string> {
  let out = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += text;
    return true;
  });
  try {
    const command = operatorCommand();
    for (const one of [command, ...command.commands]) one.exitOverride().configureOutput({ writeErr: () => {} });
    await command.parseAsync([...args, "--profile", stack.operator.profile], { from: "user" });
  } finally {
    write.mockRestore();
  }
  return out;
}

const profileOf = (name: string) => join(dirname(stack.operator.profile), `${name}.json`);

async function rightsOf(name: string) {
  const user = await User.connect(await readProfile(profileOf(name)));
  user.close();
  return user.rights;
}

test("a user that was added acts under its own certificate, until its account is deleted", async () => {
  const told = await operator("add-user", "alice", "--access", "--industry", "isic:j61", "--country", "CH");
  expect(told).toContain("urn:x1410:user:alice  may access  isic:j61, CH");
  expect(told).toContain(`npx x1410 consumer search --profile ${profileOf("alice")}`);
  expect(statSync(join(dirname(profileOf("alice")), "alice", "key.pem")).mode & 0o777).toBe(0o600);
  expect(await rightsOf("alice")).toMatchObject({ publish: false, access: true });

  await operator("update-user", "alice", "--publish", "--no-access");
  expect(await rightsOf("alice")).toMatchObject({ publish: true, access: false });
  const listed = await operator("users");
  expect(listed).toContain("urn:x1410:user:alice  may publish  isic:j61, CH");
  expect(listed).toContain("urn:x1410:user:provider  may publish, access");

  await operator("delete-user", "alice");
  await expect(rightsOf("alice")).rejects.toThrow(/ACCOUNT_NOT_FOUND/);

  const former = await readProfile(profileOf("alice"));
  await expect(operator("renew-user", "alice")).rejects.toThrow(/ACCOUNT_NOT_FOUND/);
  expect(await readProfile(profileOf("alice"))).toEqual(former);
  const { serialNumber } = new X509Certificate(former.certificateChainPem);
  const again = await operator("add-user", "alice", "--access");
  expect(again).toMatch(
    new RegExp(
      `The former certificate ${serialNumber.toLowerCase()} is valid until 20\\S+Z, and the account is in force for it too\\.`,
    ),
  );
  expect((await readProfile(profileOf("alice"))).privateKeyPem).not.toBe(former.privateKeyPem);
  expect(await rightsOf("alice")).toMatchObject({ publish: false, access: true });
});

const serialIn = async (name: string) =>
  new X509Certificate((await readProfile(profileOf(name))).certificateChainPem).serialNumber.toLowerCase();

const authority = () => createPki(join(stack.dataDirectory, "pki")).intermediate;

test("a certificate is renewed, with a new key, and one or all are revoked", async () => {
  await operator("add-user", "bob", "--publish");
  const { privateKeyPem, certificateChainPem } = await readProfile(profileOf("bob"));
  const [first, elsewhere] = [await serialIn("bob"), join(folder, "bob.pem")];
  writeFileSync(elsewhere, certificateChainPem);
  expect(await operator("renew-user", "bob")).toMatch(
    new RegExp(
      `^urn:x1410:user:bob has a new certificate\\. The former certificate ${first} is valid until 20\\S+Z\\.`,
    ),
  );
  expect((await readProfile(profileOf("bob"))).privateKeyPem).not.toBe(privateKeyPem);
  expect(await rightsOf("bob")).toMatchObject({ publish: true });

  const second = await serialIn("bob");
  const told = await operator("revoke-user", "bob", "--certificate", elsewhere, "--reason", "superseded");
  expect(told).toContain(`Certificate ${first} of urn:x1410:user:bob is revoked.\nOther certificates of the user`);
  expect(authority().find(second)?.revocation).toBeUndefined();

  const all = await operator("revoke-user", "bob", "--reason", "keyCompromise");
  expect(all).toContain(`Certificate ${second} of urn:x1410:user:bob is revoked.`);
  expect(all).toContain("take it out of pre-shared-keys.json of each server");
  expect([first, second].map((serial) => authority().find(serial)?.revocation?.reason)).toEqual([
    "superseded",
    "keyCompromise",
  ]);
  expect(await operator("renew-user", "bob")).toMatch(new RegExp(`The former certificate ${second} was revoked on 20`));
});

test("revoking a user reaches what a thief had renewed with the stolen key, and the enrolments that are open", async () => {
  await operator("add-user", "dave", "--access");
  const thief = await readProfile(profileOf("dave"));
  const own = await readProfile(stack.operator.profile);
  const entities = stack.entities
    .filter(({ kind }) => kind === "ca")
    .map(({ identity, endpoint }) => ({ identity, endpoint }));
  const authorityOf = (profile: Profile) => {
    const [entity] = entities;
    const peers = new Peers(
      { entity: () => create(EntitySchema, { identity: entity?.identity ?? "", endpoint: entity?.endpoint ?? "" }) },
      tlsCredentials(profile),
    );
    return { peers, client: peers.client(CertificationAuthorityService, entity?.identity ?? "") };
  };
  const [theirs, operators] = [authorityOf(thief), authorityOf(own)];
  const csr = () =>
    new Uint8Array(
      buildCertificationRequest({ subject: { commonName: "dave" }, privateKey: generateKeyPair().privateKey }),
    );
  const { certificate } = await theirs.client.issueCertificate({ csr: csr(), secret: "" });
  const renewed = fingerprintOf(certificate?.certificates[0] ?? new Uint8Array());
  const { secret } = await operators.client.createEnrolment({ identity: "urn:x1410:user:dave" });
  expect(authority().find(renewed)?.revocation).toBeUndefined();

  const told = JSON.parse(await operator("revoke-user", "dave", "--json"));
  expect(told.serialNumbers).toEqual([await serialIn("dave"), authority().find(renewed)?.serialNumber]);
  expect(authority().find(renewed)?.revocation).toBeDefined();
  await expect(theirs.client.issueCertificate({ csr: csr(), secret: "" })).rejects.toThrow(/CERTIFICATE_REVOKED/);
  await expect(operators.client.issueCertificate({ csr: csr(), secret })).rejects.toThrow(/ENROLMENT_INVALID/);
  for (const { peers } of [theirs, operators]) peers.close();
});

test("what cannot be is refused, and changes nothing", async () => {
  await expect(operator("add-user", "carol")).rejects.toThrow(/--publish, --access or both/);
  await expect(operator("add-user", "Carol", "--access")).rejects.toThrow(/1 to 63 of a-z/);
  await expect(operator("add-user", "carol", "--access", "--country", "Schweiz")).rejects.toThrow(/ISO 3166-1/);
  await expect(operator("add-user", "provider", "--access")).rejects.toThrow(/is there already/);
  const own = await readProfile(stack.operator.profile);
  await expect(operator("add-user", "operator", "--access")).rejects.toThrow(
    /is there already, of urn:x1410:entity:operator:/,
  );
  await expect(operator("renew-user", "operator")).rejects.toThrow(/of urn:x1410:entity:operator:/);
  expect(await readProfile(stack.operator.profile)).toEqual(own);
  await expect(operator("update-user", "provider")).rejects.toThrow(/nothing to change/);
  await expect(operator("delete-user", "nobody")).rejects.toThrow(/ACCOUNT_NOT_FOUND/);
  await expect(operator("revoke-user", "nobody")).rejects.toThrow(/CERTIFICATE_NOT_FOUND/);
  const consumer = stack.users.consumer.files.certificate;
  await expect(operator("revoke-user", "provider", "--certificate", consumer)).rejects.toThrow(
    /not of urn:x1410:user:provider/,
  );
  expect(existsSync(profileOf("carol"))).toBe(false);
});
