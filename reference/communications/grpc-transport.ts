// A Connect transport over grpc-js, the default client stack: `createClient(Service, grpcTransport({ … }))`.
import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";
import { Channel, Metadata } from "@grpc/grpc-js";
import { bulkCodecs } from "./bulk-codec.ts";
import {
  type ChannelOptions,
  defaultMaxMessageBytes,
  flowControlWindowBytes,
  keepaliveMs,
  keepaliveTimeoutMs,
  serverName,
} from "./channel-options.ts";
import { GrpcClientCall } from "./grpc-client-call.ts";
import { metadataFromHeaders } from "./grpc-metadata.ts";
import type { Codecs } from "./message-codec.ts";
import { TlsChannelCredentials } from "./tls-channel-credentials.ts";

export interface ClosableTransport extends Transport {
  /** Closes the connections; calls under way fail. */
  close(): void;
}

/** Connects at the first call, again after a loss, and keeps the connection: a new one costs as much as twenty calls. */
export function grpcTransport(options: ChannelOptions): ClosableTransport {
  const {
    address,
    credentials,
    serverIdentity,
    maxMessageBytes = defaultMaxMessageBytes,
    codecs = bulkCodecs,
  } = options;
  const tls = new TlsChannelCredentials(credentials, serverIdentity);
  const transport = overChannel(new Channel(address, tls, channelArguments(address, maxMessageBytes)), codecs);
  return {
    ...transport,
    close() {
      transport.close();
      tls.close();
    },
  };
}

/** How every channel of a client is set, whatever authenticates it. */
export function channelArguments(address: string, maxMessageBytes: number) {
  return {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc-node.flow_control_window": flowControlWindowBytes,
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    "grpc.ssl_target_name_override": serverName(address),
    "grpc.default_authority": address,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5000,
    // Repeating a call is for the caller, who knows what a lost answer means.
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_channelz": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.use_local_subchannel_pool": 1,
  };
}

export function overChannel(channel: Channel, codecs: Codecs): ClosableTransport {
  const open = (
    method: DescMethod,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: ConstructorParameters<typeof Headers>[0],
  ): GrpcClientCall => {
    const metadata = metadataOf(header);
    try {
      const call = new GrpcClientCall({ channel, method, codecs, timeoutMs, signal });
      call.start(metadata);
      return call;
    } catch (cause) {
      throw new ConnectError("the channel is closed", Code.Unavailable, undefined, undefined, cause);
    }
  };
  return {
    async unary(method, signal, timeoutMs, header, input) {
      const call = open(method, signal, timeoutMs, header);
      call.sendOnly(input);
      const message = await call.only();
      return answer(method, call, { stream: false, message }) as UnaryResponse<
        typeof method.input,
        typeof method.output
      >;
    },
    async stream(method, signal, timeoutMs, header, input) {
      const call = open(method, signal, timeoutMs, header);
      void call.sendAll(input as AsyncIterable<MessageInitShape<DescMessage>>);
      await call.begun;
      const message = { [Symbol.asyncIterator]: () => ({ next: () => call.next() }) };
      return answer(method, call, { stream: true, message }) as StreamResponse<
        typeof method.input,
        typeof method.output
      >;
    },
    close: () => channel.close(),
  };
}

/** Header and trailer are built when asked for, which most callers never do. */
function answer(method: DescMethod, call: GrpcClientCall, content: { stream: boolean; message: unknown }) {
  return {
    ...content,
    service: method.parent,
    method,
    get header() {
      return call.header;
    },
    get trailer() {
      return call.trailer;
    },
  };
}

function metadataOf(header: ConstructorParameters<typeof Headers>[0]): Metadata {
  if (header === undefined) return new Metadata();
  try {
    return metadataFromHeaders(new Headers(header));
  } catch (cause) {
    throw new ConnectError("the request metadata cannot be sent", Code.InvalidArgument, undefined, undefined, cause);
  }
}
