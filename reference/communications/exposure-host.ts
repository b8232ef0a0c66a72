// The capabilities exposure APIs of DSSM, KSS and DSS (clauses 6.2.2 to 6.2.4; API1, API2, API3): the same implementations and guards on
// a port of their own, for JSON, the Connect protocol and gRPC-Web, over HTTP/2 and HTTP/1.1.
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Session } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ExposedCall } from "./exposed-call.ts";
import { errorForCaller } from "./fault.ts";
import { admitCall, checkMessage, type Guard } from "./guard.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { type Log, silentLog } from "./log.ts";
import { peerKey } from "./peer.ts";
import { taken, timely } from "./peer-pace.ts";
import { RunningCalls } from "./running-calls.ts";
import { type RunningServer, reachableAddress, type ServerOptions, standardGuards } from "./server.ts";
import { TlsListener } from "./tls-listener.ts";

export type ExposureOptions = Omit<ServerOptions, "clients" | "health" | "reflection" | "codecs">;
export type RunningExposure = Omit<RunningServer, "setServing">;

type NodeHandler = ReturnType<typeof connectNodeAdapter>;
type NodeRequest = Parameters<NodeHandler>[0];

const requestKey = createContextKey<NodeRequest | undefined>(undefined, { description: "HTTP request" });
/** Time for a refusal to reach whoever has stopped sending, before the stream is cut. */
const refusalMs = 1000;

/** @throws ListenError, and errors of credentials that do not parse, as `startServer` */
export async function startExposure(options: ExposureOptions): Promise<RunningExposure> {
  const { name, credentials, host = "127.0.0.1", port = 0, registrations, log = silentLog } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const guards = standardGuards(options);
  const calls = new RunningCalls<ExposedCall>(guards, () => listener.connections);
  const shutdown = new AbortController();
  const handler = connectNodeAdapter({
    routes(router) {
      for (const { service, implementation } of registrations) router.service(service, implementation);
    },
    // Compression costs more than it saves here, and reveals lengths.
    acceptCompression: [],
    readMaxBytes: limits.maxMessageBytes,
    writeMaxBytes: limits.maxMessageBytes,
    shutdownSignal: shutdown.signal,
    contextValues: (request) => createContextValues().set(requestKey, request),
    requestGate({ method, values, requestHeader }) {
      const peer = listener.connections.peerOf(connectionOf(values.get(requestKey)));
      values.set(peerKey, peer);
      return admitCall(guards, { method, peer, requestHeader });
    },
    interceptors: [
      guarded(guards, {
        calls,
        limits,
        log,
        cut: (request) => listener.connections.cut(connectionOf(request)),
      }),
    ],
  });
  const streamed = new Set(
    registrations.flatMap(({ service }) => service.methods.filter(takesStream).map((method) => pathOf(method))),
  );
  const bounded: NodeHandler = (request, response) => {
    if (!streamed.has(request.url ?? "")) boundBody(request, limits.requestTimeoutMs);
    handler(request, response);
  };

  const http = createHttpServer({ headersTimeout: limits.requestTimeoutMs }, bounded);
  // Node starts to watch for slow requests when a server listens; this one never does, since the TLS listener hands it its sockets.
  http.emit("listening");
  const http2 = createHttp2Server({ settings: { maxConcurrentStreams: limits.maxConcurrentCalls } }, bounded);
  const sessions = new Set<ServerHttp2Session>();
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.setTimeout(limits.idleConnectionMs, () => session.close());
  });

  const listener = await TlsListener.open(host, port, {
    credentials,
    clients: "certificate",
    protocols: ["h2", "http/1.1"],
    limits,
    log,
    onConnection: (socket) => void (socket.alpnProtocol === "h2" ? http2 : http).emit("connection", socket),
    onStanding: () => calls.judgeAll(),
  });
  const address = reachableAddress(listener);
  log.info("listening", { server: `${name} exposure`, address });
  let closed: Promise<void> | undefined;
  return {
    address,
    host: listener.host,
    port: listener.port,
    reload: (next) => listener.reload(next),
    close(graceMs = 5000) {
      closed ??= (async () => {
        listener.stop();
        calls.unsubscribe();
        shutdown.abort(new ConnectError("the server is shutting down", Code.Unavailable));
        http.close();
        http.closeIdleConnections();
        for (const session of sessions) session.close();
        if (!(await listener.connections.emptyWithin(graceMs))) {
          listener.connections.cutAll();
          await listener.connections.emptyWithin(graceMs);
        }
        log.info("closed", { server: `${name} exposure` });
      })();
      return closed;
    },
  };
}

interface CallRules {
  readonly calls: RunningCalls<ExposedCall>;
  readonly limits: Limits;
  readonly log: Log;
  cut(request: NodeRequest | undefined): void;
}

/** Message guards, an end to what is no longer admitted, and faults told as by the gRPC host. */
function guarded(guards: readonly Guard[], { calls, limits, log, cut }: CallRules): Interceptor {
  return (next) => async (arriving) => {
    const { method, header: requestHeader, contextValues } = arriving;
    const told = (cause: unknown) => errorForCaller(cause, pathOf(method), log);
    const http = contextValues.get(requestKey);
    /** Whoever goes on sending is cut once the refusal has had time to arrive. */
    const silence = () => {
      setTimeout(() => {
        if (http?.complete === false) http.destroy();
      }, refusalMs).unref();
    };
    const call = new ExposedCall({ method, peer: contextValues.get(peerKey), requestHeader }, silence);
    const over = () => calls.delete(call);
    calls.add(call);
    // Something may have changed between the gate and here, while the request arrived.
    calls.judge(call);
    const signal = AbortSignal.any([arriving.signal, call.signal]);
    try {
      call.signal.throwIfAborted();
      if (!arriving.stream) {
        checkMessage(guards, method, arriving.message);
        return await call.unlessRefused(next({ ...arriving, signal })).finally(over);
      }
      const requests = call.during(timely(arriving.message, limits.requestTimeoutMs, silence));
      const message = each(requests, (item) => checkMessage(guards, method, item));
      const response = await call.unlessRefused(next({ ...arriving, signal, message }));
      // A stream is answered by a stream; by the types alone it need not be.
      if (!response.stream) {
        over();
        return response;
      }
      const answers = each(call.during(response.message), () => undefined, told);
      const leaving = taken(completed(answers, signal), limits.stallTimeoutMs, () => {
        log.warn("stalled peer cut", { method: pathOf(method) });
        cut(http);
      });
      return { ...response, message: before(leaving, over) };
    } catch (cause) {
      over();
      throw told(cause);
    }
  };
}

async function* each<T>(
  messages: AsyncIterable<T>,
  check: (message: T) => void,
  told: (cause: unknown) => unknown = (cause) => cause,
): AsyncIterable<T> {
  try {
    for await (const message of messages) {
      check(message);
      yield message;
    }
  } catch (cause) {
    throw told(cause);
  }
}

/** An implementation that ends because the deadline has passed or the caller has left has not come to its end. */
async function* completed<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  yield* messages;
  if (signal.aborted) throw ConnectError.from(signal.reason, Code.Canceled);
}

/** Calls `over` when the messages have come to their end, whichever. */
async function* before<T>(messages: AsyncIterable<T>, over: () => void): AsyncIterable<T> {
  try {
    yield* messages;
  } finally {
    over();
  }
}

function takesStream({ methodKind }: DescMethod): boolean {
  return methodKind === "client_streaming" || methodKind === "bidi_streaming";
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The id of the connection, see ConnectionTable.enter. */
function connectionOf(request: NodeRequest | undefined): string {
  return request?.socket.remoteAddress ?? "";
}

/** Cuts a request whose body does not arrive in time. */
function boundBody(request: NodeRequest, ms: number): void {
  const timer = setTimeout(() => request.destroy(), ms);
  timer.unref();
  request.once("end", () => clearTimeout(timer));
  request.once("close", () => clearTimeout(timer));
}
