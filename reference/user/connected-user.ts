// A user as its roles see it (clause 6.2.1, U1 to U6): who it is, whom it trusts, and its ways to the entities.
import type { DescService } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import type { Signer } from "../envelope/signer.ts";
import type { LedgerTrust } from "../ledger/trust-at-time.ts";

/** `User` is one; the roles need no more of it than this. */
export interface ConnectedUser {
  readonly identity: string;
  readonly signer: Signer;
  readonly trust: LedgerTrust;
  readonly managementIdentity: string;
  /** Network parameters as the management told them (U4). */
  readonly network: NetworkParameters;
  /** A client of a registered entity. @throws ConnectError ENTITY_NOT_REGISTERED */
  client<S extends DescService>(service: S, identity: string): Client<S>;
  management<S extends DescService>(service: S): Client<S>;
  /** Runs a call in the user's session, which is renewed once where it has ended meanwhile. */
  inSession<T>(call: (options: CallOptions) => Promise<T>): Promise<T>;
  /** Metadata of a stream; after `renewSession` it is that of the new session. */
  readonly sessionHeaders: CallOptions;
  renewSession(): Promise<void>;
}
