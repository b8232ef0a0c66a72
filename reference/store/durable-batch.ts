// How the components of an entity write: several tables of its one database in one atomic batch, acknowledged when it is on disk.
import type { AbstractBatchOperation, AbstractLevel, AbstractSublevel } from "abstract-level";

/** The database of an entity, or the part of it that a component may use. */
export type Store = AbstractLevel<string | Buffer | Uint8Array, string, string>;

/** One kind of entry in a store. */
export type Table<V> = AbstractSublevel<Store, string | Buffer | Uint8Array, string, V>;

/** One change of a batch. */
export type Change = AbstractBatchOperation<Store, string, unknown>;

/** Entries as JSON. */
export function jsonTable<V>(store: Store, name: string): Table<V> {
  return store.sublevel<string, V>(name, { valueEncoding: "json" });
}

/** Entries as text. */
export function textTable(store: Store, name: string): Table<string> {
  return store.sublevel<string, string>(name, { valueEncoding: "utf8" });
}

/** Entries as bytes: serialised messages. */
export function messageTable(store: Store, name: string): Table<Uint8Array> {
  return store.sublevel<string, Uint8Array>(name, { valueEncoding: "view" });
}

export function put<V>(table: Table<V>, key: string, value: V): Change {
  return { type: "put", sublevel: table, key, value };
}

export function remove<V>(table: Table<V>, key: string): Change {
  return { type: "del", sublevel: table, key };
}

/** All of `changes` or none, durable when this resolves. */
export async function commit(store: Store, changes: readonly Change[]): Promise<void> {
  // The driver's batch takes `sync`; the abstract type of its options does not know it.
  const options: object = { sync: true };
  await store.batch([...changes], options);
}
