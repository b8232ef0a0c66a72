// What an entity takes over from the certification authority while it runs.
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { fromPem } from "../../certs/der.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { refusal } from "../communications/refusal.ts";
import { startServer } from "../communications/server.ts";
import { implement } from "../communications/service.ts";
import { EntityContext } from "./entity-context.ts";

let fixture: PkiFixture;
const open: { close(): unknown }[] = [];
beforeAll(() => {
  fixture = pkiFixture();
});
afterEach(async () => {
  vi.useRealTimers();
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

/** An entity, and its certification authority that answers `lists`. */
async function started(lists: () => Uint8Array[], log: Log = silentLog) {
  const authority = fixture.issue("ca", "one");
  const server = await startServer({
    name: "ca",
    credentials: authority.credentials,
    registrations: [
      implement(CertificationAuthorityService, { getRevocationLists: () => ({ revocationLists: lists() }) }),
    ],
  });
  open.push({ close: () => server.close(0) });
  const entity = create(EntitySchema, {
    identity: authority.identity,
    endpoint: server.address,
    kind: EntityKind.CA,
  });
  const material = fixture.issue("kss", "one");
  const { identity, privateKeyPem, chainPem, caPem } = material;
  const context = new EntityContext({
    identity,
    directory: fixture.directory,
    material: {
      privateKeyPem,
      certificateChainPem: chainPem,
      trustAnchorsPem: caPem,
      revocationListPems: fixture.pki.crlPems,
    },
    network: {
      networkId: "local",
      has: (name) => name === entity.identity,
      entity: (name) => (name === entity.identity ? entity : undefined),
      parameters: () => create(NetworkParametersSchema, { entities: [entity] }),
    },
    log,
    now: () => new Date(),
  });
  open.push(context);
  return { authority, server, context, material };
}

test("revocation lists that do not parse are told of as not taken over, and the former ones hold; good ones are taken", async () => {
  let revocationLists: Uint8Array[] = [new Uint8Array(20)];
  const told: unknown[] = [];
  const log: Log = { ...silentLog, error: (event, fields) => told.push([event, fields?.["file"]]) };
  const { authority, context } = await started(() => revocationLists, log);
  const former = context.credentials.revocationLists;
  await context.refreshRevocationLists();
  expect(told).toEqual([
    ["configuration not taken over, the former one holds", `revocation lists of ${authority.identity}`],
  ]);
  expect(context.credentials.revocationLists).toBe(former);

  fixture.pki.intermediate.revoke(fixture.issue("user", "alice").serialNumber);
  revocationLists = fromPem("X509 CRL", fixture.pki.crlPem);
  await context.refreshRevocationLists();
  expect(told.length).toBe(1);
  expect(context.credentials.revocationLists).not.toEqual(former);
});

test("an entity that was revoked signs nothing until the authority answers it again; a list that is out of date is no revocation", async () => {
  const warned: unknown[] = [];
  const log: Log = { ...silentLog, warn: (_event, fields) => warned.push(fields?.["error"]) };
  const current = fixture.pki.crlPems;
  const lists = () => current.flatMap((pem) => fromPem("X509 CRL", pem));
  const { authority, server, context, material } = await started(lists, log);
  const sign = () => context.signer.sign("test", new Uint8Array(1));
  await context.refreshRevocationLists();
  expect(warned).toEqual([]);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 8 * 24 * 60 * 60 * 1000 });
  await context.refreshRevocationLists();
  expect(warned).toEqual([expect.stringMatching(/CERTIFICATE_REVOKED.*out of date/)]);
  sign();
  vi.useRealTimers();

  fixture.pki.intermediate.revoke(material.serialNumber);
  server.reload({ ...authority.credentials, revocationLists: fixture.pki.crlPems });
  await context.refreshRevocationLists();
  expect(warned.at(-1)).toMatch(/CERTIFICATE_REVOKED/);
  expect(sign).toThrow(refusal(ErrorReason.CERTIFICATE_REVOKED, context.identity));
  server.reload({ ...authority.credentials, revocationLists: current });
  await context.refreshRevocationLists();
  expect(warned).toHaveLength(2);
  sign();
});
