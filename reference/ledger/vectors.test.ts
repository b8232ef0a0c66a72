// The golden vectors were made by another implementation: a bug of this one does not bless itself.
import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import vectors from "../../conformance/vectors/ledger.json" with { type: "json" };
import {
  BlockHeaderSchema,
  BlockSchema,
  CommitmentOpeningSchema,
  CommitmentSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { blockHash, decodeEnvelope, decodeHeader, encodeHeader, transactionIdOf } from "./block.ts";
import { checkOpening, commit, consumerPseudonym, isPseudonymOf } from "./commitment.ts";
import { MerkleTree, merkleRoot, verifyInclusion } from "./merkle.ts";
import { verifyChain } from "./verify.ts";

const bytes = (hex: string): Uint8Array => Buffer.from(hex, "hex");
const hex = (raw: Uint8Array): string => Buffer.from(raw).toString("hex");
const leaves = vectors.merkle.leaves.map(bytes);
const trust = new ChainVerifier({ trustAnchors: [bytes(vectors.trustAnchor)], crlsRequired: false });
const { networkId, firstProposer } = vectors;
const audit = (blocks: readonly string[]) =>
  verifyChain(
    blocks.map((block) => fromBinary(BlockSchema, bytes(block))),
    { trust, networkId, firstProposer },
  );

describe("Merkle trees of RFC 9162", () => {
  test.each(vectors.merkle.trees)("$size leaves", ({ size, root, proofs }) => {
    const some = leaves.slice(0, size);
    const tree = new MerkleTree(some);
    expect(hex(tree.root)).toBe(root);
    expect(hex(merkleRoot(some))).toBe(root);
    for (const [index, leaf] of some.entries()) {
      const path = tree.inclusionProof(index);
      expect(path.map(hex)).toEqual(proofs[index]);
      expect(verifyInclusion(leaf, index, size, path, bytes(root))).toBe(true);
    }
    expect(() => tree.inclusionProof(size)).toThrow(RangeError);
  });

  test("a proof fails for another leaf, place, size, root or path", () => {
    const root = merkleRoot(leaves);
    const tree = new MerkleTree(leaves);
    for (const [index, leaf] of leaves.entries()) {
      const path = tree.inclusionProof(index);
      const size = leaves.length;
      expect(verifyInclusion(Buffer.from("x"), index, size, path, root)).toBe(false);
      expect(verifyInclusion(leaf, (index + 1) % size, size, path, root)).toBe(false);
      expect(verifyInclusion(leaf, index, size, path, new Uint8Array(32))).toBe(false);
      expect(verifyInclusion(leaf, index, size, path.slice(1), root)).toBe(false);
      expect(verifyInclusion(leaf, index, size, [...path, root], root)).toBe(false);
      expect(verifyInclusion(leaf, size, size, path, root)).toBe(false);
      expect(verifyInclusion(leaf, -1, size, path, root)).toBe(false);
      expect(verifyInclusion(leaf, index, 1 << 20, path, root)).toBe(false);
    }
  });

  test("a node of the tree never passes for a leaf", () => {
    const [a, b] = [Buffer.from("a"), Buffer.from("b")];
    const inner = Buffer.concat([new Uint8Array([1]), new MerkleTree([a]).root, new MerkleTree([b]).root]);
    expect(hex(merkleRoot([inner]))).not.toBe(hex(merkleRoot([a, b])));
  });
});

describe("header bytes", () => {
  test.each(vectors.headers)(
    "header of height $header.height, $header.timeUnixMs ms",
    ({ header, bytes: expected, hash }) => {
      const made = create(BlockHeaderSchema, {
        ...header,
        height: BigInt(header.height),
        timeUnixMs: BigInt(header.timeUnixMs),
        previousHash: bytes(header.previousHash),
        transactionsRoot: bytes(header.transactionsRoot),
      });
      expect(hex(encodeHeader(made))).toBe(expected);
      expect(hex(blockHash(bytes(expected)))).toBe(hash);
      expect(hex(encodeHeader(decodeHeader(bytes(expected))))).toBe(expected);
    },
  );

  test.each(vectors.notCanonical)("refused: $name", ({ bytes: other }) => {
    expect(() => decodeHeader(bytes(other))).toThrow(SyntaxError);
  });
});

describe("commitments", () => {
  const { name, salt, value, digest } = vectors.commitment;
  const commitment = create(CommitmentSchema, { name, digest: bytes(digest) });
  const opening = create(CommitmentOpeningSchema, { name, salt: bytes(salt), value: bytes(value) });

  test("an opening opens its commitment and no other", () => {
    expect(checkOpening(commitment, opening)).toBe(true);
    expect(checkOpening(commitment, { ...opening, name: "policy" })).toBe(false);
    expect(checkOpening(commitment, { ...opening, value: Buffer.from("terms: four accesses") })).toBe(false);
    expect(checkOpening(commitment, { ...opening, salt: new Uint8Array(32) })).toBe(false);
    // Moving a byte between salt and value changes nothing of what is hashed, and must not pass.
    const moved = Buffer.concat([opening.salt, opening.value]);
    expect(checkOpening(commitment, { ...opening, salt: moved.subarray(0, 31), value: moved.subarray(31) })).toBe(
      false,
    );
  });

  test("the same value is committed to under another salt each time", () => {
    const [one, two] = [commit("terms", opening.value), commit("terms", opening.value)];
    expect(checkOpening(one.commitment, one.opening)).toBe(true);
    expect(hex(one.commitment.digest)).not.toBe(hex(two.commitment.digest));
  });

  test("a consumer's pseudonym", () => {
    const { salt: contractSalt, identity, pseudonym } = vectors.pseudonym;
    expect(hex(consumerPseudonym(bytes(contractSalt), identity))).toBe(pseudonym);
    expect(isPseudonymOf(bytes(pseudonym), bytes(contractSalt), identity)).toBe(true);
    expect(isPseudonymOf(bytes(pseudonym), bytes(contractSalt), "urn:x1410:user:other")).toBe(false);
  });
});

describe("a chain, audited", () => {
  const { blocks, hashes, transactionIds } = vectors.chain;

  test("hashes and transaction ids", () => {
    for (const [index, raw] of blocks.entries()) {
      const block = fromBinary(BlockSchema, bytes(raw));
      expect(hex(blockHash(block.header?.payload ?? new Uint8Array()))).toBe(hashes[index]);
      const ids = block.transactions.map((transaction) => transactionIdOf(decodeEnvelope(transaction).payload));
      expect(ids).toEqual(transactionIds[index]);
    }
  });

  test("intact", async () => {
    const verdict = await audit(blocks);
    expect(verdict).toMatchObject({ intact: true, transactions: 4n });
    expect(hex(verdict.head.hash)).toBe(hashes[2]);
  });

  test.each(vectors.altered)(
    "$name: $fault at $height",
    async ({ blocks: altered, fault, height, transactionIndex }) => {
      const verdict = await audit(altered);
      expect(verdict).toMatchObject({ intact: false, fault, height: BigInt(height) });
      expect(verdict.intact || verdict.transactionIndex).toBe(transactionIndex);
    },
  );

  test("rolled back, or replaced, against a remembered head", async () => {
    const some = blocks.slice(0, 2).map((block) => fromBinary(BlockSchema, bytes(block)));
    const remembered = { height: 3n, hash: bytes(hashes[2] ?? "") };
    const expectations = { trust, networkId, firstProposer };
    expect(await verifyChain(some, { ...expectations, remembered })).toMatchObject({ fault: "rollback", height: 3n });
    const other = { height: 2n, hash: bytes(hashes[0] ?? "") };
    expect(await verifyChain(some, { ...expectations, remembered: other })).toMatchObject({
      fault: "fork",
      height: 2n,
    });
  });

  test("any altered byte of any block is found, at its block or before the next", async () => {
    for (const [index, raw] of blocks.entries()) {
      const original = bytes(raw);
      for (let at = 0; at < original.length; at += 61) {
        const copy = Uint8Array.from(original);
        copy[at] = (copy[at] ?? 0) ^ 0x10;
        let block: ReturnType<typeof fromBinary<typeof BlockSchema>>;
        try {
          block = fromBinary(BlockSchema, copy);
        } catch {
          continue;
        }
        const chain = blocks.map((one) => fromBinary(BlockSchema, bytes(one)));
        chain[index] = block;
        const verdict = await verifyChain(chain, { trust, networkId, firstProposer });
        expect(verdict.intact, `block ${index + 1}, byte ${at}`).toBe(false);
        expect(verdict.intact || Number(verdict.height)).toBe(index + 1);
      }
    }
  });
});
