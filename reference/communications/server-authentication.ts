// Authentication of servers by certificate on connections by pre-shared key (clause 7.2.5, AAC2): what the server signs, and how a user
// verifies it.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type CallOptions, createClient, type Transport } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  ProveIdentityResponseSchema,
  ServerAuthenticationService,
  ServerAuthenticationStatementSchema,
} from "../../gen/x1410/v1/server_authentication_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { type Trust, verifyEnvelope } from "../envelope/verify.ts";
import { peerKey } from "./peer.ts";
import { refusal } from "./refusal.ts";
import { implement, type Registration } from "./service.ts";

const NONCE_BYTES = 32;

/** @param signer of the server itself, with the key of its certificate */
export function createServerAuthentication(signer: Signer): Registration<typeof ServerAuthenticationService> {
  return implement(ServerAuthenticationService, {
    proveIdentity({ userNonce }, context) {
      const statement = create(ServerAuthenticationStatementSchema, {
        userNonce,
        serverNonce: new Uint8Array(randomBytes(NONCE_BYTES)),
        serverIdentity: signer.identity,
        userIdentity: context.values.get(peerKey).identity,
      });
      return create(ProveIdentityResponseSchema, {
        statement: signMessage(signer, ServerAuthenticationStatementSchema, statement),
      });
    },
  });
}

export interface ProofExpected {
  readonly serverIdentity: string;
  /** Of the pre-shared key. */
  readonly userIdentity: string;
  /** Judges the certificate that signs. */
  readonly trust: Trust;
}

/**
 * Has the server at the other end of a connection prove itself.
 * @throws ConnectError what `verifyEnvelope` throws; RESPONSE_INVALID naming the field that is not as expected
 */
export async function authenticateServer(
  connection: Transport,
  { serverIdentity, userIdentity, trust }: ProofExpected,
  options: CallOptions,
): Promise<void> {
  const userNonce = new Uint8Array(randomBytes(NONCE_BYTES));
  const { statement } = await createClient(ServerAuthenticationService, connection).proveIdentity(
    { userNonce },
    options,
  );
  if (statement === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING, "statement");
  const { message, signer } = verifyEnvelope(statement, ServerAuthenticationStatementSchema, trust);
  const field =
    Buffer.compare(message.userNonce, userNonce) !== 0
      ? "user_nonce"
      : message.userIdentity !== userIdentity
        ? "user_identity"
        : message.serverIdentity !== serverIdentity || signer.identity !== serverIdentity
          ? "server_identity"
          : undefined;
  if (field !== undefined) throw refusal(ErrorReason.RESPONSE_INVALID, field);
}
