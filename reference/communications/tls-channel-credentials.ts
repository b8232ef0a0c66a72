// TLS of a grpc-js channel whose handshakes end. By itself grpc-js waits without limit for a peer that accepts a connection and says
// nothing, and closing the channel leaves that connection open, which keeps the process alive.
import type { Socket } from "node:net";
import { createSecureContext } from "node:tls";
import { ChannelCredentials } from "@grpc/grpc-js";
import { type ExpectedIdentity, serverIdentityCheck } from "./server-identity.ts";
import { secureContextOptions, type TlsCredentials, type TrustOnly } from "./tls-credentials.ts";

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

export class TlsChannelCredentials extends ChannelCredentials {
  readonly #tls: ChannelCredentials;
  readonly #handshakeTimeoutMs: number;
  /** Ends each handshake under way. */
  readonly #handshakes = new Set<(cause: Error) => void>();
  #closed = false;

  /** @throws PkiError or an OpenSSL error where the credentials do not parse */
  constructor(credentials: TlsCredentials | TrustOnly, serverIdentity: ExpectedIdentity, handshakeTimeoutMs = 20_000) {
    super();
    this.#tls = ChannelCredentials.createFromSecureContext(createSecureContext(secureContextOptions(credentials)), {
      checkServerIdentity: serverIdentityCheck(serverIdentity),
    });
    this.#handshakeTimeoutMs = handshakeTimeoutMs;
  }

  /** Ends handshakes under way and begins no other; connections that are established are the channel's. */
  close(): void {
    this.#closed = true;
    for (const end of this.#handshakes) end(new Error("the channel is closed"));
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...options: Parameters<ChannelCredentials["_createSecureConnector"]>
  ): SecureConnector {
    const connector = this.#tls._createSecureConnector(...options);
    return {
      connect: (socket) => this.#within(socket, connector.connect(socket)),
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  /** The handshake over `socket`, which is destroyed where the handshake comes to no end. */
  async #within<T>(socket: Socket, handshake: Promise<T>): Promise<T> {
    const { promise: failed, reject: end } = Promise.withResolvers<never>();
    const timer = setTimeout(() => end(new Error("the TLS handshake takes too long")), this.#handshakeTimeoutMs);
    timer.unref();
    this.#handshakes.add(end);
    if (this.#closed) this.close();
    try {
      return await Promise.race([handshake, failed]);
    } catch (cause) {
      socket.destroy();
      throw cause;
    } finally {
      clearTimeout(timer);
      this.#handshakes.delete(end);
      handshake.catch(() => undefined);
    }
  }
}
