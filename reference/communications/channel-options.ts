// What a client says about the server that it calls, the same for both client stacks.
import { isIP } from "node:net";
import type { Codecs } from "./message-codec.ts";
import type { ExpectedIdentity } from "./server-identity.ts";
import type { TlsCredentials, TrustOnly } from "./tls-credentials.ts";

export interface ChannelOptions {
  /** host:port; IPv6 addresses in brackets. */
  readonly address: string;
  /** Without key and certificate on an enrolment port only. */
  readonly credentials: TlsCredentials | TrustOnly;
  readonly serverIdentity: ExpectedIdentity;
  /** Bytes of one message, either way; default 4 MiB. */
  readonly maxMessageBytes?: number;
  readonly codecs?: Codecs;
}

export const defaultMaxMessageBytes = 4 * 1024 * 1024;
/** Enough for four chunks under way, which keeps a bulk stream busy over a round trip. */
export const flowControlWindowBytes = 4 * 1024 * 1024;
export const keepaliveMs = 30_000;
export const keepaliveTimeoutMs = 20_000;

/** The name to ask for by SNI: an IP address is none (RFC 6066). */
export function serverName(address: string): string {
  const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return isIP(host) === 0 ? host : "localhost";
}
