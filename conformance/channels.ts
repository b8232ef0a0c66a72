// The kit's connections to the entities of a target, over either of two independent client stacks.
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { connectTransport } from "../reference/communications/connect-transport.ts";
import { type ClosableTransport, grpcTransport } from "../reference/communications/grpc-transport.ts";
import type { Credential, EntityRole, Target } from "./target.ts";

export const clientStacks = { grpc: grpcTransport, connect: connectTransport } as const;
export type ClientStack = keyof typeof clientStacks;

/** Whatever gives clients of the entities. */
export interface Connections {
  client<S extends DescService>(service: S, role: EntityRole): Client<S>;
  close(): void;
}

/** One user's connections: one to each entity, opened at the first call. */
export class Channels implements Connections {
  readonly #open: (role: EntityRole) => ClosableTransport;
  readonly #transports = new Map<EntityRole, ClosableTransport>();

  /** @param stack one of the client stacks, or any other way to open a connection */
  constructor(target: Target, credential: Credential, stack: ClientStack | typeof grpcTransport) {
    const open = typeof stack === "string" ? clientStacks[stack] : stack;
    const revocationLists = target.revocationListsPem === "" ? [] : [target.revocationListsPem];
    this.#open = (role) =>
      open({
        address: target.entities[role].endpoint,
        serverIdentity: target.entities[role].identity,
        credentials: {
          privateKey: credential.privateKeyPem,
          certificateChain: credential.certificateChainPem,
          authorities: [target.trustAnchorsPem],
          revocationLists,
        },
      });
  }

  client<S extends DescService>(service: S, role: EntityRole): Client<S> {
    return createClient(service, this.transport(role));
  }

  transport(role: EntityRole): ClosableTransport {
    let transport = this.#transports.get(role);
    if (transport === undefined) {
      transport = this.#open(role);
      this.#transports.set(role, transport);
    }
    return transport;
  }

  close(): void {
    for (const transport of this.#transports.values()) transport.close();
    this.#transports.clear();
  }
}
