// Connections of one entity to the others, when what they are judged by changes.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { EchoService } from "./echo.fixture.ts";
import { Peers } from "./peers.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { reasonOf } from "./refusal.ts";
import { startServer } from "./server.ts";
import { implement } from "./service.ts";

let fixture: PkiFixture;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  fixture = pkiFixture();
});
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});
afterAll(() => fixture.remove());

/** Two key storage servers, and a management that is connected to both. */
async function deployment() {
  const endpoints = new Map<string, string>();
  const servers = [];
  for (const name of ["one", "two"]) {
    const { identity, credentials, serialNumber } = fixture.issue("kss", name);
    const registrations = [implement(EchoService, { say: ({ text }) => ({ text }) })];
    const server = await startServer({ name, credentials, registrations });
    open.push({ close: () => server.close(0) });
    endpoints.set(identity, server.address);
    servers.push({ identity, serialNumber });
  }
  const { credentials } = fixture.issue("dssm", "one");
  const directory = {
    entity(identity: string) {
      const endpoint = endpoints.get(identity);
      return endpoint === undefined ? undefined : create(EntitySchema, { identity, endpoint });
    },
  };
  const peers = new Peers(directory, credentials);
  open.push(peers);
  const [one, two] = servers.map(({ identity }) => peers.client(EchoService, identity));
  if (one === undefined || two === undefined) throw new Error("unreachable");
  await Promise.all([one.say({}), two.say({})]);
  return { peers, credentials, endpoints, servers, one, two };
}

test("an entity whose certificate new lists revoke is called no more, though a connection is open; others are", async () => {
  const { peers, credentials, servers, one, two } = await deployment();
  fixture.pki.intermediate.revoke(servers[0]?.serialNumber ?? "");
  // Nobody has looked yet.
  await one.say({});
  peers.reload({ ...credentials, revocationLists: fixture.pki.crlPems });
  const cause = await one.say({}).catch(ConnectError.from);
  expect(cause).toMatchObject({ code: Code.Unavailable });
  expect((await two.say({ text: "still" })).text).toBe("still");
});

test("a call that waits for its connection while new lists come goes out by the next; none goes out after the end", async () => {
  const { peers, credentials, two } = await deployment();
  peers.reload(credentials);
  const waiting = two.say({ text: "waiting" });
  peers.reload(credentials);
  expect((await waiting).text).toBe("waiting");
  peers.reload(credentials);
  const late = two.say({}).catch(ConnectError.from);
  peers.close();
  expect(await late).toMatchObject({ code: Code.Unavailable });
});

test("an entity that leaves the registry is called no more", async () => {
  const { endpoints, servers, one, two } = await deployment();
  endpoints.delete(servers[0]?.identity ?? "");
  const cause = await one.say({}).catch(ConnectError.from);
  expect([(cause as ConnectError).code, reasonOf(cause)]).toEqual([Code.Unavailable, ErrorReason.PEER_UNAVAILABLE]);
  await two.say({});
});
