// The second client stack: connect-node, independent of grpc-js down to HTTP/2. Same options as `grpcTransport`.
import { createSecureContext } from "node:tls";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import {
  type ChannelOptions,
  defaultMaxMessageBytes,
  flowControlWindowBytes,
  keepaliveMs,
  keepaliveTimeoutMs,
  serverName,
} from "./channel-options.ts";
import type { ClosableTransport } from "./grpc-transport.ts";
import { readableWhenLate } from "./late-reader.ts";
import { serverIdentityCheck } from "./server-identity.ts";
import { secureContextOptions } from "./tls-credentials.ts";

/** Below this many MB of unread data Node refuses further streams on a connection; its default of 10 breaks bulk streams. */
const maxSessionMemoryMb = 1000;

export interface ConnectChannelOptions extends ChannelOptions {
  /** "grpc" (default) reaches any server of this protocol; the others, and JSON, only an exposure API. */
  readonly protocol?: "grpc" | "grpc-web" | "connect";
  readonly json?: boolean;
}

export function connectTransport(options: ConnectChannelOptions): ClosableTransport {
  const { address, credentials, serverIdentity, maxMessageBytes = defaultMaxMessageBytes, protocol = "grpc" } = options;
  const baseUrl = `https://${address}`;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: keepaliveMs, pingTimeoutMs: keepaliveTimeoutMs },
    {
      secureContext: createSecureContext(secureContextOptions(credentials)),
      servername: serverName(address),
      checkServerIdentity: serverIdentityCheck(serverIdentity),
      maxSessionMemory: maxSessionMemoryMb,
      settings: { initialWindowSize: flowControlWindowBytes },
    },
  );
  const request = sessionManager.request.bind(sessionManager);
  sessionManager.request = async (...call) => readableWhenLate(await request(...call));
  const common = {
    baseUrl,
    sessionManager,
    useBinaryFormat: options.json !== true,
    // Compression halves the speed of streams and reveals lengths; ciphertext does not shrink.
    acceptCompression: [],
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
  };
  const transport =
    protocol === "grpc"
      ? createGrpcTransport(common)
      : protocol === "grpc-web"
        ? createGrpcWebTransport({ ...common, httpVersion: "2" })
        : createConnectTransport({ ...common, httpVersion: "2" });
  const stream: Transport["stream"] = async (method, signal, ...rest) => {
    const answer = await transport.stream(method, signal, ...rest);
    return { ...answer, message: signal === undefined ? answer.message : cancelledWith(signal, answer.message) };
  };
  return { unary: transport.unary, stream, close: () => sessionManager.abort() };
}

/**
 * Connect lets go of the timer of a call's deadline when its messages are asked for once more after the cancellation; a reader who has
 * cancelled asks no more, and the timer would keep the process alive until the deadline.
 */
function cancelledWith<T>(signal: AbortSignal, messages: AsyncIterable<T>): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  const release = () => void iterator.next().catch(() => undefined);
  signal.addEventListener("abort", release, { once: true });
  const next = async () => {
    const result = await iterator.next();
    if (result.done === true) signal.removeEventListener("abort", release);
    return result;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
