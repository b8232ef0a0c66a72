// What a failure tells of a client under test: how its command ended, what it wrote, whom it called. Sizes and digests of data, and never
// what may be a key or a token.
import { sha256 } from "../roles/data-provider.ts";
import type { Ended } from "./client-process.ts";
import type { ObservedCall } from "./observation.ts";

/** Of what it says on standard error. */
const LAST_LINES = 3;
const LAST_CHARACTERS = 400;
const SHOWN_CALLS = 12;
/** A private key in PEM; what may be a key or a token in hexadecimal, base64url or base64, or a line of PEM. Paths have slashes, too. */
const perhapsSecret =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*|[\w+=-]{40,}|(?<![\w+/-])(?:[\w+/-]{43}=?|[\w+/]{64})(?![\w+/=-])/g;

/** The last lines of what a client says, with what may be a secret taken out. */
export function withoutSecrets(text: string): string {
  const lines = text.replace(perhapsSecret, "[taken out]").split("\n").slice(-LAST_LINES);
  return lines.join("; ").slice(-LAST_CHARACTERS);
}

/** e.g. `exit code 0; nothing on standard error; 12 bytes on standard output, SHA-256 …; no {output}` */
export function outputText({
  code,
  timedOut,
  stdout,
  stderr,
  output,
}: Ended & { readonly output: Uint8Array | undefined }): string {
  return [
    `exit code ${code ?? `none (${timedOut ? "its time was over" : "it was stopped"})`}`,
    stderr === "" ? "nothing on standard error" : `standard error: ${withoutSecrets(stderr)}`,
    ...(stdout === "" ? [] : [`${sizeAndDigest(Buffer.from(stdout))} on standard output`]),
    ...(output === undefined ? [] : [`${sizeAndDigest(output)} in {output}`]),
  ].join("; ");
}

/** e.g. "DataSharingAccessService/RequestAccess OK, KeyStorageService/GetKey PERMISSION_DENIED TOKEN_INVALID" */
export function callsText(calls: readonly ObservedCall[]): string {
  if (calls.length === 0) return "none";
  const shown = calls.slice(-SHOWN_CALLS).map(({ method, code, reason, impostor, to }) => {
    const outcome = [code === "" ? "without an answer" : code, reason].filter((text) => text !== "").join(" ");
    return `${method.parent.name}/${method.name}${impostor ? ` to an impostor of the ${to}` : ""} ${outcome}`;
  });
  return `${calls.length > shown.length ? `the last ${shown.length} of ${calls.length}: ` : ""}${shown.join(", ")}`;
}

/** How data differ from what they should be. */
export function differenceText(actual: Uint8Array, expected: Uint8Array): string {
  const at = actual.findIndex((byte, place) => byte !== expected[place]);
  const first = at < 0 ? Math.min(actual.length, expected.length) : at;
  return `${sizeAndDigest(actual)}, where ${sizeAndDigest(expected)} were shared; the first difference is at byte ${first}`;
}

function sizeAndDigest(data: Uint8Array): string {
  return `${data.length} bytes with SHA-256 ${Buffer.from(sha256(data)).toString("hex").slice(0, 16)}…`;
}
