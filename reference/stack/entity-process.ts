// One entity in its own process: reads what it is from standard input and serves until SIGTERM, or until that
// input ends because the starting process is no more.
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { IdentityFiles } from "../../certs/pki.ts";
import { type Log, logOf } from "../communications/log.ts";
import { NetworkFile } from "./network.ts";
import type { EntityPlan } from "./plan.ts";
import { type KeyRotation, startEntity } from "./start-entity.ts";

export interface EntityStart {
  readonly plan: EntityPlan;
  readonly directory: string;
  readonly files: IdentityFiles;
  readonly networkFile: string;
  readonly pkiDirectory: string;
  readonly accessFile: string;
  readonly host: string;
  readonly revocationRefreshMs: number;
  readonly introspection: "off" | "required";
  readonly rotation?: KeyRotation;
}

export async function serveEntity(log: Log): Promise<void> {
  const orders = createInterface({ input: process.stdin });
  const stop = new Promise<void>((resolve) => {
    // Told so again while it closes, it goes on closing.
    process.on("SIGTERM", () => resolve());
    // The starting process has ended, however that was: nobody is left to stop this one.
    orders.once("close", () => resolve());
    // Ctrl-C and the end of the terminal reach the whole process group; the starting process stops the entities in its order.
    process.on("SIGINT", () => {});
    process.on("SIGHUP", () => {});
  });
  const order = await Promise.race([once(orders, "line").then(([line]) => String(line)), stop]);
  if (order === undefined) throw new Error("no orders on standard input; `x1410 up` gives them");
  const { networkFile, ...start } = JSON.parse(order) as EntityStart;
  const entity = await startEntity({
    ...start,
    network: new NetworkFile(networkFile, logOf(start.plan.name, log)),
    log,
  });
  const { endpoint, secondEndpoint, pskEndpoint, publicationEndpoint } = entity;
  process.stdout.write(`${JSON.stringify({ endpoint, secondEndpoint, pskEndpoint, publicationEndpoint })}\n`);
  await stop;
  orders.close();
  process.stdin.destroy();
  await entity.close();
}
