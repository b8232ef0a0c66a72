// A raw TLS handshake against an entity: what clause 7.2.5 promises is judged here, below gRPC, where a refusal is an alert or a close
// and cannot be mistaken for a dead network.
import { X509Certificate } from "node:crypto";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { fingerprintOf, identityOf } from "../certs/identity.ts";
import { Inconclusive } from "./procedures/procedure.ts";
import type { Credential } from "./target.ts";

export interface Established {
  readonly outcome: "established";
  /** e.g. "TLSv1.3". */
  readonly protocol: string;
  /** e.g. "TLS_AES_256_GCM_SHA384". */
  readonly cipher: string;
  /** The one URI of the server's certificate; undefined where it has none or several. */
  readonly identity: string | undefined;
  /** SHA-256 of the server's certificate in DER, lower-case hexadecimal; "" where it showed none. */
  readonly certificateSha256: string;
  /** True where the server's certificate chains to the trust anchors. */
  readonly trusted: boolean;
  /** Keying material exported under a fixed label (RFC 8446, 7.5): differs wherever the session keys differ. */
  readonly exported: string;
  /** What a later handshake could resume; undefined where the server gave nothing of the kind. */
  readonly resumable: Buffer | undefined;
}

export interface Refused {
  readonly outcome: "refused";
  /** The alert or the close, e.g. "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED". */
  readonly alert: string;
  /** True where the connection only ended: a dead network behind a load balancer looks like that as well. */
  readonly silent: boolean;
}

/** What is needed to perform one handshake, again and again. */
export interface Handshake {
  readonly endpoint: string;
  readonly timeoutMs: number;
  readonly tls: ConnectionOptions;
}

export interface CertificateHandshake {
  readonly endpoint: string;
  readonly timeoutMs: number;
  readonly trustAnchorsPem: string;
  /** Left out, no certificate is shown. */
  readonly credential?: Credential | undefined;
  readonly maxVersion?: ConnectionOptions["maxVersion"];
  /** Of an earlier handshake, to be resumed. */
  readonly session?: Buffer;
}

/** Verifies nothing of the server by itself: the probe reports what it saw. */
export function byCertificate(options: CertificateHandshake): Handshake {
  const { endpoint, timeoutMs, trustAnchorsPem, credential, maxVersion, session } = options;
  const tls: ConnectionOptions = {
    ca: trustAnchorsPem,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
    ...(credential && { cert: credential.certificateChainPem, key: credential.privateKeyPem }),
    ...(maxVersion && { maxVersion }),
    ...(session && { session }),
  };
  return { endpoint, timeoutMs, tls };
}

const noListener = new Set(["ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN", "ETIMEDOUT"]);
const ended = new Set(["ECONNRESET", "ECONNABORTED", "EPIPE"]);

/** A client speaks first in HTTP/2 (RFC 9113, 3.4), and servers may wait for it: the preface, and SETTINGS without a setting. */
const preface = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from("000000040000000000", "hex"),
]);

class TimedOut extends Inconclusive {
  override name = "TimedOut";
}

/**
 * Performs one handshake; where nothing came in time, once more, since a busy machine is no verdict. In TLS 1.3 a server judges the client's
 * certificate after the client has finished, so that only the server's first HTTP/2 frame says that the connection stands.
 * @throws Inconclusive where nobody listens or nothing comes in time
 */
export async function probeTls(handshake: Handshake): Promise<Established | Refused> {
  try {
    return await performed(handshake);
  } catch (cause) {
    if (!(cause instanceof TimedOut)) throw cause;
    return await performed(handshake);
  }
}

/** A socket that has just begun to connect. */
export function openTls({ endpoint, tls }: Pick<Handshake, "endpoint" | "tls">): TLSSocket {
  const at = endpoint.lastIndexOf(":");
  const host = endpoint.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  return connect({ host, port: Number(endpoint.slice(at + 1)), ...tls });
}

async function performed(handshake: Handshake): Promise<Established | Refused> {
  const socket = openTls(handshake);
  try {
    return await outcome(socket, handshake);
  } finally {
    socket.destroy();
  }
}

function outcome(socket: TLSSocket, { endpoint, timeoutMs }: Handshake): Promise<Established | Refused> {
  return new Promise((resolve, reject) => {
    let established: Established | undefined;
    let resumable: Buffer | undefined;
    socket.on("session", (session) => {
      resumable = session;
    });
    socket.setTimeout(timeoutMs, () => reject(new TimedOut(`no answer from ${endpoint} within ${timeoutMs} ms`)));
    socket.once("secureConnect", () => {
      established = facts(socket);
      socket.write(preface);
    });
    socket.once("data", () => established !== undefined && resolve({ ...established, resumable }));
    socket.once("error", (cause: NodeJS.ErrnoException) => {
      const code = cause.code ?? cause.message;
      if (noListener.has(code)) reject(new Inconclusive(`cannot reach ${endpoint} (${code})`));
      else resolve({ outcome: "refused", alert: code, silent: ended.has(code) });
    });
    socket.once("close", () => resolve({ outcome: "refused", alert: "closed before any response", silent: true }));
  });
}

/** What a handshake showed, for a report. */
export function factsText({ protocol, cipher, identity, certificateSha256, trusted }: Established): string {
  const certificate = `${trusted ? "" : "untrusted "}certificate of ${identity ?? "no one identity"}`;
  return `${protocol}, ${cipher}, ${certificate}, SHA-256 ${certificateSha256}`;
}

function facts(socket: TLSSocket): Established {
  const certificate = socket.getPeerX509Certificate();
  return {
    outcome: "established",
    protocol: socket.getProtocol() ?? "",
    cipher: socket.getCipher().standardName,
    identity: certificate && identityOf(new X509Certificate(certificate.raw)),
    certificateSha256: certificate === undefined ? "" : fingerprintOf(certificate),
    trusted: socket.authorized,
    exported: socket.exportKeyingMaterial(32, "EXPORTER-x1410-conformance", Buffer.alloc(0)).toString("hex"),
    resumable: undefined,
  };
}
