// Verdicts on handshakes. A server may say no by closing the connection, and so may a network that is dead behind a load balancer: what only
// ended proves something where a good handshake gets through afterwards, and nothing where it does not.
import { Code } from "@connectrpc/connect";
import { expect, Inconclusive } from "./procedures/procedure.ts";
import { RawConnection } from "./raw-call.ts";
import { type Established, type Handshake, probeTls } from "./tls-probe.ts";

/** A call that any user may make, to see whether whoever got through the handshake is served. */
export interface AnyRequest {
  /** package.Service/Method */
  readonly path: string;
  readonly body: Uint8Array;
  readonly contentType: "application/grpc" | "application/json";
}

/** @throws Deviation where an alert comes; Inconclusive where the connection only ends */
export async function expectEstablished(
  good: Handshake,
  expectation = "a connection under a good certificate",
): Promise<Established> {
  const seen = await probeTls(good);
  if (seen.outcome === "refused" && seen.silent)
    throw new Inconclusive(`${expectation}: it ended without an alert (${seen.alert}), as in a network that is dead`);
  expect(seen.outcome === "established", expectation, seen.outcome === "refused" ? seen.alert : "");
  return seen;
}

/**
 * Passes where the handshake is refused or, beyond the handshake, each call is UNAUTHENTICATED. Answers how.
 * @param good tried where only silence came: it gets through where it is the handshake that is refused, and not the network that is dead
 */
export async function expectRefused(
  wrong: Handshake,
  good: Handshake,
  request: AnyRequest | undefined,
  expectation: string,
): Promise<string> {
  const seen = await refusalOf(wrong, request);
  if (seen.silent) await goodOneGetsThrough(good, seen.text);
  expect(seen.refused, expectation, seen.text);
  return seen.text;
}

interface Seen {
  readonly refused: boolean;
  readonly text: string;
  /** Whether a dead network would look the same. */
  readonly silent: boolean;
}

/** One handshake and, where it gets through, one call. */
export async function refusalOf(handshake: Handshake, request: AnyRequest | undefined): Promise<Seen> {
  const seen = await probeTls(handshake);
  if (seen.outcome === "refused") return { refused: true, text: seen.alert, silent: seen.silent };
  const through = `a connection by ${seen.protocol}`;
  if (request === undefined) return { refused: false, text: through, silent: false };
  const connection = await RawConnection.open(handshake).catch((cause: unknown) => {
    // Let through once, and no more: whoever asks again will see.
    if (!(cause instanceof Inconclusive)) throw cause;
    return undefined;
  });
  if (connection === undefined) return { refused: false, text: through, silent: true };
  try {
    const { path, body, contentType } = request;
    const { code, httpStatus } = await connection.call(path, body, handshake.timeoutMs, contentType);
    if (code === Code.Unauthenticated || (contentType === "application/json" && httpStatus === 401))
      return { refused: true, text: `${through}, and UNAUTHENTICATED to a call`, silent: false };
    const served = code === undefined ? "" : ", and a call is served";
    return { refused: false, text: `${through}${served}`, silent: code === undefined && httpStatus === undefined };
  } finally {
    connection.close();
  }
}

async function goodOneGetsThrough(good: Handshake, before: string): Promise<void> {
  const after = await probeTls(good);
  if (after.outcome === "refused")
    throw new Inconclusive(
      `${before}; but afterwards a good handshake ends as well (${after.alert}): it proves nothing`,
    );
}
