// A key storage server in a process of its own, on TLS, to be killed at any instant. Argument: a file with its `KilledServerOrder`. Prints
// its address when it listens. A line on standard input names the instant at which it kills itself: around the next durable write.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Level } from "level";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { startServer } from "../communications/server.ts";
import { implement } from "../communications/service.ts";
import type { TlsCredentials } from "../communications/tls-credentials.ts";
import { createKeyStorageServer } from "./server.ts";
import { KSS } from "./token.fixture.ts";

export interface KilledServerOrder {
  readonly dataDirectory: string;
  readonly credentials: TlsCredentials;
  /** The one management that is registered, and the keys of its tokens. */
  readonly issuer: string;
  readonly jwks: string;
}

export type Instant = "before the record" | "after the record";

async function serve({ dataDirectory, credentials, issuer, jwks }: KilledServerOrder): Promise<void> {
  const db = new Level<string, string>(`${dataDirectory}/level`);
  await db.open();
  const tokens = bindDirect(implement(TokenService, { listTokenKeys: () => ({ issuer, jwks }) }), {
    peer: directPeer(KSS),
  });
  const kss = await createKeyStorageServer({
    db,
    dataDirectory,
    identity: KSS,
    registry: { has: (identity) => identity === issuer },
    tokenServices: () => tokens,
    now: () => new Date(),
    introspection: "off",
  });
  await kss.start();
  const { registrations } = kss;
  const server = await startServer({ name: "kss", credentials, registrations, health: false, reflection: false });
  createInterface({ input: process.stdin }).on("line", (instant) => {
    const batch = db.batch.bind(db) as (...given: unknown[]) => Promise<void>;
    db.batch = (async (...given: unknown[]) => {
      if (instant === "after the record") await batch(...given);
      process.kill(process.pid, "SIGKILL");
      // The signal may take a moment to arrive; nothing may be answered in it.
      await new Promise(() => {});
    }) as typeof db.batch;
    process.stdout.write("armed\n");
  });
  process.stdout.write(`${server.address}\n`);
}

if (import.meta.main) await serve(JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as KilledServerOrder);
