// Registrations on grpc-js, over the sockets that a TLS listener hands on.
import type { TLSSocket } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ConnectionTable } from "./connection-table.ts";
import { GrpcCall, type GrpcHosting } from "./grpc-call.ts";
import type { Guard } from "./guard.ts";
import { hostedMethods } from "./hosted-method.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import type { Codecs } from "./message-codec.ts";
import { RunningCalls } from "./running-calls.ts";
import type { Registration } from "./service.ts";

export interface GrpcHostOptions {
  readonly registrations: readonly Registration[];
  readonly guards: readonly Guard[];
  readonly codecs: Codecs;
  readonly connections: () => ConnectionTable;
  readonly limits: Limits;
  readonly log: Log;
}

export interface GrpcHost {
  accept(socket: TLSSocket): void;
  /** Ends the calls under way that would be refused, were they to come now. */
  judgeCalls(): void;
  /** Lets unary calls finish, ends streams with UNAVAILABLE, and after `graceMs` cuts what is left. */
  close(graceMs: number): Promise<void>;
}

const flushMs = 500;
const asIs = (bytes: Buffer): Buffer => bytes;
const handlerTypes = {
  unary: "unary",
  server_streaming: "serverStream",
  client_streaming: "clientStream",
  bidi_streaming: "bidi",
} as const;

export function hostOnGrpc(options: GrpcHostOptions): GrpcHost {
  const { registrations, guards, codecs, connections, limits, log } = options;
  const methods = hostedMethods(registrations, guards, codecs);
  const hosting: GrpcHosting = {
    get connections() {
      return connections();
    },
    limits,
    log,
    calls: new RunningCalls(guards, connections),
  };
  const server = new Server({
    "grpc.max_receive_message_length": limits.maxMessageBytes,
    "grpc.max_send_message_length": limits.maxMessageBytes,
    "grpc.max_concurrent_streams": limits.maxConcurrentCalls,
    "grpc.max_connection_idle_ms": limits.idleConnectionMs,
    "grpc.keepalive_time_ms": limits.keepaliveMs,
    "grpc.keepalive_timeout_ms": limits.keepaliveTimeoutMs,
    "grpc.enable_channelz": 0,
    interceptors: [
      ({ path }, call) => {
        const hosted = methods.get(path);
        if (hosted === undefined) throw new Error(`${path} was registered elsewhere`);
        return new GrpcCall(call, hosted, hosting);
      },
    ],
  });
  for (const { path, method } of methods.values()) {
    // GrpcCall answers; grpc-js only has to know path and kind, and passes the bytes through.
    server.register(path, answeredByInterceptor, asIs, asIs, handlerTypes[method.methodKind]);
  }
  const sweep = setInterval(() => {
    const limit = Date.now() - limits.requestTimeoutMs;
    for (const call of hosting.calls) call.endIfAwaitedSince(limit);
  }, limits.requestTimeoutMs / 4);
  sweep.unref();
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    accept: (socket) => injector.injectConnection(socket),
    judgeCalls: () => hosting.calls.judgeAll(),
    async close(graceMs) {
      const table = connections();
      clearInterval(sweep);
      hosting.calls.unsubscribe();
      // Sends GOAWAY on every connection. When all have ended is seen on the connections: under Node 24 the callback comes at once.
      server.tryShutdown(() => undefined);
      const leaving = new ConnectError("the server is shutting down", Code.Unavailable);
      for (const call of hosting.calls) if (call.isStream) call.refuse(leaving);
      if (await table.emptyWithin(graceMs)) return;
      for (const call of hosting.calls) call.refuse(leaving);
      // The refusals still have to reach their callers: a grpc-js client does not notice a cut after a GOAWAY.
      if (await table.emptyWithin(flushMs)) return;
      server.forceShutdown();
      table.cutAll();
      await table.emptyWithin(flushMs);
    },
  };
}

function answeredByInterceptor(): never {
  throw new Error("unreachable: GrpcCall answers");
}
