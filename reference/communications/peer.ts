// Who is at the other end of a call: clause 7.2.5, AAC1.
import { createContextKey } from "@connectrpc/connect";

export interface Peer {
  /** The one URI of the certificate, or of the pre-shared key; "" where the peer has neither (enrolment port only). */
  readonly identity: string;
  /** SHA-256 of the certificate in DER, 64 lower-case hexadecimal digits; "" where there is none. */
  readonly fingerprint: string;
  /** The certificate in DER; undefined where there is none. */
  readonly certificate: Uint8Array | undefined;
  readonly transport: "mtls" | "psk" | "direct" | "anonymous";
  /** Distinguishes connections of one server process. */
  readonly connectionId: string;
}

const nobody: Peer = {
  identity: "",
  fingerprint: "",
  certificate: undefined,
  transport: "anonymous",
  connectionId: "",
};

/** Every handler finds its caller by `context.values.get(peerKey)`, whatever hosts it. */
export const peerKey = createContextKey<Peer>(nobody, { description: "peer" });
