// The ports of one entity (clause 7.2.5): gRPC with client certificates, a second one beside it, one for pre-shared keys where they are
// wanted; the same services, guards and access lists behind all of them.
import { join } from "node:path";
import { createPki } from "../../certs/pki.ts";
import { startPublication } from "../certification-authority/publication.ts";
import { openAccessFile } from "../communications/access-file.ts";
import { startExposure } from "../communications/exposure-host.ts";
import { openPreSharedKeyFile } from "../communications/pre-shared-key-file.ts";
import { type RunningServer, startServer } from "../communications/server.ts";
import { createServerAuthentication } from "../communications/server-authentication.ts";
import type { Registration } from "../communications/service.ts";
import type { EntityContext } from "./entity-context.ts";
import { servedServices } from "./served-services.ts";
import type { EntityStartOptions } from "./start-entity.ts";

/** host:port of each, undefined where the entity has none. */
export interface Endpoints {
  readonly endpoint: string;
  /** Of the exposure API, or the enrolment door of the authority. */
  readonly secondEndpoint: string | undefined;
  /** For users with pre-shared keys. */
  readonly pskEndpoint: string | undefined;
  /** Of the authority: revocation lists and OCSP, over HTTP. */
  readonly publicationEndpoint: string | undefined;
}

export interface Doors extends Endpoints {
  /** What the health services of all ports say. */
  setServing(serving: boolean): void;
  close(): Promise<void>;
}

/** Where an entity keeps the pre-shared keys of its users, in its own folder. */
export function preSharedKeyPath(directory: string): string {
  return join(directory, "pre-shared-keys.json");
}

/** @throws ListenError, AccessFileError, PreSharedKeyFileError */
export async function openDoors(
  context: EntityContext,
  registrations: readonly Registration[],
  options: EntityStartOptions,
): Promise<Doors> {
  const { plan, host, log, directory, accessFile, pkiDirectory, alterGuards } = options;
  const closers: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  const { kind } = plan;
  try {
    const access = openAccessFile({ path: accessFile, kind, served: servedServices, log });
    closers.push(() => access.close());
    const common = {
      credentials: context.credentials,
      host,
      registrations,
      accessControl: access.accessControl,
      log,
      ...(alterGuards && { alterGuards }),
    };
    const healthy: Pick<RunningServer, "setServing">[] = [];
    const opened = <S extends { readonly address: string; close(): Promise<void> }>(server: S): S => {
      closers.push(() => server.close());
      if ("setServing" in server) healthy.push(server as S & RunningServer);
      return server;
    };

    const server = opened(await startServer({ ...common, name: plan.name, port: plan.port }));
    context.attach(server);

    const door = { ...common, name: `${plan.name}-2`, port: plan.secondPort ?? 0 };
    const second =
      plan.secondPort === undefined
        ? undefined
        : kind === "ca"
          ? opened(await startServer({ ...door, clients: "anonymous" }))
          : opened(await startExposure(door));
    if (second !== undefined) context.attach(second);

    let psk: { readonly address: string } | undefined;
    if (plan.pskPort !== undefined) {
      const file = openPreSharedKeyFile(preSharedKeyPath(directory), log);
      closers.push(() => file.close());
      const proving = [...registrations, createServerAuthentication(context.signer)];
      const door = { ...common, name: `${plan.name}-psk`, port: plan.pskPort, registrations: proving };
      psk = opened(await startServer({ ...door, clients: file.keys }));
    }

    const { publicationPort } = plan;
    const publication =
      publicationPort === undefined
        ? undefined
        : opened(await startPublication({ pki: createPki(pkiDirectory), host, port: publicationPort, log }));

    return {
      endpoint: server.address,
      secondEndpoint: second?.address,
      pskEndpoint: psk?.address,
      publicationEndpoint: publication?.address,
      setServing(serving) {
        for (const server of healthy) server.setServing(serving);
      },
      close,
    };
  } catch (cause) {
    await close();
    throw cause;
  }
}
