// What an entity takes over from the certification authority while it runs.
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { fromPem } from "../../certs/der.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { EntityKind, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { silentLog } from "../communications/log.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { startServer } from "../communications/server.ts";
import { implement } from "../communications/service.ts";
import { EntityContext } from "./entity-context.ts";

let fixture: PkiFixture;
const open: { close(): unknown }[] = [];
beforeAll(() => {
  fixture = pkiFixture();
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

test("revocation lists that do not parse are told of as not taken over, and the former ones hold; good ones are taken", async () => {
  let revocationLists: Uint8Array[] = [new Uint8Array(20)];
  const authority = fixture.issue("ca", "one");
  const server = await startServer({
    name: "ca",
    credentials: authority.credentials,
    registrations: [implement(CertificationAuthorityService, { getRevocationLists: () => ({ revocationLists }) })],
  });
  open.push({ close: () => server.close(0) });
  const entity = create(EntitySchema, {
    identity: authority.identity,
    endpoint: server.address,
    kind: EntityKind.CA,
  });
  const { identity, privateKeyPem, chainPem, caPem } = fixture.issue("kss", "one");
  const told: unknown[] = [];
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
    log: { ...silentLog, error: (event, fields) => told.push([event, fields?.["file"]]) },
    now: () => new Date(),
  });
  open.push(context);
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
