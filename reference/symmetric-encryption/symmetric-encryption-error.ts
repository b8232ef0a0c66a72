/** Every way in which the symmetric encryption system refuses, by a stable code. */
export const SYMMETRIC_ENCRYPTION_ERROR_MEANINGS = {
  invalid_key: "the input key is not 32 bytes",
  invalid_salt: "the salt is not 24 bytes",
  wrong_key: "key, context or header do not fit each other: the commitment differs",
  commitment_mismatch: "the package carries another commitment than its metadata announced",
  truncated: "the package ends before its short final chunk",
  altered: "a chunk was altered, moved, removed or added",
  plaintext_changed: "encrypting again needs the plaintext that was encrypted first",
  too_long: "a message has at most 2^38 chunks",
  out_of_range: "the range lies outside the plaintext",
} as const;

/** Closed set of refusal codes. */
export type SymmetricEncryptionErrorCode = keyof typeof SYMMETRIC_ENCRYPTION_ERROR_MEANINGS;

/** A refusal by the symmetric encryption system. `code` is stable; neither key nor plaintext reaches the text. */
export class SymmetricEncryptionError extends Error {
  readonly code: SymmetricEncryptionErrorCode;

  constructor(code: SymmetricEncryptionErrorCode, options?: ErrorOptions) {
    super(SYMMETRIC_ENCRYPTION_ERROR_MEANINGS[code], options);
    this.name = "SymmetricEncryptionError";
    this.code = code;
  }
}
