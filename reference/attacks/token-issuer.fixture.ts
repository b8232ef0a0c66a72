// Managements that the tester plays: registered in the running network, so that its key storage server asks them for their keys, and free
// to issue access tokens of any shape.
import { randomBytes } from "node:crypto";
import { fromPem } from "../../certs/der.ts";
import { fingerprintOf } from "../../certs/identity.ts";
import type { Credential } from "../../conformance/target.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import type { Peer } from "../communications/peer.ts";
import { startServer } from "../communications/server.ts";
import { createSigner } from "../envelope/signer.ts";
import { TokenIssuer } from "../key-storage-server/token.fixture.ts";
import type { AttackRig } from "./attack-rig.fixture.ts";

export interface IssuingManagement {
  readonly issuer: TokenIssuer;
  /** A token that is right but for `claims`, `header` and the signing key. */
  issue(
    keyId: string,
    consumer: Credential,
    claims?: Record<string, unknown>,
    header?: Record<string, unknown>,
    key?: Parameters<TokenIssuer["issue"]>[3],
  ): Promise<string>;
  close(): Promise<void>;
}

/** Starts a management of this name and registers it. */
export async function startIssuingManagement(rig: AttackRig, name: string): Promise<IssuingManagement> {
  const material = rig.issue("dssm", name);
  const issuer = new TokenIssuer(material.identity, () => new Date());
  const server = await startServer({
    name,
    credentials: rig.tlsCredentials(material),
    registrations: [issuer.registration],
  });
  const { identity, certificateChainPem } = material;
  rig.network.register({ identity, endpoint: server.address, certificateChainPem });
  return {
    issuer,
    issue: (keyId, consumer, claims = {}, header = {}, key) =>
      issuer.issue(
        { keyId, consumer: peerOf(consumer) },
        { aud: rig.identity("kss"), ...claims },
        header,
        ...(key === undefined ? [] : [key]),
      ),
    close: () => server.close(0),
  };
}

/** A key stored by the provider for a management. */
export async function storedKey(rig: AttackRig, management: string): Promise<{ keyId: string; key: Uint8Array }> {
  const keys = rig.client(KeyStorageService, "kss", rig.target.provider);
  const { keyId } = await keys.registerKey({ requestId: randomBytes(16), managementIdentity: management });
  const key = randomBytes(32);
  await keys.storeKey({ keyId, key });
  return { keyId, key };
}

function peerOf(credential: Credential): Peer {
  const [certificate = new Uint8Array()] = fromPem("CERTIFICATE", credential.certificateChainPem);
  const { identity } = createSigner(credential);
  return { identity, fingerprint: fingerprintOf(certificate), certificate, transport: "mtls", connectionId: "" };
}
