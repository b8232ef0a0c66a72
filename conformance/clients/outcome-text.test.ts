import { generateKeyPairSync, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import type { ObservedCall } from "./observation.ts";
import { callsText, differenceText, outputText, withoutSecrets } from "./outcome-text.ts";

test("tells how a command ended, and nothing of what it wrote but size and digest", () => {
  const ended = { code: 0, timedOut: false, stdout: "plain", stderr: "", output: undefined };
  expect(outputText(ended)).toBe(
    "exit code 0; nothing on standard error; 5 bytes with SHA-256 a116c9ed46d62077… on standard output",
  );
  const stopped = { ...ended, code: undefined, timedOut: true, stdout: "", stderr: "a\nb\nc\nd", output: Buffer.of(1) };
  expect(outputText(stopped)).toBe(
    "exit code none (its time was over); standard error: b; c; d; 1 bytes with SHA-256 4bf5122f344554c5… in {output}",
  );
});

test("takes keys and tokens out of what a client says, in whatever notation, and leaves paths and words", () => {
  const words = "cannot write /home/somebody/consumer/output-1: permission denied (x1410://dlt.local/contracts/7)";
  expect(withoutSecrets(words)).toBe(words);
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  expect(withoutSecrets(`cannot use ${pem}`)).toBe("cannot use [taken out]-----END PRIVATE KEY-----; ");
  for (let times = 0; times < 200; times++) {
    const key = randomBytes(32);
    for (const notation of ["hex", "base64", "base64url"] as const)
      expect(withoutSecrets(`key ${key.toString(notation)} is wrong`)).not.toContain(
        key.toString(notation).slice(4, 20),
      );
  }
});

test("names the calls that came, with their outcomes", () => {
  const call = {
    method: KeyStorageService.method.getKey,
    to: "kss",
    impostor: false,
    code: "UNAUTHENTICATED",
    reason: "TOKEN_INVALID",
  } as unknown as ObservedCall;
  expect(callsText([])).toBe("none");
  expect(callsText([call, { ...call, code: "", reason: "", impostor: true }])).toBe(
    "KeyStorageService/GetKey UNAUTHENTICATED TOKEN_INVALID, KeyStorageService/GetKey to an impostor of the kss without an answer",
  );
  expect(callsText(Array.from({ length: 30 }, () => call))).toMatch(/^the last 12 of 30: /);
});

test("tells where data begin to differ", () => {
  const [right, wrong] = [Buffer.from("abcdef"), Buffer.from("abcxef")];
  expect(differenceText(wrong, right)).toMatch(
    /^6 bytes with SHA-256 .*, where 6 bytes .*; the first difference is at byte 3$/,
  );
  expect(differenceText(right.subarray(0, 2), right)).toMatch(/^2 bytes .* at byte 2$/);
});
