// Merkle trees of RFC 9162, 2.1: leaves and nodes are hashed under different prefixes, so that no node ever passes for a leaf.
import { createHash } from "node:crypto";

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** SHA-256(0x00 ‖ leaf), RFC 9162, 2.1.1. */
export function leafHash(leaf: Uint8Array): Uint8Array {
  return sha256(LEAF, leaf);
}

/** A tree built once for a root and any number of proofs. */
export class MerkleTree {
  /** From the leaves' hashes up to the root; a last node without sibling moves up as it is, which is RFC 9162's split. */
  readonly #levels: Uint8Array[][];

  constructor(leaves: readonly Uint8Array[]) {
    let level = leaves.map(leafHash);
    this.#levels = [level];
    while (level.length > 1) {
      const above: Uint8Array[] = [];
      for (let at = 0; at < level.length; at += 2) {
        const left = level[at] as Uint8Array;
        const right = level[at + 1];
        above.push(right === undefined ? left : sha256(NODE, left, right));
      }
      this.#levels.push(above);
      level = above;
    }
  }

  /** 32 bytes; SHA-256 of nothing for the empty tree. */
  get root(): Uint8Array {
    return this.#levels.at(-1)?.[0] ?? sha256();
  }

  /** Sibling hashes from the leaf to the root, RFC 9162, 2.1.3.1. @throws RangeError where there is no such leaf */
  inclusionProof(index: number): Uint8Array[] {
    if (!Number.isInteger(index) || index < 0 || index >= (this.#levels[0]?.length ?? 0)) {
      throw new RangeError(`no leaf ${index}`);
    }
    const path: Uint8Array[] = [];
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
      if (sibling !== undefined) path.push(sibling);
      at = Math.floor(at / 2);
    }
    return path;
  }
}

export function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
  return new MerkleTree(leaves).root;
}

/** Whether the path leads from this leaf, at this place of a tree of `size` leaves, to this root. RFC 9162, 2.1.3.2. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!Number.isInteger(index) || !Number.isInteger(size) || index < 0 || index >= size) return false;
  let first = index;
  let last = size - 1;
  let hash = leafHash(leaf);
  for (const sibling of path) {
    if (last === 0 || sibling.length !== hash.length) return false;
    if (first % 2 === 1 || first === last) {
      hash = sha256(NODE, sibling, hash);
      // A node that moved up without sibling skips those levels.
      while (first % 2 === 0 && first !== 0) {
        first = Math.floor(first / 2);
        last = Math.floor(last / 2);
      }
    } else {
      hash = sha256(NODE, hash, sibling);
    }
    first = Math.floor(first / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && Buffer.compare(hash, root) === 0;
}
