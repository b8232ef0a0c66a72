// One entity's connections to the others, over mutual TLS, found through the registry alone (S2, clause 7.2.5).
import type { DescService } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Entity } from "../../gen/x1410/v1/identity_pb.ts";
import { type ClosableTransport, grpcTransport } from "./grpc-transport.ts";
import { refusal } from "./refusal.ts";
import type { TlsCredentials } from "./tls-credentials.ts";

/** The part of the registry that leads from an identity to an endpoint. */
export interface EntityDirectory {
  entity(identity: string): Entity | undefined;
}

/** Answers a transport for an entity that is not reached by certificate at the endpoint of the registry. */
export type OtherDoors = (identity: string) => ClosableTransport | undefined;

export class Peers {
  readonly #directory: EntityDirectory;
  readonly #transports = new Map<string, { readonly endpoint: string; readonly transport: ClosableTransport }>();
  readonly #otherwise: OtherDoors;
  #credentials: TlsCredentials;
  #closed = false;

  constructor(directory: EntityDirectory, credentials: TlsCredentials, otherwise: OtherDoors = () => undefined) {
    this.#directory = directory;
    this.#credentials = credentials;
    this.#otherwise = otherwise;
  }

  /** A client of an entity, or undefined where it is not registered; connects at the first call. */
  find<S extends DescService>(service: S, identity: string): Client<S> | undefined {
    return this.#directory.entity(identity) === undefined ? undefined : this.client(service, identity);
  }

  /**
   * A client of an entity that is looked up at each call, so that it may be registered, move or be restarted meanwhile. Calls fail with
   * PEER_UNAVAILABLE while it is not registered.
   */
  client<S extends DescService>(service: S, identity: string): Client<S> {
    return createClient(service, {
      unary: (...call) => this.#begin(identity, (transport) => transport.unary(...call)),
      // Its messages can be read once only; whoever reads a stream resumes it.
      stream: async (...call) => this.#transport(identity).stream(...call),
    });
  }

  /** New credentials close a connection that is still being made, and the calls that wait for it have not gone anywhere: they take the next. */
  async #begin<T>(identity: string, call: (transport: ClosableTransport) => Promise<T>): Promise<T> {
    const transport = this.#transport(identity);
    try {
      return await call(transport);
    } catch (cause) {
      if (this.#closed || !neverBegan(cause) || this.#transports.get(identity)?.transport === transport) throw cause;
      return call(this.#transport(identity));
    }
  }

  /** New credentials or revocation lists hold for every call from now on: open connections were judged by the old ones. */
  reload(credentials: TlsCredentials): void {
    this.#credentials = credentials;
    this.#closeAll();
  }

  close(): void {
    this.#closed = true;
    this.#closeAll();
  }

  #closeAll(): void {
    for (const { transport } of this.#transports.values()) transport.close();
    this.#transports.clear();
  }

  #transport(identity: string): ClosableTransport {
    const endpoint = this.#directory.entity(identity)?.endpoint;
    if (endpoint === undefined) throw refusal(ErrorReason.PEER_UNAVAILABLE, identity);
    const known = this.#transports.get(identity);
    if (known?.endpoint === endpoint) return known.transport;
    known?.transport.close();
    const credentials = this.#credentials;
    const transport =
      this.#otherwise(identity) ?? grpcTransport({ address: endpoint, credentials, serverIdentity: identity });
    this.#transports.set(identity, { endpoint, transport });
    return transport;
  }
}

/** As grpc-js says it of a call that was still waiting for a connection. */
function neverBegan(cause: unknown): boolean {
  return cause instanceof ConnectError && cause.rawMessage === "Channel closed before call started";
}
