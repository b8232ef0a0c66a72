// Stages without an implementation: certificates are real, and at the endpoints is whatever a test puts there, by default nothing.
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { HarnessAuthority } from "./harness/harness-authority.ts";
import { Stage } from "./stage.ts";
import { defaultIxit, type EntityRole, entityRoles, type TargetSettings } from "./target.ts";

/** Nobody listens there. */
export const NOWHERE = "127.0.0.1:1";

let directory: string;
export let authority: HarnessAuthority;

/** Makes the certificates once for the tests of a file. */
export function authorityForTests(): void {
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "x1410-stage-"));
    authority = new HarnessAuthority(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
}

export function stageAt(endpoint: string, settings: Partial<TargetSettings> = {}): Stage {
  const entity = (role: EntityRole) => [role, { endpoint, identity: `urn:x1410:entity:${role}:nobody` }] as const;
  return new Stage(
    {
      name: "a test",
      entities: Object.fromEntries(entityRoles.map(entity)),
      trustAnchorsPem: authority.trustAnchorPem,
      revocationListsPem: authority.revocationListPems.join(""),
      credentials: { provider: authority.party("provider"), consumer: authority.party("consumer") },
      harness: undefined,
      ixit: defaultIxit,
      ...settings,
    },
    undefined,
    { client: "grpc", seed: "a seed", recordBytes: 10_000 },
  );
}

export interface BlackHole {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Accepts every connection and never says a word. */
export async function blackHole(atPort = 0): Promise<BlackHole> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(atPort, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    endpoint: `127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Forwards the first connections and closes each further one at once, as a load balancer with nothing behind it any more. */
export async function cuttingProxy(to: string, first: number): Promise<BlackHole> {
  const at = to.lastIndexOf(":");
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    if (++count > first) return void socket.destroy();
    const further = connect(Number(to.slice(at + 1)), to.slice(0, at));
    for (const [one, other] of [
      [socket, further],
      [further, socket],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    endpoint: `127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
