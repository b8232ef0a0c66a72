// A server of a functional entity: TLS listener, gRPC, guards, health and reflection, started and stopped as one.
import { AccessControl } from "./access-control.ts";
import { bulkCodecs } from "./bulk-codec.ts";
import { hostOnGrpc } from "./grpc-host.ts";
import type { Guard } from "./guard.ts";
import { health } from "./health.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { type Log, silentLog } from "./log.ts";
import type { Codecs } from "./message-codec.ts";
import { reflection } from "./reflection.ts";
import { requestValidation } from "./request-validation.ts";
import type { Registration } from "./service.ts";
import type { TlsCredentials } from "./tls-credentials.ts";
import { type Clients, TlsListener } from "./tls-listener.ts";

export interface ServerOptions {
  /** For the log, e.g. "kss". */
  readonly name: string;
  readonly credentials: TlsCredentials;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  readonly registrations: readonly Registration[];
  /** Default: callers as the interface states them, no lists. */
  readonly accessControl?: AccessControl;
  /** Further guards, run after access control and before validation. */
  readonly guards?: readonly Guard[];
  /** What stands at the door instead of the guards as they are, by the server's name. */
  readonly alterGuards?: (guards: readonly Guard[], server: string) => readonly Guard[];
  /** "anonymous" for an enrolment port, keys for a port of pre-shared keys; default "certificate". */
  readonly clients?: Clients;
  /** Standard health and reflection services; default both. */
  readonly health?: boolean;
  readonly reflection?: boolean;
  readonly codecs?: Codecs;
  readonly limits?: Partial<Limits>;
  readonly log?: Log;
  /** Told of each connection whose handshake is done, before any call. */
  readonly onConnection?: () => void;
}

export interface RunningServer {
  /** host:port, for a client on this machine where the server listens on all its addresses. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  /** New credentials and revocation lists, without a restart. Throws before anything has changed where they do not parse. */
  reload(credentials: TlsCredentials): void;
  /** What the health service says of this server. */
  setServing(serving: boolean): void;
  /** Finishes the calls under way, for at most `graceMs` (default 5000), then cuts. Idempotent. */
  close(graceMs?: number): Promise<void>;
}

/** @throws ListenError (busy port, no such address), PkiError or an OpenSSL error (credentials that do not parse) */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { name, credentials, host = "127.0.0.1", port = 0, log = silentLog } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const services = options.registrations.map(({ service }) => service);
  const healthService = health(services);
  const registrations: readonly Registration[] = [
    ...options.registrations,
    ...(options.health === false ? [] : [healthService.registration]),
    ...(options.reflection === false ? [] : reflection([...services, healthService.registration.service])),
  ];
  const grpc = hostOnGrpc({
    registrations,
    guards: standardGuards(options),
    codecs: options.codecs ?? bulkCodecs,
    connections: () => listener.connections,
    limits,
    log,
  });
  const listener = await TlsListener.open(host, port, {
    credentials,
    clients: options.clients ?? "certificate",
    protocols: ["h2"],
    limits,
    log,
    onConnection(socket) {
      options.onConnection?.();
      grpc.accept(socket);
    },
    onStanding: () => grpc.judgeCalls(),
  });
  const address = reachableAddress(listener);
  log.info("listening", { server: name, address });
  let closed: Promise<void> | undefined;
  return {
    address,
    host: listener.host,
    port: listener.port,
    reload: (next) => listener.reload(next),
    setServing: healthService.setServing,
    close(graceMs = 5000) {
      closed ??= (async () => {
        healthService.setServing(false);
        listener.stop();
        await grpc.close(graceMs);
        log.info("closed", { server: name });
      })();
      return closed;
    },
  };
}

/** Access control first, since it reads metadata only; rules of messages last. */
export function standardGuards(
  options: Pick<ServerOptions, "registrations" | "accessControl" | "guards" | "alterGuards"> &
    Partial<Pick<ServerOptions, "name">>,
): readonly Guard[] {
  const { name = "", registrations, accessControl = new AccessControl(), guards = [], alterGuards } = options;
  const standard = [accessControl, ...guards, requestValidation(registrations)];
  return alterGuards?.(standard, name) ?? standard;
}

export function reachableAddress({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === "0.0.0.0") return `127.0.0.1:${port}`;
  if (host === "::") return `[::1]:${port}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
