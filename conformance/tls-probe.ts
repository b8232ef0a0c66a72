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
}

export interface ProbeOptions {
  readonly endpoint: string;
  readonly trustAnchorsPem: string;
  /** Left out, the probe shows no certificate. */
  readonly credential?: Credential;
  readonly maxVersion?: ConnectionOptions["maxVersion"];
  /** Of an earlier handshake, to be resumed. */
  readonly session?: Buffer;
  readonly timeoutMs?: number;
}

const noListener = new Set(["ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN", "ETIMEDOUT"]);

/**
 * Performs one handshake. In TLS 1.3 a server judges the client's certificate after the client has finished, so that only the server's
 * first HTTP/2 frame says that the connection stands.
 * @throws Inconclusive where nobody listens or nothing comes in time
 */
export async function probeTls(options: ProbeOptions): Promise<Established | Refused> {
  const { endpoint, trustAnchorsPem, credential, maxVersion, session, timeoutMs = 5_000 } = options;
  const at = endpoint.lastIndexOf(":");
  const socket = connect({
    host: endpoint.slice(0, at).replace(/^\[(.*)\]$/, "$1"),
    port: Number(endpoint.slice(at + 1)),
    ca: trustAnchorsPem,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
    ...(credential && { cert: credential.certificateChainPem, key: credential.privateKeyPem }),
    ...(maxVersion && { maxVersion }),
    ...(session && { session }),
  });
  try {
    return await outcome(socket, endpoint, timeoutMs);
  } finally {
    socket.destroy();
  }
}

/** What becomes of the handshake of a socket that has just begun to connect. @throws Inconclusive as `probeTls` */
export function outcome(socket: TLSSocket, endpoint: string, timeoutMs: number): Promise<Established | Refused> {
  return new Promise((resolve, reject) => {
    let established: Established | undefined;
    let resumable: Buffer | undefined;
    socket.on("session", (session) => {
      resumable = session;
    });
    socket.setTimeout(timeoutMs, () => reject(new Inconclusive(`no answer from ${endpoint} within ${timeoutMs} ms`)));
    socket.once("secureConnect", () => {
      established = facts(socket);
    });
    socket.once("data", () => established !== undefined && resolve({ ...established, resumable }));
    socket.once("error", (cause: NodeJS.ErrnoException) =>
      noListener.has(cause.code ?? "")
        ? reject(new Inconclusive(`cannot reach ${endpoint} (${cause.code})`))
        : resolve({ outcome: "refused", alert: cause.code ?? cause.message }),
    );
    socket.once("close", () => resolve({ outcome: "refused", alert: "closed before any response" }));
  });
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
