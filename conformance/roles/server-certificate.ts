// The certificate by which a server is known (F4.11, A2.8): bytes that are there prove nothing, they have to be a certificate of that server.
import type { Entity } from "../../gen/x1410/v1/identity_pb.ts";
import type { Trust } from "../../reference/envelope/verify.ts";
import { expect } from "../procedures/procedure.ts";

/** Passes where the entity is `identity`, with a certificate of that identity which chains to the trust anchors. */
export function expectCertificateOf(identity: string, entity: Entity | undefined, trust: Trust): void {
  expect(entity?.identity === identity, `the server ${identity}`, entity?.identity);
  const [leaf, ...intermediates] = entity.certificate?.certificates ?? [];
  expect(leaf !== undefined, `a certificate of ${identity}`, "none");
  const named = identityIn(leaf, intermediates, trust);
  expect(named.identity === identity, `a certificate of ${identity} under the trust anchors`, named.text);
}

function identityIn(leaf: Uint8Array, intermediates: readonly Uint8Array[], trust: Trust) {
  try {
    const { identity } = trust.verify(leaf, intermediates);
    return { identity, text: `one of ${identity}` };
  } catch (cause) {
    return { identity: "", text: cause instanceof Error ? cause.message : String(cause) };
  }
}
