// A Connect transport over pre-shared keys (clause 7.2.5, AAC1), for servers that open such a port: as `grpcTransport`, but nothing is sent
// on a connection before the server at its other end has proven itself (AAC2).
import type { Socket } from "node:net";
import { connect } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import { CallCredentials, Channel, ChannelCredentials } from "@grpc/grpc-js";
import type { Trust } from "../envelope/verify.ts";
import { bulkCodecs } from "./bulk-codec.ts";
import { type ChannelOptions, defaultMaxMessageBytes } from "./channel-options.ts";
import { type ClosableTransport, channelArguments, overChannel } from "./grpc-transport.ts";
import type { PreSharedKey } from "./pre-shared-keys.ts";
import { pskClientOptions } from "./psk-handshake.ts";
import { authenticateServer } from "./server-authentication.ts";

export interface PskChannelOptions extends Pick<ChannelOptions, "address" | "maxMessageBytes" | "codecs"> {
  /** The user's key for this server. */
  readonly preSharedKey: PreSharedKey;
  /** Whom the server must prove to be. */
  readonly serverIdentity: string;
  /** Judges the certificate of the proof. */
  readonly trust: Trust;
}

const PROOF_TIMEOUT_MS = 10_000;

/** Connects at the first call, and again, with a proof of its own, after a loss. */
export function pskTransport(options: PskChannelOptions): ClosableTransport {
  const { serverIdentity, trust, preSharedKey } = options;
  const expected = { serverIdentity, userIdentity: preSharedKey.identity, trust };
  let current: { readonly connection: OneConnection; readonly proven: Promise<ClosableTransport> } | undefined;
  let closed = false;

  const discard = (connection: OneConnection): void => {
    if (current?.connection === connection) current = undefined;
    connection.transport.close();
  };

  const proven = (): Promise<ClosableTransport> => {
    if (closed) return Promise.reject(new ConnectError("the channel is closed", Code.Unavailable));
    if (current !== undefined && !current.connection.over) return current.proven;
    if (current !== undefined) discard(current.connection);
    const connection = new OneConnection(options);
    const proof = authenticateServer(connection.transport, expected, { timeoutMs: PROOF_TIMEOUT_MS }).then(
      () => connection.transport,
      (cause: unknown) => {
        discard(connection);
        throw cause;
      },
    );
    current = { connection, proven: proof };
    return proof;
  };

  return {
    unary: async (...call) => (await proven()).unary(...call),
    stream: async (...call) => (await proven()).stream(...call),
    close() {
      closed = true;
      current?.connection.transport.close();
    },
  };
}

/** A channel that never connects a second time: a proof is good for the connection over which it came. */
class OneConnection extends ChannelCredentials {
  readonly transport: ClosableTransport;
  readonly #options: PskChannelOptions;
  #used = false;
  #over = false;

  constructor(options: PskChannelOptions) {
    super();
    this.#options = options;
    const { address, maxMessageBytes = defaultMaxMessageBytes, codecs = bulkCodecs } = options;
    this.transport = overChannel(new Channel(address, this, channelArguments(address, maxMessageBytes)), codecs);
  }

  /** True once the connection is lost, or is to be replaced. */
  get over(): boolean {
    return this.#over;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector() {
    return {
      connect: (socket: Socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }

  #connect(socket: Socket): Promise<{ socket: Socket; secure: boolean }> {
    if (this.#used) {
      this.#over = true;
      return Promise.reject(new Error("a new connection needs a proof of its own"));
    }
    this.#used = true;
    const { identity, key } = this.#options.preSharedKey;
    return new Promise((resolve, reject) => {
      const secure = connect({ ...pskClientOptions(identity, key), socket, ALPNProtocols: ["h2"] });
      secure.once("secureConnect", () => resolve({ socket: secure, secure: true }));
      secure.on("error", reject);
      secure.once("close", () => {
        this.#over = true;
        reject(new Error("the server closed the connection in the handshake"));
      });
    });
  }
}
