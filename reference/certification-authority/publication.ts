// Where everybody finds out whether a certificate still stands (clause 7.2.5): the revocation lists at their distribution points (RFC 5280,
// 4.2.1.13) and the OCSP responders (RFC 6960, appendix A), at the paths that certificates name. Over plain HTTP, as those RFCs have it:
// what is answered is signed, and asking for it over TLS would need the answer first.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Authority } from "../../certs/authority.ts";
import type { Pki } from "../../certs/pki.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { reachableAddress } from "../communications/server.ts";
import { ListenError, whyNot } from "../communications/tls-listener.ts";
import { AddressRate } from "./address-rate.ts";

export interface PublicationOptions {
  readonly pki: Pki;
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly log?: Log;
  /** Milliseconds that only go forward, by which requests are counted. */
  readonly monotonic?: () => number;
}

export interface Publication {
  /** host:port */
  readonly address: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body?: Uint8Array;
  readonly allow?: string;
  /** Whether a cache may keep it, and for how long. */
  readonly cacheControl?: string;
  /** Seconds. */
  readonly retryAfter?: string;
}

const MAX_REQUEST_BYTES = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 256;
/** A verifier asks about a path at a time; an answer costs some milliseconds, which are the issuing authority's as well. */
const OCSP_PER_SECOND = 20;
/** A revocation must not wait for a cache. */
const UNCACHED = "no-cache";

/** @throws ListenError */
export async function startPublication(options: PublicationOptions): Promise<Publication> {
  const { pki, host, port, log = silentLog, monotonic = () => performance.now() } = options;
  const authorities: ReadonlyMap<string, Authority> = new Map([
    ["root", pki.root],
    ["intermediate", pki.intermediate],
  ]);
  const rate = new AddressRate(OCSP_PER_SECOND, monotonic);
  const server = createServer(
    { headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: MAX_REQUEST_BYTES },
    (request, response) => {
      void answerTo(request, authorities, rate)
        .catch((cause: unknown): Answer => {
          // Where the request is incomplete, whoever asks has left.
          if (request.complete) log.error("publication fault", { path: request.url ?? "", cause: String(cause) });
          return { status: 500 };
        })
        .then((answer) => send(response, answer));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new ListenError(whyNot(cause, host, port), { cause })));
    server.listen(port, host, resolve);
  });
  const bound = server.address();
  const address = reachableAddress({ host, port: typeof bound === "object" && bound !== null ? bound.port : port });
  log.info("listening", { server: "publication", address });
  return {
    address,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answerTo(
  request: IncomingMessage,
  authorities: ReadonlyMap<string, Authority>,
  rate: AddressRate,
): Promise<Answer> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const list = authorities.get(/^\/([a-z]+)\.crl$/.exec(path)?.[1] ?? "");
  if (list !== undefined) {
    if (request.method !== "GET" && request.method !== "HEAD") return { status: 405, allow: "GET, HEAD" };
    return { status: 200, type: "application/pkix-crl", body: list.crl().der, cacheControl: UNCACHED };
  }
  const [, name = "", question] = /^\/ocsp\/([a-z]+)(?:\/(.*))?$/.exec(path) ?? [];
  const responder = authorities.get(name);
  if (responder === undefined) return { status: 404 };
  if (!rate.admits(request.socket.remoteAddress ?? "")) return { status: 429, retryAfter: "1" };
  if (request.method === "POST" && question === undefined) {
    if (request.headers["content-type"] !== "application/ocsp-request") return { status: 415 };
    const body = await bodyOf(request);
    return body === undefined ? { status: 413 } : ocspAnswer(responder, body);
  }
  if (request.method === "GET" && question !== undefined) return ocspAnswer(responder, decoded(question));
  return { status: 405, allow: question === undefined ? "POST" : "GET" };
}

function ocspAnswer(responder: Authority, request: Uint8Array): Answer {
  return {
    status: 200,
    type: "application/ocsp-response",
    body: responder.ocsp(request),
    cacheControl: UNCACHED,
  };
}

/** RFC 6960, A.1.1: base64, then percent-encoded; what is neither is answered as a malformed request. */
function decoded(question: string): Uint8Array {
  try {
    return Buffer.from(decodeURIComponent(question), "base64");
  } catch {
    return new Uint8Array();
  }
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.byteLength;
    if (size > MAX_REQUEST_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function send(response: ServerResponse, { status, type, body, allow, cacheControl, retryAfter }: Answer): void {
  response.writeHead(status, {
    "content-length": body?.byteLength ?? 0,
    ...(type === undefined ? {} : { "content-type": type }),
    ...(allow === undefined ? {} : { allow }),
    ...(cacheControl === undefined ? {} : { "cache-control": cacheControl }),
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter }),
    // The rest of a body that was too long, or is not wanted, is not waited for.
    ...(status === 413 || status === 429 ? { connection: "close" } : {}),
  });
  response.end(body);
}
