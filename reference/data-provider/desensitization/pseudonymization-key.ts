// The secret behind pseudonyms. Whoever has it can test guesses (phone numbers are few), so it stays with the data
// provider; whoever lacks it cannot.
import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { DesensitizationError } from "./desensitization-error.ts";

const KEY_BYTES = 32;

/** A key for one run: tokens are stable within it and mean nothing afterwards. */
export function generatePseudonymizationKey(): KeyObject {
  return createSecretKey(randomBytes(KEY_BYTES));
}

/** The key in `path` (64 hexadecimal digits); a missing file is made, mode 0600, so that later runs give the same tokens. */
export function pseudonymizationKeyFile(path: string): KeyObject {
  try {
    writeFileSync(path, `${randomBytes(KEY_BYTES).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST") throw new DesensitizationError("key_file", `${path} (${code})`);
  }
  let text: string;
  try {
    text = readFileSync(path, "latin1").trim();
  } catch (error) {
    throw new DesensitizationError("key_file", `${path} (${(error as NodeJS.ErrnoException).code})`);
  }
  if (!/^[0-9a-fA-F]{64}$/.test(text))
    throw new DesensitizationError("key_file", `${path} does not hold 64 hexadecimal digits`);
  return createSecretKey(text, "hex");
}
