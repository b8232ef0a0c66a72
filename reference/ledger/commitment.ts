// Commitments (S1): the ledger shows a salted digest, the value stays off-chain, and its opening goes to whoever may check (clause 6).
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  type Commitment,
  type CommitmentOpening,
  CommitmentOpeningSchema,
  CommitmentSchema,
  type Transaction,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { sha256 } from "./merkle.ts";

const DOMAIN = Buffer.from("x1410-commitment-v1\0");
const SALT_BYTES = 32;

/** Commits to a value under 32 random bytes of salt. Keep the opening: without it the commitment says nothing to anybody. */
export function commit(name: string, value: Uint8Array): { commitment: Commitment; opening: CommitmentOpening } {
  const salt = new Uint8Array(randomBytes(SALT_BYTES));
  const opening = create(CommitmentOpeningSchema, { name, salt, value });
  return { commitment: create(CommitmentSchema, { name, digest: digestOf(opening) }), opening };
}

/** What the action of a transaction commits to; a change of proposer commits to nothing. */
export function commitmentsOf({ value }: Transaction["action"]): readonly Commitment[] {
  return value !== undefined && "commitments" in value ? value.commitments : [];
}

/** Whether the opening opens the commitment: same name, digest over salt and value. */
export function checkOpening(commitment: Commitment, opening: CommitmentOpening): boolean {
  if (opening.name !== commitment.name || opening.salt.length !== SALT_BYTES) return false;
  return Buffer.compare(digestOf(opening), commitment.digest) === 0;
}

/**
 * What stands on the ledger for a consumer: HMAC-SHA-256(contract's salt, identity), 32 bytes. The salt stays off-chain, so that nobody can
 * try identities, and differs for each contract, so that nobody can link a consumer's contracts.
 */
export function consumerPseudonym(contractSalt: Uint8Array, consumerIdentity: string): Uint8Array {
  if (contractSalt.length !== SALT_BYTES) throw new RangeError("a contract's salt has 32 bytes");
  return new Uint8Array(createHmac("sha256", contractSalt).update(consumerIdentity).digest());
}

/** Whether a pseudonym is that of this consumer under this contract. */
export function isPseudonymOf(pseudonym: Uint8Array, contractSalt: Uint8Array, consumerIdentity: string): boolean {
  const expected = consumerPseudonym(contractSalt, consumerIdentity);
  return pseudonym.length === expected.length && timingSafeEqual(pseudonym, expected);
}

function digestOf({ salt, value }: CommitmentOpening): Uint8Array {
  return sha256(DOMAIN, salt, value);
}
