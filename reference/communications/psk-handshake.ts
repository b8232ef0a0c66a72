// The handshake by pre-shared key (clause 7.2.5, AAC1): TLS 1.3 with an ephemeral key exchange (psk_dhe_ke, RFC 8446, 4.2.9), so that a key
// that leaks later opens no recorded connection. No certificate on either side: the server proves itself afterwards (AAC2).
import { constants, randomBytes } from "node:crypto";
import type { ConnectionOptions, SecureContextOptions, TLSSocket, TlsOptions } from "node:tls";
import type { PreSharedKey, PreSharedKeys } from "./pre-shared-keys.ts";

/** A key from outside TLS has SHA-256 for its hash (RFC 8446, 4.2.11): these are the suites that go with it. */
const suites: SecureContextOptions = {
  ciphers: "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  secureOptions: constants.SSL_OP_NO_TICKET,
};

/**
 * For a server. `identified` hears whose key, and which, the handshake of a socket is about to be verified with; the last word before the
 * handshake is done counts, since a second hello may name another identity.
 */
export function pskServerOptions(
  keys: PreSharedKeys,
  identified: (socket: TLSSocket, used: PreSharedKey) => void,
): TlsOptions {
  return {
    ...suites,
    pskCallback(socket, identity) {
      // Whoever is unknown fails over the binder of a key that nobody has, exactly as whoever has the wrong key.
      const key = keys.keyOf(identity) ?? randomBytes(32);
      identified(socket, { identity, key });
      return key;
    },
  };
}

/** For a client, which takes no certificate in place of the key, however good it is. */
export function pskClientOptions(identity: string, key: Uint8Array): ConnectionOptions {
  return {
    ...suites,
    pskCallback: () => ({ identity, psk: key }),
    ca: [],
    rejectUnauthorized: true,
    checkServerIdentity: () => new Error("the server showed a certificate instead of the pre-shared key"),
  };
}
